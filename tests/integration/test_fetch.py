"""Goal: whatever a server does, a handler that asks it gets an answer or a sentence that says why not, in
its time, and nothing of it is left behind.
"""

import concurrent.futures
import gzip
import os
import socket
import struct
import threading
import time
import unittest
from urllib.parse import urlencode

import harness

OK = b"HTTP/1.1 200 OK\r\n"
TIMED_OUT, CLOSED, BAD, TOO_BIG, EINVAL, NOT_FOUND = -4100, -4098, -4097, -4099, -4096, -4103


def answer(body=b"hello", head=OK, headers=b""):
    return head + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Upstream:
    """A server whose behaviour is a function of a socket and a request's head and body, called for each."""

    def __init__(self, script, path=None, port=0):
        self.script = script
        self.requests, self.connections, self.closed = [], 0, 0
        self.over = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(path or ("127.0.0.1", port))
        if path:
            os.chmod(path, 0o777)
        self.listener.listen(64)
        self.name = "localhost" if path else "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.url = f"http://{self.name}/"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        self._talk(peer)
        self.closed += 1

    def _talk(self, peer):
        peer.settimeout(harness.DEADLINE)
        with peer, peer.makefile("rb") as file:
            try:
                while True:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        line = file.readline()
                        if not line:
                            return
                        head += line
                    self.requests.append(head)
                    if self.script(self, peer, file, head) is not True:
                        return
            except OSError:
                pass  # the other side has gone, which is its right

    def body_of(self, file, head):
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                return file.read(int(line.split(b":")[1]))
        return b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def says(bytes_, stays=False, then_waits=False):
    """A script that sends this."""
    def script(upstream, peer, file, head):
        upstream.body_of(file, head)
        peer.sendall(bytes_)
        if then_waits:
            upstream.over.wait(harness.DEADLINE)
        return stays
    return script


def for_ever(first, again):
    def script(upstream, peer, *_):
        peer.sendall(first)
        while not upstream.over.is_set():
            peer.sendall(again)
    return script


def resets(upstream, peer, *_):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Fetch(unittest.TestCase):
    TORNADOD = "workers = 1"

    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["fetch"], tornadod=cls.TORNADOD)
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.addClassCleanup(cls.daemon_stops)

    @classmethod
    def daemon_stops(cls):
        status = cls.daemon.stop()
        text = cls.daemon.log.text()
        assert status == 0 and not harness.COMPLAINTS.search(text), text
        assert "left behind" not in text, text

    def ask(self, target, **arguments):
        response = self.daemon.get(f"/{target}?{urlencode(arguments)}")
        self.assertEqual(response.status, 200, response.body)
        return response.body

    def fetch(self, url, **arguments):
        """[first line, headers, body] of an answer, or the text that says why there is none."""
        head, empty, body = self.ask("fetch", url=url, **arguments).partition(b"\n\n")
        if not empty:
            return head.decode()
        lines = head.decode().split("\n")
        return [lines[0], lines[1:], body]

    def body(self, script, **arguments):
        with Upstream(script) as upstream:
            result = self.fetch(upstream.url, **arguments)
        self.assertIsInstance(result, list, result)
        return result[2]

    def failure(self, script, **arguments):
        with Upstream(script) as upstream:
            result = self.fetch(upstream.url, **arguments)
        self.assertIsInstance(result, str, result)
        return result

    def descriptors(self):
        return harness.descriptors(self.daemon.workers()[0])


