"""Goal: what leaves through transforms and compression is what the handler wrote, for real clients;
headers of HEAD are those of GET; what was cut is seen to be cut.
"""

import gzip
import os
import subprocess
import tempfile
import time
import unittest
import zlib

import harness

ON = "[log]\naccess = off\n[application]\ncompress_response = on\n"
ACCEPTS = ("gzip", "br", "zstd")


def lines(count):
    return b"".join(b"line %d of the body\n" % i for i in range(count))


def tool(*argv):
    return lambda data: subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


DECODE = {"gzip": gzip.decompress, "br": tool("brotli", "-dc"), "zstd": tool("zstd", "-dcq"),
          None: lambda data: data}


def ask(conn, target, accept=None, method="GET", more=""):
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{more}"
    if accept is not None:
        head += f"Accept-Encoding: {accept}\r\n"
    conn.send(head.encode() + b"\r\n")
    return conn.response(head=method == "HEAD")


def dechunk(data):
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[:int(size, 16)], data[int(size, 16) + 2:]
    return body


class Compression(unittest.TestCase):
    def test_every_coding_gives_what_was_written(self):
        with harness.Daemon(handlers=["output"], ini=ON) as daemon, daemon.connect() as conn:
            for path in ("/whole?lines=100", "/whole?lines=20000", "/stream?flushes=20&lines=10"):
                for accept in ACCEPTS:
                    response = ask(conn, path, accept)
                    coding = response.header("Content-Encoding")
                    streamed = accept == "br" and not path.endswith("=100")
                    self.assertEqual(coding, None if streamed else accept, path)
                    count = 200 if "stream" in path else int(path.split("=")[1])
                    self.assertEqual(DECODE[coding](response.body), lines(count), path)
                    self.assertEqual(response.header("Vary"), "Accept-Encoding")

    def test_curl_decodes_it(self):
        with harness.Daemon(handlers=["output"], ini=ON) as daemon:
            for path in ("/whole?lines=5000", "/stream?flushes=20&lines=250"):
                url = "http://%s:%d%s" % (*daemon.addresses["default"], path)
                body = subprocess.run(["curl", "-sS", "--compressed", "--fail", url],
                                      stdout=subprocess.PIPE, check=True).stdout
                self.assertEqual(body, lines(5000))

    def test_head_says_what_get_does(self):
        with harness.Daemon(handlers=["output"], ini=ON) as daemon, daemon.connect() as conn:
            for path in ("/whole?lines=0", "/whole?lines=10", "/whole?lines=100",
                         "/whole?lines=5000", "/stream?flushes=2", "/whole?lines=100&type=image/png",
                         "/whole?with=brackets,slow", "/stream?with=shout"):
                for accept in (None, *ACCEPTS):
                    get, head = (ask(conn, path, accept, method) for method in ("GET", "HEAD"))
                    fields = [[line for line in response.headers if line[0] != "Date"]
                              for response in (get, head)]
                    if ("Transfer-Encoding", "chunked") in fields[0]:
                        fields[0].remove(("Transfer-Encoding", "chunked"))
                    self.assertEqual(fields[0], fields[1], (path, accept))
                    self.assertEqual(get.status, head.status)

    def test_entity_tags_of_both_forms_are_known(self):
        path = "/whole?lines=100"
        with harness.Daemon(handlers=["output"], ini=ON) as daemon, daemon.connect() as conn:
            plain = ask(conn, path).header("Etag")
            for accept in ACCEPTS:
                coded = ask(conn, path, accept).header("Etag")
                self.assertEqual(coded, f'{plain[:-1]}-{accept}"')
                for known in (plain, coded, "W/" + coded):
                    for now in (None, *ACCEPTS):
                        response = ask(conn, path, now, more=f"If-None-Match: {known}\r\n")
                        self.assertEqual((response.status, response.body), (304, b""))
                        self.assertEqual(response.header("Etag"), known.removeprefix("W/"))
                        self.assertEqual(response.header("Vary"), "Accept-Encoding")
            self.assertEqual(ask(conn, path, more='If-None-Match: "other-gzip"\r\n').status, 200)

    def test_what_is_aborted_has_no_end(self):
        with harness.Daemon(handlers=["output"], ini=ON) as daemon:
            for accept in (None, "gzip", "zstd"):
                with daemon.connect() as conn:
                    conn.send(b"GET /stream?flushes=3&abort=1 HTTP/1.1\r\nHost: x\r\n"
                              + (f"Accept-Encoding: {accept}\r\n\r\n" if accept else "\r\n").encode())
                    received = conn.rest()
                self.assertFalse(received.endswith(b"0\r\n\r\n"))
                body = dechunk(received.partition(b"\r\n\r\n")[2])
                if accept == "gzip":
                    decoder = zlib.decompressobj(31)
                    self.assertEqual(decoder.decompress(body), lines(30))
                    self.assertFalse(decoder.eof)
                elif accept == "zstd":
                    with self.assertRaises(subprocess.CalledProcessError):
                        subprocess.run(["zstd", "-dcq"], input=body, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, check=True)
            daemon.wait_log("as asked for")

    def test_streams_beyond_max_compressors_are_not_compressed(self):
        with harness.Daemon(handlers=["output"], ini=ON,
                            tornadod="workers = 1\nmax_compressors = 2\ndrain_timeout = 100ms") as daemon:
            with daemon.connect() as a, daemon.connect() as b, daemon.connect() as c:
                for conn in (a, b):
                    conn.send(b"GET /stream?flushes=2&sleep=60000 HTTP/1.1\r\nHost: x\r\n"
                              b"Accept-Encoding: gzip\r\n\r\n")
                    self.assertIn(b"Content-Encoding: gzip", conn._until(b"\r\n\r\n"))
                response = ask(c, "/stream?flushes=1", "gzip")
                self.assertEqual(response.header("Content-Encoding"), None)
                self.assertEqual(response.body, lines(10))
                daemon.wait_log("max_compressors")
                a.close()
                deadline = time.monotonic() + harness.DEADLINE
                while ask(c, "/stream?flushes=1", "gzip").header("Content-Encoding") is None:
                    self.assertLess(time.monotonic(), deadline)


