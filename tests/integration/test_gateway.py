"""Goal: what a gateway relays comes through whole, both ways and as fast as the slower side takes it, and
whatever an upstream does, a client gets an answer, or can tell that it has none.
"""

import concurrent.futures
import contextlib
import gzip
import os
import random
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import openmetrics
from certificates import Certificates
from test_https import SecureUpstream
from test_fetch import OK, Upstream, answer, chunks_of, early, for_ever, resets, says

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ANY_SIZE = "max_body_size = 1g\n"
GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def gateway(*upstreams, keys="", tornadod="workers = 1", ini=""):
    names = ", ".join(getattr(upstream, "name", upstream) for upstream in upstreams)
    return harness.Daemon(["gateway"], tornadod=tornadod,
                          ini=f"[handler:gateway]\nupstreams = {names}\n{keys}\n{ini}")


def echo(upstream, peer, file, head):
    """Answers with the head and the body of the request."""
    body = chunks_of(file) if b"Transfer-Encoding: chunked" in head else upstream.body_of(file, head)
    peer.sendall(answer(head + body))
    return True


def named(name):
    return says(answer(name.encode()), stays=True)


def lines_of(head):
    return head.decode().split("\r\n")[1:-2]


def request(conn, text, body=b"", method="GET"):
    conn.send(text.encode() + body)
    return conn.response(method == "HEAD")


def until(conn, marker):
    """Receive up to the marker."""
    while marker not in conn.received:
        data = conn.socket.recv(65536)
        assert data, f"the connection ended within {conn.received!r}"
        conn.received += data
    conn.received = conn.received.split(marker, 1)[1]


@contextlib.contextmanager
def program(*command, **more):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