class Answers(Fetch):
    def test_framings(self):
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"
        cases = (
            (answer(), b"hello"),
            (answer(b""), b""),
            (answer(bytes(1 << 20)), bytes(1 << 20)),
            (chunked, b"hello!"),
            (OK + b"\r\nuntil the end", b"until the end"),
            (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(), b"hello"),
            (b"HTTP/1.1 404\r\nContent-Length: 4\r\n\r\ngone", b"gone"),
        )
        for sent, body in cases:
            with self.subTest(sent[:60]):
                self.assertEqual(self.body(says(sent)), body)

    def test_a_byte_at_a_time(self):
        def script(upstream, peer, file, head):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n":
                peer.sendall(bytes([byte]))
                time.sleep(0.001)
        self.assertEqual(self.body(script), b"hello")

    def test_the_request_line_and_the_headers(self):
        with Upstream(says(answer())) as upstream:
            self.fetch(upstream.url + "a%20b?c=d#e")
            self.assertEqual(upstream.requests[0].decode(),
                             f"GET /a%20b?c=d HTTP/1.1\r\nHost: {upstream.name}\r\n"
                             "User-Agent: tornadod/0.1.0\r\nAccept-Encoding: gzip\r\n\r\n")
            self.fetch(f"http://jack:p%40ss@{upstream.name}?q")
            self.assertIn(b"GET /?q HTTP/1.1", upstream.requests[1])
            self.assertIn(b"Authorization: Basic amFjazpwQHNz\r\n", upstream.requests[1])
            self.fetch(upstream.url, user="jill", raw=1, alone=1)
            self.assertIn(b"Authorization: Basic amlsbDo=\r\n", upstream.requests[2])
            self.assertIn(b"Connection: close\r\n", upstream.requests[2])
            self.assertNotIn(b"Accept-Encoding", upstream.requests[2])

    def test_the_trace_goes_on(self):
        good = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        bad = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01\r\n"
        state = "tracestate: a=1\r\ntracestate: b=2\r\n"
        with Upstream(says(answer())) as upstream:
            for headers in (good, good + state, bad + state, state, good + good):
                self.daemon.get("/fetch?" + urlencode({"url": upstream.url}), headers=headers)
            sent = [head.decode().lower() for head in upstream.requests]
        self.assertTrue(good in sent[0] and "tracestate" not in sent[0], sent[0])
        self.assertTrue(good in sent[1] and "tracestate: a=1, b=2\r\n" in sent[1], sent[1])
        for head in sent[2:]:
            self.assertNotIn("trace", head)

    def test_bodies_are_sent(self):
        def script(upstream, peer, file, head):
            body = upstream.body_of(file, head)
            peer.sendall(answer(b"%d %d" % (len(body), head.count(b"application/x-www-form"))))
        self.assertEqual(self.body(script, method="POST", body="a=b"), b"3 1")
        self.assertEqual(self.body(script, method="PUT", body="a=b"), b"3 0")
        self.assertEqual(self.body(script, method="PUT", zeros=5 << 20), b"5242880 0")

    def test_head_has_no_body(self):
        with Upstream(says(OK + b"Content-Length: 9\r\n\r\n", stays=True)) as upstream:
            for _ in range(2):
                self.assertEqual(self.fetch(upstream.url, method="HEAD")[2], b"")
            self.assertEqual(upstream.connections, 1)

    def test_gzip(self):
        packed = gzip.compress(b"hello" * 1000)
        head, headers, body = self.fetch_of(answer(packed, headers=b"Content-Encoding: gzip\r\n"))
        self.assertEqual(body, b"hello" * 1000)
        self.assertEqual(headers, ["X-Consumed-Content-Encoding: gzip"])
        self.assertEqual(self.body(says(answer(packed, headers=b"Content-Encoding: gzip\r\n")), raw=1),
                         packed)
        self.assertEqual(self.body(says(answer(b"", headers=b"Content-Encoding: gzip\r\n"))), b"")

    def fetch_of(self, sent, **arguments):
        with Upstream(says(sent)) as upstream:
            return self.fetch(upstream.url, **arguments)

    def test_unix_sockets(self):
        path = f"{self.daemon.folder}/upstream"
        with Upstream(says(answer(), stays=True), path) as upstream:
            for _ in range(2):
                self.assertEqual(self.fetch("http://named.example/x", unix=path)[2], b"hello")
            self.assertIn(b"GET /x HTTP/1.1\r\nHost: named.example\r\n", upstream.requests[0])
            self.assertEqual(upstream.connections, 1)

    def test_expect_100(self):
        def waits(upstream, peer, file, head):
            self.assertIn(b"Expect: 100-continue\r\n", head)
            peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.sendall(answer(upstream.body_of(file, head)))

        def refuses(upstream, peer, file, head):
            peer.sendall(answer(b"no", b"HTTP/1.1 417 No\r\n"))
            self.assertEqual(file.read(), b"")  # the body is not sent
            return False

        def ignores(upstream, peer, file, head):
            peer.sendall(answer(upstream.body_of(file, head)))

        self.assertEqual(self.body(waits, method="PUT", body="payload", expect=1), b"payload")
        self.assertEqual(self.body(refuses, method="PUT", body="payload", expect=1), b"no")
        self.assertEqual(self.body(ignores, method="PUT", body="payload", expect=1), b"payload")

    def test_futures_at_once(self):
        with Upstream(says(answer(), stays=True)) as upstream:
            self.assertEqual(self.ask("several", url=upstream.url, count=50), b"200 0 6 hello\n" * 50)

    def test_others_are_served_meanwhile(self):
        with Upstream(says(b"", then_waits=True)) as upstream, self.daemon.connect() as conn:
            conn.send(f"GET /fetch?url={upstream.url}&ms=3000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            begun = time.monotonic()
            for _ in range(20):
                self.daemon.get("/nowhere")
            self.assertLess(time.monotonic() - begun, 3)
            self.assertIn(b"Timeout during request", conn.response().body)

    def test_the_example_of_the_design(self):
        with Upstream(says(answer(b"slowly"))) as upstream:
            self.assertEqual(self.ask("move", port=upstream.name.split(":")[1]), b"0")
            self.assertEqual(self.ask("relay"), b"slowly")
            self.assertIn(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n", upstream.requests[0])
        self.assertEqual(self.daemon.get("/relay").status, 502)
        self.daemon.wait_log("upstream: connecting to 127.0.0.1:[0-9]+: Connection refused")

    def test_misuse(self):
        with Upstream(says(answer())) as upstream:
            self.assertEqual(self.ask("misuse", url=upstream.url), b"33")
            self.assertEqual(upstream.requests, [])


    def test_a_stream_in_hands_that_mean_it_no_good(self):
        def patient(upstream, peer, file, _):
            chunks_of(file)
            time.sleep(0.02)
            peer.sendall(answer())

        def early(upstream, peer, *_):
            peer.sendall(answer())
            upstream.over.wait(harness.DEADLINE)

        def in_parts(upstream, peer, file, _):
            peer.sendall(answer()[:20])
            time.sleep(0.2)
            peer.sendall(answer()[20:])
            chunks_of(file)

        def allows(upstream, peer, file, _):
            time.sleep(0.05)
            peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            chunks_of(file)
            peer.sendall(answer())

        def goes(upstream, peer, *_):
            time.sleep(0.05)  # the head is being waited for
            peer.sendall(answer())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        refused = "-4096"
        for what, script, expected, log in (
                ("producer closes", patient, "200 0", "td_fetch_close: body_producer may only write"),
                ("producer reads", patient, f"1 0 {refused} 200 0", "td_fetch_read: body_producer may only write"),
                ("two write", patient, f"{refused} 0 200 0", "td_fetch_write: another coroutine writes"),
                ("two heads", patient, "1 200 200 0", "td_fetch_head: another coroutine waits"),
                ("head in parts", in_parts, "200 0 200 0", ""),
                ("head while it waits for 100", allows, "0 0 200 0", "td_fetch_head: another coroutine waits"),
                ("write to one that has answered and gone", goes, "1 200 200 0", ""),
                ("read first", early, f"{refused} 200 0", "td_fetch_read: td_fetch_head comes first"),
                ("ready first", early, "200 0", ""),
                ("timer closes", patient, f"{CLOSED}: ", ""),
                ("thread closes", patient, "200 0", "td_fetch_is_ready: called on a thread"),
                ("closed", patient, f"1 0 1 {CLOSED}: the stream was closed", "")):
            with self.subTest(what), Upstream(script) as upstream:
                self.assertIn(expected, self.ask("prank", url=upstream.url, what=what).decode())
                self.daemon.wait_log(log)


def echoing(upstream, peer, file, head):
    """Answers before the body has come; of an upgrade, echoes."""
    if b"Upgrade: echo" in head:
        peer.sendall(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := peer.recv(100):
            peer.sendall(data)
        return False
    if head.startswith(b"PUT"):
        peer.sendall(answer(headers=b"Connection: close\r\n"))
        file.read()
        return False
    peer.sendall(answer())
    return True


class Steps(Fetch):
    """td_fetch_open and what comes after it, in whatever order."""

    def order(self, upstream, kind, steps, **arguments):
        return self.ask("order", url=upstream.url, kind=kind, steps=steps, **arguments).decode()

    CASES = (
        ("get", "hRRy", "200 0 0 1 ", ""),
        ("get", "hhRh", "200 200 0 200 ", ""),
        ("get", "wehR", f"{EINVAL} 0 200 0 ", "td_fetch_write: the request has no body that is streamed"),
        ("get", "hwR", f"200 {EINVAL} 0 ", "td_fetch_write: the request has no body that is streamed"),
        ("get", "rhR", f"{EINVAL} 200 0 ", "td_fetch_read: td_fetch_head comes first"),
        ("get", "dhdR", "0 200 0 0 ", "td_fetch_detach: td_fetch_head comes first"),
        ("get", "chry", f"1 0 {CLOSED} 1 the stream was closed", ""),
        ("get", "hcrcd", f"200 1 {CLOSED} 1 0 the stream was closed", ""),
        ("get", "cR", f"1 {EINVAL} ", "td_fetch_read: td_fetch_head comes first"),
        ("chunks", "wwehRwe", f"0 0 0 200 0 {EINVAL} 0 ", "td_fetch_write: td_fetch_end has ended the body"),
        ("chunks", "hwwe", "200 0 0 0 ", ""),  # what is read beside does not keep it from writing
        ("chunks", "hRwe", "200 0 1 1 ", ""),
        ("chunks", "ccw", "1 1 1 ", ""),
        ("length", "wwehR", "0 0 0 200 0 ", ""),
        ("length", "wehR", f"0 {EINVAL} 0 {EINVAL} the body is shorter than content_length",
         "td_fetch_end: the body is shorter than content_length"),
        ("length", "wwwhR", f"0 0 {EINVAL} 0 {EINVAL} the body is longer than content_length",
         "td_fetch_write: the body is longer than content_length"),
        ("upgrade", "hdppc", "101 1 1 1 1 ", ""),
        ("upgrade", "dhddp", "0 101 1 1 1 ", "td_fetch_detach: td_fetch_head comes first"),
        ("upgrade", "hdrhyp", "101 1 0 101 1 1 ", ""),
        ("upgrade", "hdwe", f"101 1 {EINVAL} 0 ", "td_fetch_write: the request has no body that is streamed"),
        ("upgrade", "hdxdrc", "101 1 0 0 0 1 ", ""),  # whom it is lent to may end it
        ("upgrade", "hdcd", "101 1 1 0 ", ""),
    )

    def test_what_each_says(self):
        with Upstream(echoing) as upstream:
            for kind, steps, result, log in self.CASES:
                with self.subTest(f"{kind} {steps}"):
                    self.assertEqual(self.order(upstream, kind, steps), result)
                    self.daemon.wait_log(log)

    def test_any_order_is_harmless(self):
        before = self.descriptors()
        allowed = {"w": (0, 1, EINVAL, CLOSED), "e": (0, 1, EINVAL, CLOSED), "h": (0, 101, 200), "d": (0, 1), "y": (0, 1),
                   "r": (0, 5, EINVAL, CLOSED), "c": (1,)}
        with Upstream(echoing) as upstream:
            for part, kind in enumerate(("get", "chunks", "length", "upgrade")):
                text = self.ask("orders", url=upstream.url, kind=kind, **{"from": part}).decode()
                self.assertEqual(text.count("\n"), 343)
                for word in text.split():
                    self.assertIn(int(word[1:]), allowed[word[0]], f"{kind}: {word} of {text}")
        harness.wait_until(lambda: self.descriptors() <= before + 1, "descriptors are left")


class Failures(Fetch):
    def test_what_servers_do(self):
        chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n"
        packed = OK + b"Content-Encoding: gzip\r\n"
        bomb = gzip.compress(bytes(64 << 20))
        stalls = {"ms": 300}
        cases = (
            ("silent", says(b"", then_waits=True), stalls, TIMED_OUT, "Timeout during request"),
            ("half a head", says(OK, then_waits=True), stalls, TIMED_OUT, "Timeout during request"),
            ("half a body", says(OK + b"Content-Length: 9\r\n\r\nab", then_waits=True), stalls,
             TIMED_OUT, "Timeout during request"),
            ("half a chunk", says(chunked + b"5\r\nab", then_waits=True), stalls, TIMED_OUT, "Timeout"),
            ("no end", says(OK + b"\r\nab", then_waits=True), stalls, TIMED_OUT, "Timeout"),
            ("does not read", lambda upstream, *_: upstream.over.wait(harness.DEADLINE),
             {"ms": 300, "method": "PUT", "zeros": 64 << 20}, TIMED_OUT, "Timeout during request"),
            ("closes at once", says(b""), {}, CLOSED, "waiting for the response"),
            ("closes in the head", says(OK + b"A: b"), {}, CLOSED, "waiting for the response"),
            ("closes in the body", says(OK + b"Content-Length: 9\r\n\r\nab"), {}, CLOSED,
             "receiving the body"),
            ("closes in a chunk", says(chunked + b"5\r\nab"), {}, CLOSED, "receiving the body"),
            ("closes before the last chunk", says(chunked + b"2\r\nab\r\n"), {}, CLOSED,
             "receiving the body"),
            ("resets", resets, {}, None, "waiting for the response"),
            ("no HTTP", says(b"220 mail.example ESMTP\r\n", then_waits=True), {}, BAD, "not HTTP/1.x"),
            ("HTTP/2", says(b"\0\0\x12\x04\0\0\0\0\0", then_waits=True), {}, BAD, "not HTTP/1.x"),
            ("endless head", for_ever(OK, b"A: b\r\n" * 100), {}, TOO_BIG, "header: too many lines"),
            ("endless line", for_ever(OK + b"A: ", b"b" * 4096), {}, TOO_BIG, "header: too long"),
            ("endless 1xx", for_ever(b"", b"HTTP/1.1 100 x\r\n\r\n" * 50), {}, BAD, "interim"),
            ("101", says(b"HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n"), {}, BAD, "101"),
            ("a folded line", says(OK + b"A: b\r\n c\r\n\r\n"), {}, BAD, "begins with a blank"),
            ("two lengths", says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), {}, BAD,
             "more than one"),
            ("both framings", says(OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), {},
             BAD, "beside Content-Length"),
            ("bad chunk size", says(chunked + b"xyz\r\n"), {}, BAD, "response: "),
            ("no CRLF behind a chunk", says(chunked + b"2\r\nabXX"), {}, BAD, "response: "),
            ("huge length", says(OK + b"Content-Length: 99999999999\r\n\r\n", then_waits=True), {},
             TOO_BIG, "larger than 16777216"),
            ("over the limit", says(answer(b"hello!")), {"max_body": 5}, TOO_BIG, "larger than 5"),
            ("chunks over the limit", says(chunked + b"6\r\nhello!\r\n0\r\n\r\n"), {"max_body": 5},
             TOO_BIG, None),
            ("endless body", for_ever(OK + b"\r\n", b"x" * 65536), {"max_body": 1 << 20}, TOO_BIG,
             "larger than 1048576"),
            ("endless chunks", for_ever(chunked, b"1\r\nx\r\n" * 1000), {"max_body": 1 << 16}, TOO_BIG, None),
            ("endless trailers", for_ever(chunked + b"0\r\n", b"A: b\r\n" * 100), {}, TOO_BIG, None),
            ("a bomb", says(answer(bomb, packed)), {}, TOO_BIG, "larger than"),
            ("not gzip", says(answer(b"not gzip at all", packed)), {}, BAD, "gzip"),
            ("half of gzip", says(answer(bomb[:100], packed)), {}, BAD, "gzip"),
        )
        for name, script, arguments, code, text in cases:
            with self.subTest(name):
                begun = time.monotonic()
                failure = self.failure(script, **arguments)
                self.assertLess(time.monotonic() - begun, 10)
                if code is not None:
                    self.assertTrue(failure.startswith(f"{code}: "), failure)
                self.assertIn(text or "", failure)
        # What belongs to it has gone, whatever went wrong.
        self.assert_quiet()

    def assert_quiet(self):
        deadline = time.monotonic() + harness.DEADLINE
        while self.descriptors() > self.before:
            self.assertLess(time.monotonic(), deadline, "descriptors are left")
            time.sleep(0.01)

    def setUp(self):
        with Upstream(says(answer(), stays=False)) as upstream:
            self.fetch(upstream.url, alone=1)
        self.fetch("http://no-such-name.invalid/", ms=100)  # the resolver has its sockets now
        self.before = self.descriptors()

    def test_connecting(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = "http://127.0.0.1:%d/" % unused.getsockname()[1]
            self.assertEqual(self.fetch(url), f"-111: connecting to {url[7:-1]}: Connection refused")
            unused.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(unused.getsockname())
            self.assertEqual(self.fetch(url, connect_ms=200), "-4100: Timeout while connecting")
            self.assertEqual(self.fetch(url, ms=200), "-4100: Timeout while connecting")
            for filler in fillers:
                filler.close()
        self.assertIn("connecting to unix:/nowhere/at/all: No such file", self.fetch("http://x/", unix="/nowhere/at/all"))

    def test_the_way_that_is_asked_for(self):
        def tell_address(upstream, peer, *_):
            peer.sendall(answer(peer.getpeername()[0].encode()))
            return True

        with Upstream(tell_address) as upstream:
            port = upstream.name.split(":")[1]
            for host in ("127.0.0.1", "localhost"):
                url = f"http://{host}:{port}/"
                self.assertEqual(self.fetch(url, family=int(socket.AF_INET))[2], b"127.0.0.1")
                self.assertEqual(self.fetch(url, source="127.0.0.7")[2], b"127.0.0.7")
                self.assertEqual(self.fetch(url)[2], b"127.0.0.1")
            self.assertEqual(upstream.connections, 6)  # none serves those who have asked for another
            for wrong, text in (({"family": int(socket.AF_INET6)}, "-4103: connecting to {}: there is no such host"),
                                ({"family": 1}, "-4096: connecting to {}: the family is none: 1"),
                                ({"source": "eth0"}, "-4096: connecting to {}: the source_address is no address: eth0"),
                                ({"source": "::1"}, "-99: connecting to {}: Cannot assign requested address")):
                self.assertEqual(self.fetch(upstream.url, **wrong), text.format(upstream.name))

    def test_the_client_leaves(self):
        """A class with TD_CANCEL_ON_CLOSE: its request to the server ends with it."""
        gone = threading.Event()

        def script(upstream, peer, file, head):
            if file.read() == b"":
                gone.set()

        with Upstream(script) as upstream:
            with self.daemon.connect() as conn:
                conn.send(f"GET /fetch?url={upstream.url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                while not upstream.requests:
                    time.sleep(0.001)
            self.assertTrue(gone.wait(harness.DEADLINE))
        self.assert_quiet()

    def test_futures_that_nobody_wants(self):
        with Upstream(says(b"", then_waits=True)) as upstream:
            for sleep in (0, 100):
                self.assertEqual(self.ask("forget", url=upstream.url, ms=300, sleep=sleep), b"-4101")
        self.assert_quiet()


def chunks_of(file):
    """The body of a chunked request."""
    body = b""
    while size := int(file.readline() or b"0", 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body


def early(status, closes):
    """Answers when it has seen the head, reads nothing more, and goes or stays."""
    def script(upstream, peer, *_):
        peer.sendall(answer(b"enough", b"HTTP/1.1 %d Early\r\n" % status))
        if not closes:
            upstream.over.wait(harness.DEADLINE)
    return script


def echoing_chunks(upstream, peer, file, head):
    """Each chunk goes back when it has come."""
    peer.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while size := int(file.readline(), 16):
        peer.sendall(b"%x\r\n%s\r\n" % (size, file.read(size)))
        file.readline()
    file.readline()
    peer.sendall(b"0\r\n\r\n")
    return True


class PieceByPiece(Fetch):
    CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

    def stream(self, url, **arguments):
        return self.ask("stream", url=url, **arguments).decode()

    def test_a_body_is_written(self):
        def script(upstream, peer, file, head):
            chunked = b"Transfer-Encoding: chunked" in head
            body = chunks_of(file) if chunked else upstream.body_of(file, head)
            peer.sendall(answer(b"x" * 7, b"HTTP/1.1 200 %s-%d\r\n" % (b"ck"[chunked:][:1], len(body))))
            return True
        with Upstream(script) as upstream:
            for _ in range(2):
                self.assertEqual(self.stream(upstream.url, method="PUT", streamed=1), "0 200 0 7 k-1")
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=5000000), "0 200 0 7 k-5000000")
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=5000000, length=5000000),
                             "0 200 0 7 c-5000000")
            self.assertEqual(upstream.connections, 1)
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=4, length=5),
                             f"{EINVAL}: the body is shorter than content_length 3")
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=6, length=5),
                             f"{EINVAL}: the body is longer than content_length 3")

    def test_a_body_is_read(self):
        big = os.urandom(100000) * 50
        packed = gzip.compress(big)
        for sent in (answer(big), OK + b"\r\n" + big, answer(packed, headers=b"Content-Encoding: gzip\r\n"),
                     self.CHUNKED + b"".join(b"%x\r\n%s\r\n" % (n, b"x" * n) for n in range(1, 3162)) +
                     b"1\r\nx\r\n4c57\r\n" + b"y" * 19543 + b"\r\n0\r\n\r\n"):
            with self.subTest(sent[:60]), Upstream(says(sent)) as upstream:
                got = self.stream(upstream.url, max_body=0).split()
                self.assertEqual(got[:3], ["0", "200", "0"])
                self.assertIn(int(got[3]), (5000000, 3161 * 3162 // 2 + 19544))
        with Upstream(says(answer(b"x" * 70000))) as upstream:  # who asks for a limit has it
            self.assertIn("larger than 60000", self.stream(upstream.url, max_body=60000))

    def test_what_is_not_read_stays_with_the_server(self):
        """An endless body, read slowly: the worker does not grow, and the server has to wait."""
        sent = [0]

        def script(upstream, peer, *_):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            peer.sendall(OK + b"\r\n")
            try:
                while not upstream.over.is_set():
                    sent[0] += peer.send(bytes(65536))
            except OSError:
                pass

        with Upstream(script) as upstream, self.daemon.connect() as conn:
            conn.send(f"GET /stream?url={upstream.url}&sleep=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            deadline = time.monotonic() + harness.DEADLINE
            while sent[0] < 1 << 20:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            before = sent[0]
            time.sleep(0.2)
            self.assertLess(sent[0] - before, 64 << 20)  # as fast as it is read, not as it could
        self.assertEqual(self.stream("http://127.0.0.1:1/")[:4], "-111")  # the worker is well

    def test_an_early_answer_is_not_lost(self):
        for status in (413, 200):
            for closes in (True, False):
                for length in (0, 50000000):
                    with self.subTest(f"{status} {closes} {length}"), Upstream(early(status, closes)) as upstream:
                        self.assertEqual(self.stream(upstream.url, method="PUT", streamed=50000000, length=length),
                                         f"1 {status} 0 6 Early")
        # Nor is it when the body is in memory.
        for closes in (True, False):
            with self.subTest(closes), Upstream(early(413, closes)) as upstream:
                result = self.fetch(upstream.url, method="PUT", zeros=20000000)
                self.assertEqual((result[0].split()[0], result[2]), ("413", b"enough"))

    def test_interim_answers_while_it_is_written(self):
        def script(upstream, peer, file, head):
            peer.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 3)
            time.sleep(0.05)
            peer.sendall(answer(b"%d" % len(upstream.body_of(file, head))))
        with Upstream(script) as upstream:
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=30000000, length=30000000),
                             "0 200 0 8 OK")

    def test_expect_100_continue(self):
        def script(upstream, peer, file, head):
            self.assertIn(b"Expect: 100-continue\r\n", head)
            peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.sendall(answer(b"%d" % len(chunks_of(file))))
        with Upstream(script) as upstream:
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=100000, expect=1), "0 200 0 6 OK")
        with Upstream(says(answer(b"no", b"HTTP/1.1 417 No\r\n"))) as upstream:
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=100000, expect=1), "1 417 0 2 No")

    def test_both_ways_at_once(self):
        with Upstream(echoing_chunks) as upstream:
            for _ in range(3):
                self.assertEqual(self.ask("duplex", url=upstream.url), b"ping" * 5)
            self.assertEqual(upstream.connections, 1)

    def test_each_wait_has_its_time(self):
        def slow(upstream, peer, *_):
            for byte in OK + b"Content-Length: 9\r\n\r\n", b"abc", b"def", b"ghi":
                time.sleep(0.15)
                peer.sendall(byte)
        with Upstream(slow) as upstream:
            self.assertEqual(self.stream(upstream.url, ms=400), "0 200 0 9 OK")
        for sent, phase in ((b"", 4), (OK, 4), (OK + b"\r\nx", 5)):
            with self.subTest(sent), Upstream(says(sent, then_waits=True)) as upstream:
                self.assertEqual(self.stream(upstream.url, ms=150),
                                 f"{TIMED_OUT}: Timeout during request {phase}")
        with Upstream(lambda upstream, *_: upstream.over.wait(harness.DEADLINE)) as upstream:
            self.assertEqual(self.stream(upstream.url, ms=150, method="PUT", streamed=50000000),
                             f"{TIMED_OUT}: Timeout during request 3")

    def test_what_goes_wrong_is_told(self):
        for sent, text in ((answer(b"x" * 9)[:-3], f"{CLOSED}: receiving the body: the other side has gone 5"),
                           (self.CHUNKED + b"3\r\nabcX", f"{BAD}: response: chunk: no CRLF behind the data 5"),
                           (b"HTTP/2 200\r\n\r\n", f"{BAD}: response: status line: not HTTP/1.x 4"),
                           (b"", f"{CLOSED}: waiting for the response: the other side has gone 4")):
            with self.subTest(sent), Upstream(says(sent)) as upstream:
                self.assertEqual(self.stream(upstream.url), text)

    def test_redirects(self):
        with Upstream(Redirects.redirecting(self, 302, "/there")) as upstream:
            self.assertTrue(self.stream(upstream.url).startswith("0 200 1 "))
            self.assertEqual(upstream.connections, 1)
        with Upstream(early(307, True)) as upstream:  # the body cannot be had again
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=1)[-13:], "307 0 6 Early")

    def test_left_open_it_ends_with_its_coroutine(self):
        before = self.descriptors()
        with Upstream(says(b"", then_waits=True)) as upstream:
            for _ in range(3):
                self.stream(upstream.url, ms=50, ends=1)
            self.stream(upstream.url, streamed=0, ms=50, ends=1)
        with Upstream(says(OK + b"Content-Length: 9\r\n\r\nx", then_waits=True)) as upstream:
            with self.daemon.connect() as conn:  # a client that leaves
                conn.send(f"GET /stream?url={upstream.url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                while not upstream.requests:
                    time.sleep(0.001)
            deadline = time.monotonic() + harness.DEADLINE
            while self.descriptors() > before + 1:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)

    def test_callbacks(self):
        def script(upstream, peer, file, head):
            body = chunks_of(file) if b"chunked" in head else upstream.body_of(file, head)
            peer.sendall(answer(body[::-1], headers=b"A: b\r\n"))
            return True
        with Upstream(script) as upstream:
            for length in (0, 27):
                self.assertEqual(self.ask("callbacks", url=upstream.url, method="PUT", length=length).decode(),
                                 "<HTTP/1.1 200 OK>\n<A: b>\n<Content-Length: 27>\n<>\n"
                                 f"[{('produced ' * 3)[::-1]}]\n200 0")
            self.assertEqual(self.ask("callbacks", url=upstream.url, method="PUT", fail=-5).decode(),
                             "\n-5: the body was not produced: Input/output error")
        with Upstream(Redirects.redirecting(self, 307, "/there")) as upstream:
            head = self.ask("callbacks", url=upstream.url, method="PUT", length=27).decode()
            self.assertEqual(head.count("HTTP/1.1"), 2)  # the answer's, and the request's in its body
            self.assertTrue(head.split("]")[0].endswith("produced " * 3))

    def test_a_callback_that_waits_keeps_its_piece(self):
        """Meanwhile others are inflated: each gets what was sent to it."""
        together = threading.Barrier(8)

        def script(upstream, peer, file, head):
            together.wait(harness.DEADLINE)
            peer.sendall(answer(gzip.compress(head[5:6] * 5000), headers=b"Content-Encoding: gzip\r\n"))

        with Upstream(script) as upstream, concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(self.ask, "callbacks", url=upstream.url + letter) for letter in "abcdefgh"]
            for letter, answered in zip("abcdefgh", asked):
                self.assertTrue(answered.result().endswith(f"[{letter * 5000}]\n200 0".encode()))