EVENT = b"id: %d\nevent: tick\ndata: one\ndata: two\ndata: three\ndata: \n\n"
OVER = r"the stream is over: -4098"


def begin_events(conn, query="", more=""):
    conn.send(f"GET /events?{query} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    head = harness.Response(conn._until(b"\r\n\r\n"))
    assert head.status == 200, head
    return head


def next_chunk(conn):
    chunk = conn._exactly(int(conn._until(b"\r\n"), 16))
    conn._exactly(2)
    return chunk


class Events(unittest.TestCase):
    def test_events_arrive_one_by_one_and_the_client_may_leave(self):
        for query in ("count=2", "count=2&await=1", "count=2&with=slow"):
            with harness.Daemon(handlers=["output"]) as daemon:
                with daemon.connect() as conn:
                    head = begin_events(conn, query, "Last-Event-ID: 4\r\n")
                    self.assertEqual(head.header("Content-Type"), "text/event-stream")
                    self.assertEqual(head.header("Cache-Control"), "no-cache")
                    self.assertEqual(head.header("X-Accel-Buffering"), "no")
                    self.assertEqual(next_chunk(conn), b"retry: 10\n" + EVENT % 40)
                    self.assertEqual(next_chunk(conn), EVENT % 41)
                daemon.wait_log(OVER)

    def test_compressed_events_arrive_at_once(self):
        with harness.Daemon(handlers=["output"], ini=ON) as daemon, daemon.connect() as conn:
            begin_events(conn, "count=2", "Accept-Encoding: gzip\r\n")
            decoder = zlib.decompressobj(31)
            self.assertEqual(decoder.decompress(next_chunk(conn)), b"retry: 10\n" + EVENT % 0)
            self.assertEqual(decoder.decompress(next_chunk(conn)), EVENT % 1)

    def test_a_silent_stream_has_a_heartbeat(self):
        ini = "[application]\nsse_heartbeat = 20ms\n"
        for query in ("count=0", "count=0&with=shout"):
            with harness.Daemon(handlers=["output"], ini=ini) as daemon, daemon.connect() as conn:
                begin_events(conn, query)
                for _ in range(3):
                    self.assertEqual(next_chunk(conn), b":\n\n")

    def test_nothing_can_be_put_into_an_event(self):
        with harness.Daemon(handlers=["output"]) as daemon, daemon.connect() as conn:
            begin_events(conn, "count=0&injected=1")
            self.assertEqual(conn._until(b"\r\n"), b"0")
            daemon.wait_log("td_sse_send: a line break is in id or event")

    def test_a_reload_ends_the_stream_and_the_client_comes_again(self):
        for query in ("count=1", "count=1&await=1"):
            with harness.Daemon(handlers=["output"]) as daemon, daemon.connect() as conn:
                begin_events(conn, query)
                next_chunk(conn)
                daemon.reload()
                self.assertEqual(conn._until(b"\r\n"), b"0")  # ended, not cut off
                daemon.wait_log(OVER)
                with daemon.connect() as again:
                    begin_events(again, query, "Last-Event-ID: 1\r\n")
                    self.assertEqual(next_chunk(again), b"retry: 10\n" + EVENT % 10)

    def test_a_reader_that_does_not_read_costs_little(self):
        with harness.Daemon(handlers=["output"]) as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
                conn._until(b"\r\n\r\n")
                with daemon.connect() as other:
                    for _ in range(200):
                        self.assertEqual(ask(other, "/whole?lines=1").status, 200)
                self.assertLess(harness.resident_kb(daemon.workers()[0]), 40_000 if not harness.SANITIZED else 400_000)
            daemon.wait_log("the flood is over: -4098")

    def test_head_of_a_stream_without_an_end_has_one(self):
        for target in ("/flood", "/events?count=0"):
            with harness.Daemon(handlers=["output"]) as daemon, daemon.connect() as conn:
                self.assertEqual(conn.request("HEAD", target).status, 200)
                self.assertEqual(ask(conn, "/whole?lines=1").status, 200)  # it is the next one's turn


class StaticFiles(unittest.TestCase):
    def test_text_is_compressed_and_ranges_are_not(self):
        with tempfile.TemporaryDirectory(prefix="tornadod-files-") as root:
            os.chmod(root, 0o755)
            for name, count in (("small.txt", 100), ("middle.txt", 2000), ("large.txt", 100_000)):
                with open(os.path.join(root, name), "wb") as file:
                    file.write(lines(count))
            with harness.Daemon(handlers=["output"], ini=f"{ON}static_path = {root}\n") as daemon, \
                    daemon.connect() as conn:
                for name, count in (("small.txt", 100), ("middle.txt", 2000),
                                    ("large.txt", 100_000)):
                    for accept in ("gzip", "zstd", None):
                        path = "/static/" + name
                        response = ask(conn, path, accept)
                        self.assertEqual(response.header("Content-Encoding"), accept)
                        self.assertEqual(DECODE[accept](response.body), lines(count))
                        self.assertEqual(response.header("Vary"), "Accept-Encoding")
                        again = ask(conn, path, accept,
                                    more=f"If-None-Match: {response.header('Etag')}\r\n")
                        self.assertEqual(again.status, 304)
                        part = ask(conn, path, accept, more="Range: bytes=5-9\r\n")
                        self.assertEqual((part.status, part.header("Content-Encoding"), part.body),
                                         (206, None, lines(1)[5:10]))
                        if accept:  # what it has a part of is not what the range would be of
                            whole = ask(conn, path, accept, more="Range: bytes=5-9\r\n"
                                        f"If-Range: {response.header('Etag')}\r\n")
                            self.assertEqual(whole.status, 200)


class Transforms(unittest.TestCase):
    def test_they_come_in_order(self):
        with harness.Daemon(handlers=["output"]) as daemon, daemon.connect() as conn:
            for path in ("/whole?lines=30&", "/stream?flushes=3&"):
                for more in ("", ",slow"):
                    response = ask(conn, f"{path}with=shout,brackets{more}")
                    self.assertEqual(response.body, b"[" + lines(30).upper() + b"]")
                    self.assertEqual(response.header("X-Brackets"), "yes")

    def test_one_that_fails_is_answered_500_or_cut_off(self):
        with harness.Daemon(handlers=["output"]) as daemon:
            response = daemon.get("/whole?with=shout,fail")
            self.assertEqual(response.status, 500)
            self.assertIn(b"500: Internal Server Error", response.body)
            with daemon.connect() as conn:
                conn.send(b"GET /stream?with=fail HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertFalse(conn.rest().endswith(b"0\r\n\r\n"))
            daemon.wait_log("the transform fails")


if __name__ == "__main__":
    unittest.main()