class Requests(unittest.TestCase):
    def relayed(self, text, keys="via =", ini="", body=b""):
        """The request as the upstream has seen it."""
        with Upstream(echo) as upstream, gateway(upstream, keys=keys, ini=ini) as daemon:
            self.name = upstream.name
            with daemon.connect() as conn:
                conn.send(text.encode() + body)
                return conn.response().body

    def test_what_is_passed_and_what_is_not(self):
        seen = self.relayed(
            "GET /a%20b/./c?d=%2F/../&e HTTP/1.1\r\nHost: shop.example:81\r\nAccept: x\r\nX-Two: 1\r\nX-Two: 2\r\n"
            "Connection: close, X-Mine, X-Two-And\r\nX-Mine: hop\r\nX-Two-And: hop\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
            "Proxy-Connection: x\r\nProxy-Authorization: x\r\nTrailer: x\r\nUpgrade: h2c\r\nCookie: a=b\r\n"
            "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nX-Scheme: https\r\n"
            "X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /x\r\nForwarded: for=6.6.6.6\r\n\r\n", "")
        self.assertEqual(seen.decode().split("\r\n"), [
            "GET /a%20b/./c?d=%2F/../&e HTTP/1.1", "Host: shop.example:81", "Accept: x", "X-Two: 1", "X-Two: 2",
            "Cookie: a=b", "Via: 1.1 tornadod", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http",
            "X-Forwarded-Host: shop.example:81", "", ""])

    def test_telling_of_the_client(self):
        client = ("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
                  "X_Y: z\r\nForwarded: for=1.1.1.1\r\n\r\n")
        for keys, expected in (
                ("x_forwarded = add\nforwarded = add\nunderscores = on",
                 ["X-Forwarded-Proto: https", "X_Y: z", "X-Forwarded-For: 1.1.1.1, 127.0.0.1",
                  "X-Forwarded-Host: x", 'Forwarded: for=1.1.1.1, for=127.0.0.1;host="x";proto=http']),
                ("x_forwarded = drop\nforwarded = set", ['Forwarded: for=127.0.0.1;host="x";proto=http']),
                ("x_forwarded = pass\nforwarded = pass",
                 ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "Forwarded: for=1.1.1.1"])):
            with self.subTest(keys):
                self.assertEqual(lines_of(self.relayed(client, keys + "\nvia =")), ["Host: x", *expected])

    def test_host_and_path(self):
        for keys, first, host in (("pass_host = off", "/shop/a", None), ("host = b.example", "/shop/a", "b.example"),
                                  ("strip_prefix = /shop", "/a", "x"), ("strip_prefix = /sh", "/shop/a", "x"),
                                  ("strip_prefix = /shop\nadd_prefix = /v2", "/v2/a", "x"),
                                  ("strip_prefix = /shop/a", "/", "x")):
            with self.subTest(keys):
                seen = self.relayed("GET /shop/a HTTP/1.1\r\nHost: x\r\n\r\n", keys + "\nmount = /shop")
                self.assertTrue(seen.startswith(f"GET {first} HTTP/1.1\r\n".encode()), seen)
                self.assertIn(f"Host: {host or self.name}\r\n".encode(), seen)

    def test_a_host_that_is_empty(self):
        """RFC 9112 section 3.2 has clients send it where they know none; the upstream is told its own."""
        with Upstream(echo) as a, Upstream(echo) as b, gateway(a, b) as daemon, daemon.connect() as conn:
            for upstream in a, b, a, b:
                seen = request(conn, "GET / HTTP/1.1\r\nHost:\r\n\r\n").body
                self.assertIn(f"\r\nHost: {upstream.name}\r\n".encode(), seen)

    def test_no_way_out_of_the_mount(self):
        with Upstream(echo) as upstream, gateway(upstream, keys="mount = /shop") as daemon:
            for path in ("..", "../x", "a/../x", ".%2e/x", "%2E%2e", "..%2fx", "a%2F..%2fx", "..%5cx", "..\\x",
                         "..;a/x", "..%3b/x", "a/..;", "//../x"):
                self.assertEqual(daemon.get("/shop/" + path).status, 400, path)
            self.assertEqual(upstream.requests, [])
            for path in ("...", "a..", "..a/x", "a;..", ".", "%252e%252e/x", "x?../..", ";../x"):
                self.assertEqual(daemon.get("/shop/" + path).status, 200, path)

    def test_what_only_looks_like_ours(self):
        """Fields that applications take for those that we set or that end here."""
        seen = self.relayed("GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 6.6.6.6\r\nX_Real-IP: 6.6.6.6\r\nContent_Length: 9\r\n"
                            "Transfer_Encoding: chunked\r\nX_Y: z\r\n\r\n", "underscores = on\nvia =")
        self.assertEqual(lines_of(seen), ["Host: x", "X_Y: z", "X-Forwarded-For: 127.0.0.1",
                                          "X-Forwarded-Proto: http", "X-Forwarded-Host: x"])
        seen = self.relayed("GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Forwarded-Proto\r\nX-Forwarded-Proto: https\r\n"
                            'Forwarded: for="\\"\r\n\r\n', "x_forwarded = add\nforwarded = add\nvia =")
        self.assertEqual(lines_of(seen), ["Host: x", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http",
                                          "X-Forwarded-Host: x", 'Forwarded: for=127.0.0.1;host="x";proto=http'])

    def test_via(self):
        """RFC 9110 section 7.6.3: with the version that the client speaks, behind those before us."""
        get = "GET / HTTP/%s\r\nHost: x\r\nVia: 1.0 fred, 1.1 p.example\r\n\r\n"
        for version, keys, expected in (("1.1", "", "1.1 tornadod"), ("1.0", "", "1.0 tornadod"),
                                        ("1.1", "via = shop.example", "1.1 shop.example")):
            self.assertEqual(lines_of(self.relayed(get % version, keys))[1:3],
                             ["Via: 1.0 fred, 1.1 p.example", "Via: " + expected])

    def test_max_forwards(self):
        """RFC 9110 section 7.6.2: of OPTIONS and TRACE it counts; at 0 the way ends here."""
        ask = "{} / HTTP/1.1\r\nHost: x\r\nMax-Forwards: {}\r\n\r\n"
        with Upstream(echo) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            for method, hops, passed in (("OPTIONS", "3", "2"), ("TRACE", "1", "0"), ("OPTIONS", "x", "x"),
                                         ("OPTIONS", "99999999999999999999", str((1 << 63) - 2)), ("GET", "0", "0")):
                self.assertIn(b"\r\nMax-Forwards: %s\r\n" % passed.encode(),
                              request(conn, ask.format(method, hops)).body, method)
            self.assertEqual(len(upstream.requests), 5)
            self.assertEqual(request(conn, ask.format("OPTIONS", "0")).status, 204)
            self.assertEqual(request(conn, ask.format("TRACE", "0")).status, 501)
            self.assertEqual(len(upstream.requests), 5)

    def test_the_query_is_passed_as_it_came(self):
        with Upstream(echo) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            for target, passed in (("/a?", "/a?"), ("/a", "/a"), ("/a??", "/a??"), ("http://y?", "/?"), ("http://y", "/"),
                                   ("/a?%zz&=\\", "/a?%zz&=\\")):
                seen = request(conn, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").body
                self.assertTrue(seen.startswith(f"GET {passed} HTTP/1.1\r\n".encode()), seen)

    def test_methods(self):
        with Upstream(echo) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "GET", "PROPFIND", "M-SEARCH", "get"):
                seen = request(conn, f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n").body
                self.assertTrue(seen.startswith(method.encode() + b" / HTTP/1.1\r\n"), seen)
            allowed = request(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").header("Allow")
            self.assertEqual(allowed, "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
            self.assertEqual(upstream.connections, 1)

    def test_bodies(self):
        """Small ones with a length, large ones, and such whose length nobody knows; of any method."""
        with Upstream(echo) as upstream, gateway(upstream, keys=ANY_SIZE) as daemon, daemon.connect() as conn:
            for method in ("POST", "PUT", "GET", "DELETE"):
                for size in (0, 1, 5000, 65536, 65537, 3000000):
                    with self.subTest(f"{method} {size}"):
                        body = os.urandom(size)
                        seen = request(conn, f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n", body)
                        head, _, got = seen.body.partition(b"\r\n\r\n")
                        self.assertIn(b"\r\nContent-Length: %d" % size, head)
                        self.assertEqual(got, body)
            for pieces in ((), (b"x",), (b"a" * 70000, b"b", b"c" * 200000)):
                chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
                seen = request(conn, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                               chunks + b"0\r\nA: trailer\r\n\r\n")
                self.assertEqual(seen.body.partition(b"\r\n\r\n")[2], b"".join(pieces))
                self.assertNotIn(b"trailer", seen.body)
            self.assertEqual(upstream.connections, 1)

    def test_bodies_that_are_inflated(self):
        """Their length is another one then: more than was told fits nowhere, and nobody is told it."""
        ini = "[application]\ndecompress_request = on\nmax_body_size = 1g\n"
        with Upstream(echo) as upstream, gateway(upstream, ini=ini) as daemon, daemon.connect() as conn:
            for size in (0, 1, 100, 65537, 5000000):
                with self.subTest(size):
                    body = os.urandom(size // 2) + bytes(size - size // 2)
                    packed = gzip.compress(body)
                    seen = request(conn, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                                   f"Content-Length: {len(packed)}\r\n\r\n", packed).body
                    head, _, got = seen.partition(b"\r\n\r\n")
                    self.assertNotIn(b"\r\nContent-Encoding:", head)
                    self.assertEqual(got, body)

    def test_expect(self):
        with Upstream(echo) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(conn.response(interim=True).status, 100)
            conn.send(b"abc")
            seen = conn.response().body
            self.assertNotIn(b"Expect", seen)
            self.assertTrue(seen.endswith(b"abc"))

    def test_limits_of_the_body(self):
        with Upstream(echo) as upstream, gateway(upstream, keys="max_body_size = 100000") as daemon:
            with daemon.connect() as conn:
                self.assertEqual(request(conn, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n").status, 413)
            with daemon.connect() as conn:
                chunk = b"c350\r\n" + bytes(50000) + b"\r\n"
                conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3)
                self.assertEqual(conn.response().status, 413)
            self.assertEqual(len([r for r in upstream.requests if b"Content-Length" in r]), 0)

    def test_what_could_be_smuggled(self):
        """Framed anew: of two ways to read a request none is left, or it is refused."""
        with Upstream(echo) as upstream, gateway(upstream) as daemon:
            for text in ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: xchunked\r\n",
                         "Content-Length: 3\r\nContent-Length: 4\r\n", "Content-Length: +3\r\n",
                         "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n",
                         "X: y\nTransfer-Encoding: chunked\r\n"):
                with self.subTest(text), daemon.connect() as conn:
                    status = request(conn, f"POST / HTTP/1.1\r\nHost: x\r\n{text}\r\n", b"0\r\n\r\n").status
                    self.assertIn(status, (400, 501))
            self.assertEqual(upstream.requests, [])
            with daemon.connect() as conn:  # what Connection names does not unframe what is behind us
                seen = request(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: Content-Length, Host\r\n"
                               "Content-Length: 3\r\n\r\n", b"abc").body
                self.assertIn(b"Content-Length: 3\r\n", seen)
                self.assertIn(b"Host: x\r\n", seen)


class Answers(unittest.TestCase):
    def relayed(self, sent, text="GET / HTTP/1.1\r\nHost: x\r\n\r\n", keys=""):
        with Upstream(says(sent)) as upstream, gateway(upstream, keys=keys) as daemon, daemon.connect() as conn:
            conn.send(text.encode())
            return conn.response(text.startswith("HEAD"))

    def test_status_and_fields(self):
        response = self.relayed(
            b"HTTP/1.1 299 My Own\r\nServer: theirs\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nEtag: \"v\"\r\nDate: then\r\n"
            b"Connection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 9\r\nX_Under: kept\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual((response.status, response.reason, response.body), (299, "My Own", b"hi"))
        self.assertEqual([line for line in response.headers if line[0] != "Date"],
                         [("Server", "theirs"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("Etag", '"v"'),
                          ("X_Under", "kept"), ("Content-Length", "2")])
        self.assertNotEqual(response.header("Date"), "then")

    def test_framings(self):
        for sent, status, length, body in (
                (answer(b"hello"), 200, "5", b"hello"), (answer(b""), 200, "0", b""),
                (answer(bytes(3000000)), 200, "3000000", bytes(3000000)),
                (CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n", 200, "6", b"hello!"),
                (OK + b"\r\nto the end", 200, None, b"to the end"),
                (b"HTTP/1.0 200 OK\r\n\r\nold", 200, None, b"old"),
                (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None, b""),
                (b"HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\nContent-Length: 9\r\n\r\n", 304, None, b""),
                (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + answer(), 200, "5", b"hello"),
                (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, "0", b""),
                (answer(b"packed", headers=b"Content-Encoding: gzip\r\n"), 200, "6", b"packed")):
            with self.subTest(sent[:50]):
                response = self.relayed(sent)
                self.assertEqual((response.status, response.body), (status, body))
                if length is not None:
                    self.assertEqual(response.header("Content-Length"), length)

    def test_head(self):
        head = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(self.relayed(OK + b"Content-Length: 9\r\n\r\n", head).header("Content-Length"), "9")
        self.assertIsNone(self.relayed(CHUNKED, head).header("Content-Length"))

    def test_what_comes_is_sent_at_once(self):
        go_on = threading.Event()

        def script(upstream, peer, *_):
            peer.sendall(CHUNKED + b"3\r\none\r\n5")  # and a part of what is next
            go_on.wait(harness.DEADLINE)
            peer.sendall(b"\r\n, two\r\n0\r\n\r\n")

        with Upstream(script) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(conn, b"one\r\n")
            go_on.set()
            until(conn, b", two\r\n0\r\n\r\n")
        go_on.clear()
        threading.Timer(0.2, go_on.set).start()
        with Upstream(script) as upstream, gateway(upstream, keys="response_buffer = 1k") as daemon:
            response = daemon.get("/")  # all of it at once: its length is known
            self.assertEqual((response.header("Content-Length"), response.body), ("8", b"one, two"))

    def test_a_slow_client_slows_the_upstream(self):
        sent = [0]

        def script(upstream, peer, *_):
            peer.sendall(OK + b"\r\n")
            with contextlib.suppress(OSError):
                while not upstream.over.is_set():
                    sent[0] += peer.send(bytes(65536))

        def grown():
            before = sent[0]
            time.sleep(0.1)
            return sent[0] > before

        with Upstream(script) as upstream, gateway(upstream) as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                until(conn, b"\r\n\r\n")
                harness.wait_until(lambda: not grown(), "it goes on and on")
                with open(f"/proc/{daemon.workers()[0]}/status", encoding="ascii") as status:
                    memory = int(re.search(r"RssAnon:\s+(\d+)", status.read())[1])
                self.assertLess(memory, 64 << 10)  # KiB
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told that the client has gone")

    def test_both_ways_at_once(self):
        """A conversation: each piece of the answer comes before the next piece of the request."""
        def script(upstream, peer, file, head):
            peer.sendall(CHUNKED)
            while size := int(file.readline(), 16):
                peer.sendall(b"%x\r\n%s\r\n" % (size, file.read(size).upper()))
                file.readline()
            peer.sendall(b"0\r\n\r\n")

        with Upstream(script) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for word in (b"one", b"two", b"three"):
                conn.send(b"%x\r\n%s\r\n" % (len(word), word))
                until(conn, word.upper() + b"\r\n")
            conn.send(b"0\r\n\r\n")
            until(conn, b"0\r\n\r\n")

    def test_an_early_answer_to_a_large_body(self):
        for closes in (True, False):
            for framing in (b"Content-Length: 100000000", b"Transfer-Encoding: chunked"):
                with self.subTest(f"{closes} {framing}"), Upstream(early(413, closes)) as upstream, \
                        gateway(upstream, keys=ANY_SIZE) as daemon, daemon.connect() as conn:
                    conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\nffffff\r\n" + bytes(300000))
                    response = conn.response()  # though the client sends no more
                    self.assertEqual((response.status, response.body), (413, b"enough"))


class Faults(unittest.TestCase):
    def fail(self, script, keys="timeout = 300ms", status=502, log=None, request=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        with Upstream(script) as upstream, gateway(upstream, keys=keys) as daemon, daemon.connect() as conn:
            conn.send(request)
            self.assertEqual(conn.response().status, status)
            daemon.wait_log(rf"{status} \w+ / .*upstream {upstream.name}: {log}")
            with daemon.connect() as again:  # the worker is well
                again.send(b"BAD\r\n\r\n")
                self.assertEqual(again.response().status, 400)

    def test_before_the_head(self):
        for name, script, status, log in (
                ("stalls", says(b"", then_waits=True), 504, "Timeout during request"),
                ("half a head", says(OK, then_waits=True), 504, "Timeout during request"),
                ("closes", says(b""), 502, "waiting for the response: the other side has gone"),
                ("closes in the head", says(OK), 502, "waiting for the response: the other side has gone"),
                ("resets", resets, 502, "waiting for the response: "),
                ("other protocol", says(b"220 smtp\r\n"), 502, "response: status line"),
                ("endless head", for_ever(OK, b"A: b\r\n" * 100), 502, "response: header: too"),
                ("two lengths", says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 502, "response: Content-Length"),
                ("both framings", says(CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n"), 502, "response: Transfer-Encoding"),
                ("a bare LF", says(b"HTTP/1.1 200 OK\nA: b\n\n"), 502, "response: header: LF"),
                ("101", says(b"HTTP/1.1 101 Switching\r\n\r\n"), 502, "response: 101")):
            with self.subTest(name):
                self.fail(script, f"timeout = {'300ms' if status == 504 else '30s'}", status, log)

    def test_behind_the_head(self):
        """The client was sent the head: it can tell that the body is not complete."""
        for name, sent in (("short", OK + b"Content-Length: 9\r\n\r\nabc"), ("chunks end", CHUNKED + b"3\r\nabc\r\n"),
                           ("bad chunk", CHUNKED + b"11170\r\n" + bytes(70000) + b"X"), ("stalls", CHUNKED + b"3\r\nabc\r\n")):
            with self.subTest(name), Upstream(says(sent, then_waits=name == "stalls")) as upstream, \
                    gateway(upstream, keys="timeout = 300ms") as daemon, daemon.connect() as conn:
                conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                got = conn.rest()
                self.assertFalse(got.endswith(b"0\r\n\r\n"), got)
                daemon.wait_log(f"upstream {upstream.name}: ")

    def test_nobody_is_there(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            name = "127.0.0.1:%d" % unused.getsockname()[1]
            with gateway(name, "unix:/nowhere/at/all", keys="tries = 2") as daemon:
                self.assertEqual(daemon.get("/").status, 502)
                daemon.wait_log(f"connecting to {name}: Connection refused; unix:/nowhere/at/all is next")
                daemon.wait_log("connecting to unix:/nowhere/at/all: No such file")

    def test_too_many_wait(self):
        with Upstream(says(b"", then_waits=True)) as upstream, \
                gateway(upstream, keys="timeout = 500ms", tornadod="workers = 1\nmax_clients = 1") as daemon, \
                daemon.connect() as first:
            first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            harness.wait_until(lambda: upstream.requests, "nothing came")
            self.assertIn(daemon.get("/").status, (503, 504))
            self.assertEqual(first.response().status, 504)

    def test_a_client_that_breaks_off_its_body(self):
        gone = threading.Event()

        def script(upstream, peer, file, head):
            file.read()
            gone.set()

        for close in (lambda conn: conn.close(), lambda conn: conn.send(b"no chunk")):
            gone.clear()
            with Upstream(script) as upstream, gateway(upstream, keys=ANY_SIZE) as daemon, daemon.connect() as conn:
                conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n14000\r\n" + bytes(81920) + b"\r\n")
                harness.wait_until(lambda u=upstream: u.requests, "nothing came")
                close(conn)
                self.assertTrue(gone.wait(harness.DEADLINE))

    def test_a_slow_client_has_its_time(self):
        """timeout is for the upstream, which has nothing to say before it has the body."""
        for framing in "Content-Length: 100000", "Transfer-Encoding: chunked":
            with self.subTest(framing), Upstream(echo) as upstream, \
                    gateway(upstream, keys=ANY_SIZE + "timeout = 1s") as daemon, daemon.connect() as conn:
                conn.send(f"PUT / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
                for _ in range(5):
                    conn.send((b"4e20\r\n%s\r\n" if "chunked" in framing else b"%s") % bytes(20000))
                    time.sleep(0.3)
                conn.send(b"0\r\n\r\n" if "chunked" in framing else b"")
                response = conn.response()
                self.assertEqual((response.status, response.body[-100000:]), (200, bytes(100000)))

    def test_who_is_late(self):
        """A client that sends no more of its body is told so, and the upstream is not left alone for it."""
        with Upstream(echo) as a, Upstream(echo) as b, gateway(a, b, keys="timeout = 200ms") as daemon:
            with daemon.connect() as conn:
                conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50000))
                self.assertEqual(conn.response().status, 408)
            daemon.wait_log("408 PUT / .*no more of the body came in 200 ms")
            self.assertNotIn("left alone", daemon.log.text())

    def test_nothing_is_left(self):
        def script(upstream, peer, *_):
            peer.sendall(OK + b"Content-Length: 9\r\n\r\nx")
            upstream.over.wait(harness.DEADLINE)

        with Upstream(script) as upstream, gateway(upstream, keys=ANY_SIZE) as daemon:
            files = harness.descriptors(daemon.workers()[0])
            for body in (b"\r\n", b"Content-Length: 900000\r\n\r\n" + bytes(100000)):
                conns = [daemon.connect() for _ in range(20)]
                for conn in conns:
                    conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\n" + body)
                    until(conn, b"\r\n\r\n")
                for conn in conns:
                    conn.close()
                harness.wait_until(lambda: harness.descriptors(daemon.workers()[0]) <= files + 1,
                                   "descriptors are left")


class Tagged:
    """An upstream that does what the path says, and sees that each request is what one client has sent."""

    POISON = answer(b"poison")
    DOES = {  # what it says to whom it gives this tag, and whether it stays
        "plain": lambda tag: (answer(tag), True),
        "chunks": lambda tag: (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(tag), tag), True),
        "interim": lambda tag: (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + answer(tag), True),
        "until it ends": lambda tag: (OK + b"\r\n" + tag, False),
        "and goes": lambda tag: (answer(tag), False),
        "and more": lambda tag: (answer(tag) + Tagged.POISON, True),
        "and more chunks": lambda tag: (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(tag), tag) + Tagged.POISON, True),
        "a body of none": lambda tag: (b"HTTP/1.1 304 Not Modified\r\n\r\n" + Tagged.POISON, True),
        "half": lambda tag: (answer(tag * 2)[:-1], False),
        "half chunks": lambda tag: (CHUNKED + b"%x\r\n%s\r\n" % (len(tag), tag), False),
        "nothing": lambda tag: (b"", False),
    }
    NAMES = sorted(DOES)

    def __init__(self):
        self.wrong = []
        self.spoilt = set()  # the connections on which nothing may follow

    def script(self, upstream, peer, file, head):
        what, tag, told = re.search(rb" /(\d+)/(\w+) HTTP.*\r\nX-Tag: (\w+)\r\n", head, re.S).groups()
        body = chunks_of(file) if b"\r\nTransfer-Encoding:" in head else upstream.body_of(file, head)
        if peer in self.spoilt or tag != told or not (tag * 20000).startswith(body):  # it may be cut off
            self.wrong.append((head, body[:100]))
        said, stays = self.DOES[self.NAMES[int(what)]](tag)
        if not said.endswith(tag) and said.endswith(self.POISON):
            self.spoilt.add(peer)
        peer.sendall(said)
        return stays


class WhoseAnswer(unittest.TestCase):
    """Whatever clients and upstreams break off, an answer is that of who has asked."""

    def ask(self, daemon, tag, chance):
        """One connection, and requests on it until one of them ends it; some are not waited for."""
        with daemon.connect() as conn:
            for number in range(10):
                own = b"%sx%d" % (tag, number)
                what = chance.randrange(len(Tagged.NAMES))
                body = own * chance.choice((0, 1, 20000))
                head = b"PUT /%d/%s HTTP/1.1\r\nHost: x\r\nX-Tag: %s\r\nContent-Length: %d\r\n\r\n" % (
                    what, own, own, len(body))
                if chance.random() < 0.1:
                    conn.send((head + body)[:chance.randrange(len(head + body) + 1)])
                    return
                try:
                    conn.send(head + body)
                    response = conn.response()
                except (harness.ProtocolError, OSError):
                    self.assertNotIn(b"poison", conn.received)
                    self.assertIn("half", Tagged.NAMES[what])
                    return
                if response.status == 200:
                    self.assertEqual(response.body, own)
                    self.assertNotIn("half", Tagged.NAMES[what])
                else:
                    self.assertIn(response.status, (304, 502))
                if response.header("Connection") == "close":
                    return

    def test_everybody_gets_his_own(self):
        tagged = Tagged()
        with Upstream(tagged.script) as a, Upstream(tagged.script) as b, \
                gateway(a, b, keys=ANY_SIZE + "max_fails = 0") as daemon, \
                concurrent.futures.ThreadPoolExecutor(8) as pool:
            for asked in [pool.submit(self.ask, daemon, b"t%d" % n, random.Random(n)) for n in range(150)]:
                asked.result()
            self.assertGreater(len(a.requests) + len(b.requests), a.connections + b.connections)  # some were kept
        self.assertEqual(tagged.wrong, [])


class SeveralUpstreams(unittest.TestCase):

    def bodies(self, daemon, count, text=GET, body=b""):
        with daemon.connect() as conn:
            return b"".join(request(conn, text, body).body for _ in range(count))

    def test_in_turn(self):
        with Upstream(named("a")) as a, Upstream(named("b")) as b, Upstream(named("c")) as c, \
                gateway(a, b, c) as daemon:
            self.assertEqual(self.bodies(daemon, 7), b"abcabca")

    def test_least_busy(self):
        with Upstream(says(b"", then_waits=True)) as slow, Upstream(named("b")) as b, \
                gateway(slow, b, keys="balance = least_busy") as daemon, daemon.connect() as first:
            first.send(GET.encode())
            harness.wait_until(lambda: slow.requests, "nothing came")
            self.assertEqual(self.bodies(daemon, 5), b"bbbbb")

    def test_one_that_is_down_is_left_alone(self):
        with socket.socket() as unused, Upstream(named("b")) as b:
            unused.bind(("127.0.0.1", 0))
            name = "127.0.0.1:%d" % unused.getsockname()[1]
            with gateway(name, b, keys="fail_timeout = 400ms\nmax_fails = 2") as daemon:
                self.assertEqual(self.bodies(daemon, 10), b"b" * 10)
                daemon.wait_log(f"upstream {name}: left alone for 400 ms after 2 failures")
                harness.wait_until(lambda: daemon.log.text().count("is next") == 2, "both lines")
                time.sleep(0.5)
                with Upstream.__new__(Upstream) as back:  # it listens where nobody did
                    unused.close()
                    back.__init__(named("a"), port=int(name.split(":")[1]))
                    self.assertIn(b"ab", self.bodies(daemon, 4))
                    daemon.wait_log(f"upstream {name}: answers again")

    def test_what_is_tried_again(self):
        """The first upstream breaks each request; what does no harm twice goes to the other."""
        for text, body, again in ((GET, b"", True), ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", b"abc", True),
                                  ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", b"abc", False),
                                  ("PATCH / HTTP/1.1\r\nHost: x\r\n\r\n", b"", False),
                                  ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n", bytes(80000), False)):
            with self.subTest(text), Upstream(says(b"")) as broken, Upstream(echo) as good, \
                    gateway(broken, good) as daemon, daemon.connect() as conn:
                response = request(conn, text, body)
                self.assertEqual(response.status, 200 if again else 502)
                self.assertEqual(len(good.requests), int(again))
                if again:
                    self.assertTrue(response.body.endswith(b"\r\n\r\n" + body))

    def test_the_status_tells_what_each_does(self):
        def told(family):
            numbers = openmetrics.parse(daemon.get("/metrics").body.decode())[family]
            suffix = "_total" if numbers.type == "counter" else ""
            return [numbers.value(suffix, handler="gateway", upstream=name) for name in names]

        def slow(upstream, peer, file, head):
            if b"/slow" in head:
                release.wait(harness.DEADLINE)
            return named("b")(upstream, peer, file, head)

        release = threading.Event()
        with socket.socket() as unused, Upstream(slow) as b:
            unused.bind(("127.0.0.1", 0))
            names = ["127.0.0.1:%d" % unused.getsockname()[1], b.name]
            with harness.Daemon(["gateway", "status"], tornadod="workers = 1", ini=(
                    f"[handler:gateway]\nmount = /shop\nupstreams = {', '.join(names)}\n"
                    "fail_timeout = 400ms\nmax_fails = 2\n")) as daemon:
                self.assertEqual(told("gateway_requests"), [0, 0])
                for _ in range(10):
                    self.assertEqual(daemon.get("/shop/x").body, b"b")
                self.assertEqual(told("gateway_requests"), [2, 10])
                self.assertEqual(told("gateway_failures"), [2, 0])
                self.assertEqual(told("gateway_retries"), [0, 2])
                self.assertEqual(told("gateway_upstream_down"), [1, 0])
                with daemon.connect() as conn:
                    conn.send(b"GET /shop/slow HTTP/1.1\r\nHost: x\r\n\r\n")
                    harness.wait_until(lambda: told("gateway_requests_in_flight") == [0, 1], "it is not on its way")
                    release.set()
                    self.assertEqual(conn.response().body, b"b")
                self.assertEqual(told("gateway_requests_in_flight"), [0, 0])
                time.sleep(0.5)
                with Upstream.__new__(Upstream) as back:  # it listens where nobody did
                    unused.close()
                    back.__init__(named("a"), port=int(names[0].split(":")[1]))
                    harness.wait_until(lambda: daemon.get("/shop/x").body == b"a", "it is not asked")
                    self.assertEqual(told("gateway_upstream_down"), [0, 0])
                self.assertRegex(daemon.command_line("status").stdout,
                                 rf"\n +2  gateway_failures of gateway, upstream {names[0]}\n")

    HALF = OK + b"Content-Length: 9\r\n\r\nhalf"

    def once(self, daemon):
        """All that comes of a GET on a connection of its own, which may end early."""
        with daemon.connect() as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return conn.rest()

    def test_a_break_within_an_answer_is_a_failure(self):
        """Its head came, and so did that of the next one: neither makes up for the end that is missing."""
        for what, stalls in ("504 GET / .*: upstream %s: Timeout during request", True), \
                ("502 GET / .*: upstream %s: receiving the body: ", False):
            with self.subTest(what), Upstream(says(self.HALF, then_waits=stalls)) as broken, Upstream(named("b")) as b, \
                    gateway(broken, b, keys="max_fails = 2\ntimeout = 200ms") as daemon:
                self.assertEqual([self.once(daemon)[-4:] for _ in range(3)], [b"half", b"\n\r\nb", b"half"])
                daemon.wait_log(what % broken.name)
                daemon.wait_log(f"upstream {broken.name}: left alone for 10000 ms after 2 failures")
                self.assertEqual(self.bodies(daemon, 4), b"bbbb")

    def test_a_kept_connection_that_ends_is_no_failure(self):
        """Its server closes it as a request comes, which cannot be sent again; that is well, and asked on another one."""
        def once(upstream, peer, file, head):
            upstream.body_of(file, head)
            first = peer not in seen
            seen.append(peer)
            if first:
                peer.sendall(answer(b"a"))
            return first

        seen = []
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        for size in 1, 100000:
            with self.subTest(size), Upstream(once) as a, Upstream(once) as b, \
                    gateway(a, b, keys=ANY_SIZE) as daemon:
                for status in 200, 200, 502, 502, 200, 200:
                    with daemon.connect() as conn:
                        conn.send(post % size + bytes(size))
                        self.assertEqual(conn.response().status, status)
                self.assertNotIn("left alone", daemon.log.text())

    def test_what_a_client_does_is_no_failure(self):
        """It goes within an answer, or breaks its own body off; or it takes so little that the upstream gives up."""
        def waits(upstream, peer, file, head):
            peer.sendall(self.HALF)
            file.read()

        def pours(upstream, peer, *_):
            peer.settimeout(1.5)
            peer.sendall(OK + b"Content-Length: 100000000\r\n\r\n" + bytes(100000000))

        put = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n14000\r\n" + bytes(81920) + b"\r\n"
        for name, script, text, end in (("goes", waits, GET.encode(), lambda conn: conn.close()),
                                        ("breaks off", waits, put, lambda conn: conn.send(b"no chunk")),
                                        ("does not read", pours, GET.encode(), lambda conn: None)):
            with self.subTest(name), Upstream(script) as a, Upstream(script) as b, \
                    gateway(a, b, keys=ANY_SIZE) as daemon, daemon.connect() as conn:
                conn.send(text)
                until(conn, b"\r\n\r\n")
                end(conn)
                harness.wait_until(lambda a=a, b=b: a.closed + b.closed, "the upstream is still with it")
                if name == "does not read":
                    conn.rest()
                    daemon.wait_log("receiving the body")
                self.assertNotIn("left alone", daemon.log.text())

    def test_when_all_are_down_all_are_tried(self):
        with Upstream(resets) as a, Upstream(resets) as b, gateway(a, b) as daemon:
            for _ in range(3):
                self.assertEqual(daemon.get("/").status, 502)
            self.assertEqual((len(a.requests), len(b.requests)), (3, 3))


WANTS = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: k\r\n\r\n"
AGREES = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"
          b"Sec-WebSocket-Accept: a\r\n\r\n")


def upgrades(upstream, peer, file, head):
    """Goes on with an echo of whatever comes."""
    peer.sendall(AGREES + b"first,")
    while True:
        data = file.read1(65536)
        if not data or data == b"quit":
            return
        peer.sendall(data)


class Upgrades(unittest.TestCase):
    @contextlib.contextmanager
    def upgraded(self, script=upgrades, keys="", path=None, **more):
        with Upstream(script, path) as upstream, \
                gateway(f"unix:{path}" if path else upstream, keys=keys, **more) as daemon, \
                daemon.connect() as conn:
            conn.send((WANTS % "websocket").encode())
            until(conn, b"Sec-WebSocket-Accept: a\r\n")
            until(conn, b"\r\n\r\n")
            until(conn, b"first,")
            yield upstream, daemon, conn

    def test_both_ways(self):
        with self.upgraded() as (upstream, daemon, conn):
            self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", upstream.requests[0])
            self.assertIn(b"\r\nSec-WebSocket-Key: k\r\n", upstream.requests[0])
            conn.send(b"one,")
            until(conn, b"one,")
            sent = os.urandom(8000000)
            sender = threading.Thread(target=conn.send, args=(sent,))
            sender.start()
            got = bytearray(conn.received)
            while len(got) < len(sent):
                got += conn.socket.recv(65536)
            sender.join()
            self.assertEqual(bytes(got), sent)
            self.assertNotIn("td_", daemon.log.text())  # no function of ours had a word to say

    def test_what_one_side_says_before_it_closes_arrives(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first," + bytes(500000))

        with self.upgraded(script) as (upstream, daemon, conn):
            size = len(conn.received)
            while data := conn.socket.recv(65536):
                size += len(data)
            self.assertEqual(size, 500000)

    def test_the_client_closes(self):
        with self.upgraded() as (upstream, daemon, conn):
            conn.socket.close()
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told")

    def test_silence_ends(self):
        with self.upgraded(keys="upgrade_timeout = 200ms") as (upstream, daemon, conn):
            self.assertEqual(conn.socket.recv(1), b"")
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told")

    def test_one_side_that_speaks_is_enough(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            for _ in range(12):
                time.sleep(0.05)
                peer.sendall(b".")

        with self.upgraded(script, keys="upgrade_timeout = 200ms") as (upstream, daemon, conn):
            until(conn, b"." * 12)

    def test_the_end_of_one_side_is_passed_and_the_other_goes_on(self):
        """The client has said all, and hears the answer."""
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            peer.sendall(b"%d," % len(file.read()) + bytes(500000) + b"last")

        folder = self.enterContext(tempfile.TemporaryDirectory())
        for path in (None, f"{folder}/upstream.sock"):
            with self.subTest(path), self.upgraded(script, path=path) as (upstream, daemon, conn):
                conn.send(bytes(700000))
                conn.socket.shutdown(socket.SHUT_WR)
                until(conn, b"700000,")
                until(conn, bytes(500000) + b"last")
                self.assertEqual(conn.socket.recv(1), b"")

    def test_the_same_of_the_upstream(self):
        heard = []

        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,that was all")
            peer.shutdown(socket.SHUT_WR)
            heard.append(file.read())

        with self.upgraded(script) as (upstream, daemon, conn):
            until(conn, b"that was all")
            self.assertEqual(conn.socket.recv(1), b"")
            conn.send(b"but not for me")
            conn.socket.close()
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told")
            self.assertEqual(heard, [b"but not for me"])

    def test_who_has_ended_and_gone(self):
        """It is noticed when the other one speaks, long before half_open_timeout."""
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            file.read()
            while not upstream.over.wait(0.01):
                peer.sendall(b"are you there?")

        with self.upgraded(script) as (upstream, daemon, conn):
            conn.socket.close()
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told")

    def test_what_waits_to_be_read_is_no_silence(self):
        size = 30_000_000  # more than fits into what lies between the two

        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            file.read()
            peer.sendall(bytes(size))

        with self.upgraded(script, keys="half_open_timeout = 200ms") as (upstream, daemon, conn):
            conn.socket.shutdown(socket.SHUT_WR)
            time.sleep(0.6)
            got = len(conn.received)
            while data := conn.socket.recv(1 << 20):
                got += len(data)
            self.assertEqual(got, size)

    def test_who_never_reads_what_the_other_says_ends_both(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            file.read()
            peer.sendall(bytes(30_000_000))

        with self.upgraded(script, keys="half_open_timeout = 100ms\nupgrade_timeout = 500ms") as (upstream, daemon, conn):
            conn.socket.shutdown(socket.SHUT_WR)
            harness.wait_until(lambda: upstream.closed == 1, "the upstream is not told")

    def test_silence_of_one_that_is_left_ends(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            file.read()
            for _ in range(12):
                time.sleep(0.05)
                peer.sendall(b".")
            upstream.over.wait(harness.DEADLINE)

        with self.upgraded(script, keys="half_open_timeout = 300ms") as (upstream, daemon, conn):
            conn.socket.shutdown(socket.SHUT_WR)
            until(conn, b"." * 12)
            self.assertEqual(conn.socket.recv(1), b"")

    def test_a_drain_ends_one_that_is_left(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            file.read()
            peer.sendall(b"heard,")
            upstream.over.wait(harness.DEADLINE)

        with self.upgraded(script, tornadod="workers = 1\ndrain_timeout = 500ms") as (upstream, daemon, conn):
            conn.socket.shutdown(socket.SHUT_WR)
            until(conn, b"heard,")
            daemon.reload()
            self.assertEqual(conn.socket.recv(1), b"")
            daemon.wait_log("the time to drain is over: 1 connections closed")

    def test_a_drain_leaves_it_its_time(self):
        with self.upgraded(tornadod="workers = 1\ndrain_timeout = 1s") as (upstream, daemon, conn):
            daemon.reload()
            conn.send(b"still,")
            until(conn, b"still,")
            self.assertEqual(conn.socket.recv(1), b"")
            daemon.wait_log("the time to drain is over: 1 connections closed")

    def test_what_is_not_passed(self):
        """What is not in upgrades, and what is no upgrade."""
        for text in (WANTS % "h2c", (WANTS % "websocket").replace("keep-alive, Upgrade", "x"),
                     (WANTS % "websocket").replace("1.1", "1.0")):
            with Upstream(echo) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
                self.assertNotIn(b"pgrade", request(conn, text).body)

    def test_an_upstream_that_does_not_want(self):
        with Upstream(named("no")) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
            for _ in range(2):
                self.assertEqual(request(conn, WANTS % "websocket").body, b"no")
            self.assertEqual(upstream.connections, 1)

    def test_an_upstream_that_goes_on_with_something_else(self):
        for unasked in (AGREES.replace(b"WebSocket", b"h2c"), AGREES.replace(b"Upgrade: WebSocket\r\n", b"")):
            with Upstream(says(unasked)) as upstream, gateway(upstream) as daemon, daemon.connect() as conn:
                self.assertEqual(request(conn, WANTS % "websocket").status, 502)


class Https(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.close)

    def test_a_certificate_is_asked_for(self):
        context = self.certificates.server("address", host="127.0.0.1")
        for keys, status in (("", 502), (f"tls_ca = {self.certificates.ca}", 200), ("tls_verify = off", 200)):
            with self.subTest(keys), SecureUpstream(named("secure"), context) as upstream, \
                    gateway("https://" + upstream.name, keys=keys) as daemon, daemon.connect() as conn:
                for _ in range(2):
                    response = request(conn, GET)
                    self.assertEqual(response.status, status)
                if status == 200:
                    self.assertEqual((response.body, upstream.connections), (b"secure", 1))

    def test_ours(self):
        context = self.certificates.server("asks", host="127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.certificates.ca)
        certificate, key = self.certificates.make("jack")
        keys = f"tls_ca = {self.certificates.ca}\ntls_certificate = {certificate}\ntls_key = {key}"
        with SecureUpstream(named("secure"), context) as upstream, \
                gateway("https://" + upstream.name, keys=keys) as daemon, daemon.connect() as conn:
            self.assertEqual(request(conn, GET).body, b"secure")
            self.assertEqual(upstream.handshakes[0][4]["commonName"], "jack")

    def test_waiting_for_both_sides_costs_nothing(self):
        """The client takes nothing of an answer that comes, the upstream nothing of the body."""
        def script(upstream, peer, file, head):
            peer.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
            threading.Thread(target=floods, args=(peer,), daemon=True).start()
            upstream.over.wait(harness.DEADLINE)

        def floods(peer):
            with contextlib.suppress(OSError):
                peer.sendall(bytes(100_000_000))

        context = self.certificates.server("floods", host="127.0.0.1")
        for scheme, upstream in (("", Upstream(script)), ("https://", SecureUpstream(script, context))):
            with self.subTest(scheme), upstream, \
                    gateway(scheme + upstream.name, keys="tls_verify = off\n" + ANY_SIZE) as daemon, \
                    daemon.connect(receive_buffer=4096) as conn:
                conn.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n")
                conn.socket.settimeout(0.5)
                with self.assertRaises(TimeoutError):
                    while True:
                        conn.socket.send(bytes(1_000_000))
                worker = daemon.workers()[0]
                before = harness.cpu_seconds(worker)
                time.sleep(0.5)
                self.assertLess(harness.cpu_seconds(worker) - before, 0.25)

    def test_an_upgrade(self):
        context = self.certificates.server("chat", host="127.0.0.1")
        with SecureUpstream(upgrades, context) as upstream, \
                gateway("https://" + upstream.name, keys="tls_verify = off") as daemon, daemon.connect() as conn:
            conn.send((WANTS % "websocket").encode())
            until(conn, b"first,")
            conn.send(b"one,")
            until(conn, b"one,")

    def test_an_end_in_tls(self):
        def script(upstream, peer, file, head):
            peer.sendall(AGREES + b"first,")
            said = file.read()
            peer.sendall(said.upper())
            peer.unwrap()

        context = self.certificates.server("ends", host="127.0.0.1")
        with SecureUpstream(script, context) as upstream, \
                gateway("https://" + upstream.name, keys="tls_verify = off") as daemon, daemon.connect() as conn:
            conn.send((WANTS % "websocket").encode())
            until(conn, b"first,")
            conn.send(b"that was all")
            conn.socket.shutdown(socket.SHUT_WR)
            until(conn, b"THAT WAS ALL")
            self.assertEqual(conn.socket.recv(1), b"")


class Settings(unittest.TestCase):
    def refused(self, keys):
        daemon = harness.Daemon(["gateway"], ini=f"[handler:gateway]\n{keys}\n")
        try:
            done = harness.run("-t", "-c", daemon.ini_path)
            self.assertNotEqual(done.returncode, 0)
            return done.stdout + done.stderr
        finally:
            daemon.close()

    def test_bad_ones(self):
        for keys, text in (("", "has no upstreams, which it needs"), ("upstreams = ,", "names none"),
                           ("upstreams = example.org", "'example.org' is none of HOST:PORT, https://HOST:PORT, unix:/PATH"),
                           ("upstreams = a:0", "none of"), ("upstreams = a:1/x", "none of"),
                           ("upstreams = https://example.org", "none of"), ("upstreams = https://:1", "none of"),
                           ("upstreams = a:1\nbalance = x", "neither round_robin nor least_busy"),
                           ("upstreams = a:1\nforwarded = x", "none of set, add, drop, pass"),
                           ("upstreams = a:1\nadd_prefix = x/", "no path that begins"),
                           ("upstreams = a:1\nhost = a b", "host = a b: is no name of a host"),
                           ("upstreams = a:1\nvia = a, b", "via = a, b: is no name of a host"),
                           ("upstreams = a:1\ntls_ca = /nowhere", "tls_ca = /nowhere: No such file"),
                           ("upstreams = a:1\ntls_certificate = /nowhere", "tls_certificate = /nowhere: No such"),
                           ("upstreams = a:1\ntls_key = /nowhere", "tls_key = /nowhere: No such file")):
            with self.subTest(keys):
                self.assertIn(text, self.refused(keys))

    def test_a_file_without_a_section_serves_nothing(self):
        with harness.Daemon(["gateway", "hello"]) as daemon:
            self.assertEqual(daemon.get("/hello").status, 200)
            self.assertEqual(daemon.get("/other").status, 404)


WSGI = """
import time

def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-From", environ["HTTP_X_FORWARDED_FOR"])] +
                   ([("Content-Length", str(len(body)))] if environ["QUERY_STRING"] == "length" else []))
    for i in range(0, len(body) or 1, 10000):
        yield body[i:i + 10000]
"""

TORNADO = """
import asyncio, sys, tornado.web, tornado.websocket

class Chat(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))

@tornado.web.stream_request_body
class Echo(tornado.web.RequestHandler):
    def prepare(self):
        self.size = 0
        self.request.connection.set_max_body_size(1 << 30)

    def data_received(self, chunk):
        self.size += len(chunk)

    async def get(self):
        for word in ("one ", "two ", "three"):
            self.write(word)
            await self.flush()
            await asyncio.sleep(0.01)

    def put(self):
        self.write(f"{self.size} {self.request.remote_ip} {self.request.protocol}")

async def main():
    app = tornado.web.Application([("/chat", Chat), ("/.*", Echo)])
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    tornado.httpserver.HTTPServer(app, xheaders=True).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class RealPeers(unittest.TestCase):
    def test_gunicorn(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, "app.sock")
            with open(os.path.join(folder, "app.py"), "w", encoding="ascii") as file:
                file.write(WSGI)
            with program("/usr/bin/gunicorn", "-b", f"unix:{path}", "--umask", "0", "--threads", "4", "--chdir", folder, "app"):
                harness.wait_until(lambda: os.path.exists(path), "gunicorn does not listen")
                with gateway(f"unix:{path}", keys=ANY_SIZE) as daemon, daemon.connect() as conn:
                    for query in ("", "?length"):
                        for size in (0, 5, 60000, 2000000):
                            body = os.urandom(size)
                            response = request(conn, f"POST /{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n", body)
                            self.assertEqual((response.status, response.header("X-From"), response.body), (200, "127.0.0.1", body))
                    chunks = b"ea60\r\n" + bytes(60000) + b"\r\n"
                    response = request(conn, "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", chunks * 3 + b"0\r\n\r\n")
                    self.assertEqual(response.body, bytes(180000))

    def test_tornado(self):
        with program("/usr/bin/python3", "-c", TORNADO) as process:
            port = int(process.stdout.readline())
            with gateway(f"127.0.0.1:{port}", keys=ANY_SIZE + "x_forwarded = add") as daemon, daemon.connect() as conn:
                for _ in range(3):
                    self.assertEqual(request(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").body, b"one two three")
                for size in (0, 5, 60000, 20000000):
                    self.assertEqual(request(conn, "PUT / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.1.2.3\r\n"
                                             f"X-Forwarded-Proto: https\r\nContent-Length: {size}\r\n\r\n", bytes(size)).body,
                                     f"{size} 127.0.0.1 https".encode())

    def test_websocket(self):
        client = """
import asyncio, os, sys, tornado.websocket

async def main():
    chat = await tornado.websocket.websocket_connect(sys.argv[1], compression_options={})
    for message in ("one", os.urandom(100000), "x" * 300000, "two"):
        await chat.write_message(message, binary=isinstance(message, bytes))
        assert await chat.read_message() == message
    chat.close(1000, "done")
    assert await chat.read_message() is None
    print(chat.close_code)

asyncio.run(main())
"""
        with program("/usr/bin/python3", "-c", TORNADO) as process:
            port = int(process.stdout.readline())
            with gateway(f"127.0.0.1:{port}") as daemon, \
                    program("/usr/bin/python3", "-c", client, f"ws://127.0.0.1:{daemon.port}/chat") as chat:
                self.assertEqual(chat.stdout.read().strip(), b"1000")


if __name__ == "__main__":
    unittest.main()