class AtTheEnd(unittest.TestCase):
    def test_what_is_under_way_when_the_worker_ends(self):
        settings = "workers = 1\ndrain_timeout = 300ms"
        with Upstream(says(b"", then_waits=True)) as upstream, Upstream(says(answer(), stays=True)) as kept, \
                harness.Daemon(["fetch"], tornadod=settings) as daemon:
            daemon.get(f"/fetch?url={kept.url}")
            self.assertEqual(daemon.get(f"/forget?url={upstream.url}&ms=-1&sleep=100").body, b"-4101")
            with daemon.connect() as conn:
                conn.send(f"GET /fetch?url={upstream.url}&ms=-1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                while len(upstream.requests) < 3:
                    time.sleep(0.001)
                self.assertEqual(daemon.stop(), 0)


class Kept(Fetch):
    def test_a_connection_serves_again(self):
        with Upstream(says(answer(), stays=True)) as upstream:
            for _ in range(5):
                self.assertEqual(self.fetch(upstream.url)[2], b"hello")
            self.assertEqual(upstream.connections, 1)
            self.fetch(upstream.url, alone=1)
            self.assertEqual(upstream.connections, 2)

    def test_it_is_not_kept(self):
        for sent in (answer(headers=b"Connection: close\r\n"), answer(head=b"HTTP/1.0 200 OK\r\n"),
                     answer() + b"too much"):
            with self.subTest(sent), Upstream(says(sent, then_waits=True)) as upstream:
                for _ in range(2):
                    self.assertEqual(self.fetch(upstream.url)[2], b"hello")
                self.assertEqual(upstream.connections, 2)

    def test_one_that_was_closed_meanwhile(self):
        with Upstream(says(answer())) as upstream:  # says nothing of it, and closes
            for _ in range(10):
                self.assertEqual(self.fetch(upstream.url)[2], b"hello")
                while upstream.closed < upstream.connections:
                    time.sleep(0.001)
                self.assertEqual(self.fetch(upstream.url, method="POST", body="x")[2], b"hello")

    def test_one_that_closes_under_the_request(self):
        """Asked once more if that does no harm: only what has no effect twice."""
        def script(upstream, peer, file, head):
            upstream.body_of(file, head)
            if len(upstream.requests) % 2 == 0:
                return False
            peer.sendall(answer())
            return True

        with Upstream(script) as upstream:
            self.fetch(upstream.url)
            self.assertEqual(self.fetch(upstream.url)[2], b"hello")
            self.assertEqual((len(upstream.requests), upstream.connections), (3, 2))
        with Upstream(script) as upstream:
            self.fetch(upstream.url)
            self.assertIn("the other side has gone", self.fetch(upstream.url, method="POST", body="x"))
            self.assertEqual(len(upstream.requests), 2)


class Redirects(Fetch):
    def redirecting(self, status, to):
        """The root leads there, what is there says who came."""
        def script(upstream, peer, file, head):
            body = upstream.body_of(file, head)
            if head.split(b" ")[1] == b"/":
                location = to(upstream) if callable(to) else to
                sent = answer(b"not here", b"HTTP/1.1 %d x\r\n" % status,
                              b"Location: %s\r\n" % location.encode())
            else:
                sent = answer(head + body)
            if head.startswith(b"HEAD"):
                sent = sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            peer.sendall(sent)
            return True
        return script

    def test_methods(self):
        for status, method, becomes in ((301, "GET", "GET"), (301, "POST", "GET"), (302, "POST", "GET"),
                                        (302, "PUT", "PUT"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"),
                                        (307, "POST", "POST"), (308, "PUT", "PUT")):
            with self.subTest(f"{status} {method}"), \
                    Upstream(self.redirecting(status, "/there")) as upstream:
                arguments = {"body": "payload"} if method in ("PUT", "POST") else {}
                head, _, body = self.fetch(upstream.url, method=method, secrets=1, **arguments)
                self.assertEqual(head, f"200 OK 1 {upstream.url}there")
                self.assertTrue(upstream.requests[1].startswith(f"{becomes} /there ".encode()))
                self.assertIn(f"Host: {upstream.name}\r\n".encode(), upstream.requests[1])
                self.assertIn(b"Host: named.example\r\n", upstream.requests[0])
                kept = becomes in ("PUT", "POST")
                self.assertEqual(body.endswith(b"payload"), kept)
                if arguments:
                    self.assertEqual(b"text/mine" in upstream.requests[1], kept)
                self.assertIn(b"Authorization: Bearer secret\r\nCookie: a=b\r\nX-Mine: kept\r\n",
                              upstream.requests[1])
                self.assertEqual(upstream.connections, 1)

    def test_another_origin_gets_no_credentials(self):
        with Upstream(says(answer())) as other, \
                Upstream(self.redirecting(302, other.url + "x")) as upstream:
            self.fetch(upstream.url, secrets=1)
            self.assertNotIn(b"secret", other.requests[0])
            self.assertNotIn(b"Cookie", other.requests[0])
            self.assertIn(b"X-Mine: kept", other.requests[0])
            self.fetch(upstream.url, user="jack")
            self.assertNotIn(b"Authorization", other.requests[1])

    def test_loops_end(self):
        with Upstream(self.redirecting(302, "/")) as upstream:
            self.assertEqual(self.fetch(upstream.url)[0], f"302 x 5 {upstream.url}")
            self.assertEqual(len(upstream.requests), 6)
            self.assertEqual(self.fetch(upstream.url, redirects=2)[0], f"302 x 2 {upstream.url}")
            head, headers, body = self.fetch(upstream.url, redirects=-1)
            self.assertEqual((head, body), (f"302 x 0 {upstream.url}", b"not here"))
            self.assertIn("Location: /", headers)

    def test_bad_ones(self):
        for to in ("ftp://example.org/", "http://", "javascript:alert(1)"):
            with self.subTest(to):
                self.assertEqual(self.failure(self.redirecting(302, to)),
                                 f"{BAD}: the redirect leads to no http URL")

    def test_relative_ones(self):
        with Upstream(self.redirecting(302, "a b/../\u00fc?q")) as upstream:
            self.assertEqual(self.fetch(upstream.url)[0], f"200 OK 1 {upstream.url}%C3%BC?q")


class LittleMemory(Fetch):
    TORNADOD = "workers = 1\nmemory = 1m"

    def test_an_answer_without_room_is_an_error(self):
        with Upstream(says(answer(bytes(2 << 20)))) as upstream:
            self.assertIn("memory (1048576 bytes) is used up", self.fetch(upstream.url))
        with Upstream(says(answer(b"hello!"))) as upstream:
            self.assertEqual(self.fetch(upstream.url)[2], b"hello!")


class OneAtATime(Fetch):
    TORNADOD = "workers = 1\nmax_clients = 1\nclient_idle = 1\nclient_idle_timeout = 50ms"

    def test_a_redirect_does_not_wait_for_itself(self):
        with Upstream(Redirects.redirecting(self, 302, "/there")) as upstream:
            self.assertEqual(self.fetch(upstream.url)[0], f"200 OK 1 {upstream.url}there")

    def test_first_come_first_served_and_the_rest_is_told(self):
        def script(upstream, peer, file, head):
            time.sleep(0.02)
            peer.sendall(answer())
            return True

        with Upstream(script) as upstream:
            self.assertEqual(self.ask("several", url=upstream.url, count=10), b"200 0 6 hello\n" * 10)
            self.assertEqual(upstream.connections, 1)
        with Upstream(says(b"", then_waits=True)) as upstream:
            lines = self.ask("several", url=upstream.url, count=3, ms=900, connect_ms=300).decode().split("\n")
            self.assertEqual(lines[0], f"599 {TIMED_OUT} 4 Timeout during request")
            self.assertEqual(lines[1:3], [f"599 {TIMED_OUT} 1 Timeout in request queue"] * 2)
        with Upstream(says(answer())) as upstream:  # all places are free again
            self.assertEqual(self.fetch(upstream.url)[2], b"hello")

    def times(self, script, **arguments):
        with Upstream(script) as upstream:
            return sorted(map(float, self.ask("times", url=upstream.url, **arguments).split()))

    def test_request_time(self):
        def slow_at_first(upstream, peer, file, head):
            if head.startswith(b"GET / "):
                time.sleep(0.5)
                peer.sendall(b"HTTP/1.1 302 F\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")
            else:
                time.sleep(0.02)
                peer.sendall(answer())
            return True

        def slow_once(upstream, peer, file, head):
            time.sleep(0.5 / len(upstream.requests) ** 4)
            peer.sendall(answer())
            return True

        short, long = self.times(slow_once)
        self.assertGreaterEqual(long, 500)
        self.assertLess(short, 500, "the wait for the other one counts")
        short, _ = self.times(slow_at_first)
        self.assertGreaterEqual(short, 20)
        self.assertLess(short, 500, "what the redirect took counts")
        short, long = self.times(says(b"", then_waits=True), ms=600, connect_ms=200)
        self.assertEqual(short, 0, "that had no place")
        self.assertGreaterEqual(long, 600, "that had no answer")

    def test_idle_connections_go(self):
        gone = threading.Event()

        def script(upstream, peer, file, head):
            if len(upstream.requests) == 1:
                peer.sendall(answer())
                if not file.peek(1):
                    gone.set()
                return True

        with Upstream(script) as upstream:
            self.fetch(upstream.url)
            self.assertTrue(gone.wait(harness.DEADLINE))

    def test_only_so_many_are_kept(self):
        with Upstream(says(answer(), stays=True)) as one, Upstream(says(answer(), stays=True)) as two:
            for upstream in (one, two, one):
                self.fetch(upstream.url)
            self.assertEqual((one.connections, two.connections), (2, 1))


if __name__ == "__main__":
    unittest.main()
