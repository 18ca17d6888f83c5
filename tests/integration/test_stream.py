"""Goal: a body of any size is read while it comes, in bounded memory and at the handler's pace; who
stops in between, on either side, is understood; compressed bodies become what they were, and no more
than is allowed.
"""

import gzip
import http.client
import os
import re
import socket
import struct
import subprocess
import threading
import unittest
import zlib

import harness

GIB = 1 << 30
BLOCK = bytes(range(256)) * 4096  # 1 MiB
MEMORY = 256 * 1024 + 128 * 1024  # of a connection, and of the noise around it


def answer_to(body):
    return b"%d %08x\n" % (len(body), zlib.adler32(body))


def anonymous(pid):
    """Bytes of memory that are the process's own."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Anonymous:\s+(\d+) kB", file.read(), re.M)[1]) * 1024


class Stream(unittest.TestCase):
    INI = ""

    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["streams"], ini=cls.INI)
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.addClassCleanup(cls.daemon.stop)

    def setUp(self):
        self.conn = self.daemon.connect()
        self.addCleanup(self.conn.close)

    def head(self, target, lines, method="PUT"):
        self.conn.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())

    def put(self, target, body, lines=""):
        self.head(target, f"Content-Length: {len(body)}\r\n{lines}")
        self.conn.send(body)
        return self.conn.response()

    def curl(self, *args):
        done = subprocess.run(["curl", "-sS", "-w", " %{http_code} %{size_upload}", *args[:-1],
                               f"http://127.0.0.1:{self.daemon.port}{args[-1]}"],
                              input=BLOCK * 3, capture_output=True, check=False,
                              timeout=harness.DEADLINE)
        return done.stdout


class Bodies(Stream):
    def test_small_ones(self):
        for target in ("/pull", "/push"):
            for body in (b"x", b"abc" * 1000, BLOCK[:100000]):
                response = self.put(target, body)
                self.assertEqual((response.status, response.body), (200, answer_to(body)))
        self.assertEqual(self.daemon.get("/pull").body, answer_to(b""))

    def test_byte_by_byte(self):
        self.conn.send_bytewise(b"PUT /pull HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                                b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
        self.assertEqual(self.conn.response().body, answer_to(b"hello world"))

    def test_curl_uploads(self):
        path = os.path.join(self.daemon.folder, "upload")
        with open(path, "wb") as file:
            file.write(BLOCK * 3)
        expected = answer_to(BLOCK * 3) + b" 200 "
        for target in ("/pull", "/push"):
            for args in (("-T", path), ("-T", "-"), ("-T", path, "-H", "Expect: 100-continue"),
                         ("-T", "-", "-H", "Expect: 100-continue"), ("-T", path, "-0")):
                answer = self.curl(*args, target)
                self.assertTrue(answer.startswith(expected), (args, answer))

    def test_curl_that_waits_for_100_sends_nothing_to_who_refuses(self):
        answer = self.curl("-T", "-", "-H", "Expect: 100-continue", "/refuse")
        self.assertTrue(answer.endswith(b" 403 0"), answer)
        answer = self.curl("-T", "-", "-H", "Expect: 100-continue", "/limited?size=100&ms=0")
        self.assertTrue(b" 413 " in answer, answer)  # it is chunked: found out when it comes

    def test_python_uploads(self):
        client = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=harness.DEADLINE)
        for _ in range(2):
            client.request("PUT", "/push", iter([BLOCK] * 5), encode_chunked=True)
            self.assertEqual(client.getresponse().read(), answer_to(BLOCK * 5))
        client.close()

    def test_100_comes_when_the_body_is_wanted(self):
        self.head("/pull", "Content-Length: 3\r\nExpect: 100-continue\r\n")
        self.assertEqual(self.conn.response(interim=True).status, 100)
        self.conn.send(b"abc")
        self.assertEqual(self.conn.response().body, answer_to(b"abc"))
        self.head("/refuse", "Content-Length: 3\r\nExpect: 100-continue\r\n")
        response = self.conn.response(interim=True)
        self.assertEqual((response.status, response.header("Connection")), (403, "close"))
        self.assertEqual(self.conn.rest(), b"")

    def test_unread_rest(self):
        self.assertEqual(self.put("/refuse", b"small").status, 403)
        self.assertEqual(self.put("/pull", b"next").body, answer_to(b"next"))
        self.head("/refuse", "Content-Length: 65537\r\n")
        response = self.conn.response()
        self.assertEqual((response.status, response.header("Connection")), (403, "close"))

    def test_client_leaves(self):
        for target in ("/pull", "/push"):
            before = len(self.daemon.log.lines)
            with self.daemon.connect() as conn:
                conn.send(f"PUT {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc".encode())
            self.daemon.wait_log("the client has left", before)
        self.daemon.wait_log("pull ends: the other side has gone")

    def test_client_leaves_while_nobody_reads(self):
        """By the end of a part of the body or a reset; who has sent all of it waits for his answer."""
        reset = struct.pack("ii", 1, 0)
        with harness.Daemon(["streams"]) as daemon, daemon.connect() as whole:
            whole.send(b"PUT /hold HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n" + bytes(200000))
            whole.shutdown()
            daemon.wait_log("holds")
            for length, leave in (("Content-Length: 9", harness.Connection.shutdown),
                                  ("Content-Length: 9", harness.Connection.close),
                                  ("Transfer-Encoding: chunked", lambda conn: conn.socket.setsockopt(
                                      socket.SOL_SOCKET, socket.SO_LINGER, reset))):
                before = len(daemon.log.lines)
                with daemon.connect() as conn:
                    conn.send(f"PUT /hold HTTP/1.1\r\nHost: test\r\n{length}\r\n\r\n3\r\nabc".encode())
                    daemon.wait_log("holds", before)
                    leave(conn)
                    if leave is harness.Connection.shutdown:
                        self.assertEqual(conn.response().status, 400)
                daemon.wait_log("the client has left", before)
            daemon.get("/go")
            self.assertTrue(whole.response().body.startswith(b"200000 "))

    def test_broken_message(self):
        for target in ("/pull", "/push"):
            with self.daemon.connect() as conn:
                conn.send(f"PUT {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "1\r\nab\r\n".encode())
                self.assertEqual(conn.response().status, 400)

    def test_limits_of_one_request(self):
        self.head("/plain", "Content-Length: 1048577\r\n")
        self.assertEqual(self.conn.response().status, 413)
        self.daemon.wait_log("Content-Length is above max_body_size")
        self.setUp()
        body = BLOCK + b"x"
        self.assertEqual(self.put("/limited?ms=0&size=1048577", body).body, answer_to(body))
        self.head("/plain", "Content-Length: 1048577\r\n")
        self.assertEqual(self.conn.response().status, 413)
        self.setUp()
        self.head("/limited?size=9&ms=50", "Content-Length: 9\r\n")
        self.conn.send(b"abc")
        self.assertEqual(self.conn.response().status, 408)
        self.daemon.wait_log("td_set_body_timeout has passed")


@unittest.skipIf(harness.SANITIZED, "the sanitizers' memory is not ours")
class Memory(Stream):
    def pushes(self, target, lines, wrap=lambda block: block):
        """A GiB; returns the answer and the most memory that it took."""
        pid = self.daemon.workers()[0]
        self.put("/pull", BLOCK)
        before = anonymous(pid)
        most = 0
        self.head(target, lines)
        for i in range(1024):
            self.conn.send(wrap(BLOCK))
            if i % 64 == 0:
                most = max(most, anonymous(pid) - before)
        return most

    def test_a_gib_with_a_length(self):
        for target in ("/pull", "/push"):
            most = self.pushes(target, f"Content-Length: {GIB}\r\n")
            self.assertTrue(self.conn.response().body.startswith(b"%d " % GIB))
            self.assertLessEqual(most, MEMORY)

    def test_a_gib_in_chunks(self):
        most = self.pushes("/push", "Transfer-Encoding: chunked\r\n",
                           lambda block: b"%x\r\n%b\r\n" % (len(block), block))
        self.conn.send(b"0\r\n\r\n")
        self.assertTrue(self.conn.response().body.startswith(b"%d " % GIB))
        self.assertLessEqual(most, MEMORY)

    def test_handlers_that_do_not_read_hold_their_clients_back(self):
        pid = self.daemon.workers()[0]
        self.put("/pull", BLOCK)
        before, lines = anonymous(pid), len(self.daemon.log.lines)
        clients = [self.daemon.connect() for _ in range(8)]
        for conn in clients:
            conn.send(b"PUT /hold HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
            conn.socket.setblocking(False)
            sent = 0
            try:
                while sent < 64 << 20:
                    sent += conn.socket.send(BLOCK)
            except BlockingIOError:
                pass
            conn.sent = sent
            self.assertLess(sent, 64 << 20)
            conn.socket.settimeout(harness.DEADLINE)
        for _ in clients:
            self.daemon.wait_log("holds", lines)
            lines = 1 + next(i for i, line in enumerate(self.daemon.log.lines)
                             if i >= lines and "holds" in line)
        self.assertLessEqual(anonymous(pid) - before, 8 * MEMORY)
        self.daemon.get("/go")
        body = BLOCK * 64
        threads = [threading.Thread(target=conn.send, args=(body[conn.sent:],)) for conn in clients]
        for thread in threads:
            thread.start()
        for conn, thread in zip(clients, threads):
            self.assertTrue(conn.response().body.startswith(b"%d " % (64 << 20)))
            thread.join(harness.DEADLINE)
            conn.close()


class Compressed(Stream):
    INI = ("[application]\ndecompress_request = on\n[handler:streams]\n"
           "[handler:raw]\nfile = streams.so\nmount = /raw\ndecompress_request = off\n")
    GZIP = "Content-Encoding: gzip\r\n"

    def test_buffered(self):
        body = BLOCK[:500000]
        for coding in ("gzip", "GZIP", "x-gzip"):
            response = self.put("/whole", gzip.compress(body), f"Content-Encoding: {coding}\r\n")
            self.assertEqual(response.body, f"[] [{coding}] [] ".encode() + answer_to(body))
        raw = gzip.compress(body)
        for target, coding in (("/raw/whole", "gzip"), ("/whole", "gzip, gzip"), ("/whole", "br")):
            response = self.put(target, raw, f"Content-Encoding: {coding}\r\n")
            self.assertEqual(response.body, f"[{coding}] [] [{len(raw)}] ".encode() + answer_to(raw))

    def test_streamed(self):
        body = BLOCK * 3
        for target in ("/pull", "/push"):
            self.assertEqual(self.put(target, gzip.compress(body), self.GZIP).body, answer_to(body))

    def test_bytes_one_by_one(self):
        body = gzip.compress(b"hello, hello, hello\n")
        for target in ("/pull", "/push", "/whole"):
            self.conn.send_bytewise(b"PUT %b HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n"
                                    b"Content-Length: %d\r\n\r\n" % (target.encode(), len(body)) + body)
            self.assertTrue(self.conn.response().body.endswith(answer_to(b"hello, hello, hello\n")))

    def test_forms(self):
        body = gzip.compress(b"name=jack")
        lines = (f"{self.GZIP}Content-Type: application/x-www-form-urlencoded\r\n"
                 f"Content-Length: {len(body)}\r\n")
        self.head("/form", lines, "POST")
        self.conn.send(body)
        self.assertEqual(self.conn.response().body, b"jack")
        self.head("/raw/form", lines, "POST")
        self.conn.send(body)
        self.assertEqual(self.conn.response().status, 400)
        self.daemon.wait_log("form: it has a Content-Encoding")

    def test_damaged_ones(self):
        good = gzip.compress(b"hello, hello, hello\n")
        for what, body in (("cut off", good[:-1]), ("followed by something", good + b"more"),
                           ("not gzip", b"hello, hello"), ("damaged", good[:-6] + b"x" + good[-5:])):
            for target in ("/pull", "/push", "/whole"):
                with self.subTest(what, target=target), self.daemon.connect() as conn:
                    conn.send(b"PUT %b HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n"
                              b"Content-Length: %d\r\n\r\n" % (target.encode(), len(body)) + body)
                    response = conn.response()
                    self.assertEqual((response.status, response.header("Connection")), (400, "close"))

    def test_bombs(self):
        member = gzip.compress(bytes(16 << 20), 9)
        pid = self.daemon.workers()[0]
        self.put("/pull", member, self.GZIP)
        before = anonymous(pid)
        self.assertEqual(self.put("/whole", member, self.GZIP).status, 413)
        self.daemon.wait_log("inflated the body is above max_body_size")
        self.setUp()
        answered, done = 0, threading.Event()

        def explode():
            with self.daemon.connect() as conn:
                conn.send(b"PUT /pull HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\n"
                          b"Content-Length: %d\r\n\r\n" % (8 * len(member)) + 8 * member)
                self.exploded = conn.response().body
            done.set()

        thread = threading.Thread(target=explode)
        thread.start()
        while not done.is_set():
            self.put("/whole", b"x")
            answered += 1
        thread.join()
        self.assertTrue(self.exploded.startswith(b"%d " % (128 << 20)))
        self.assertGreater(answered, 20)  # others were served in between
        if not harness.SANITIZED:  # the worker keeps large buffers for a moment, for whoever is next
            harness.wait_until(lambda: anonymous(pid) - before <= 2 * MEMORY, "memory was not given back")


del Stream  # what the others have in common

if __name__ == "__main__":
    unittest.main()
