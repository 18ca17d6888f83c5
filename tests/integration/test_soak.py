"""Goal: a worker that has asked a thousand servers that misbehave, in every phase and many at once, is as
it was before: each request has ended in its time with a sentence, and nothing of it is left.
"""

import gzip
import os
import socket
import threading
import time
import unittest
from urllib.parse import urlencode

import harness
from certificates import Certificates
from test_fetch import OK, Fetch, Upstream, answer, for_ever, resets, says
from test_https import Proxy, Raw, SecureUpstream, ends_politely

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ROUNDS = 3 if harness.SANITIZED else 12


class SilentNames:
    """A name server that takes questions and says nothing."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def close(self):
        self.socket.close()


class FullBacklog:
    """A port that takes no more connections: the kernel drops what knocks."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.fillers = []
        self.url = "http://127.0.0.1:%d/" % self.listener.getsockname()[1]
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.listener.getsockname())
            self.fillers.append(filler)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (*self.fillers, self.listener):
            each.close()


def stalls_in_handshake(raw, peer):
    peer.recv(65536)
    raw.over.wait(harness.DEADLINE)


class ManyRaw(Raw):
    def _serve(self):
        self.listener.settimeout(harness.DEADLINE)
        while not self.over.is_set():
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._one, args=(peer,), daemon=True).start()

    def _one(self, peer):
        peer.settimeout(harness.DEADLINE)
        with peer:
            try:
                self.script(self, peer)
            except OSError:
                pass  # it was the client who ended it

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Soak(Fetch):
    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.close)
        cls.secure = cls.certificates.server(host="127.0.0.1")
        cls.names = SilentNames()
        cls.addClassCleanup(cls.names.close)
        cls.TORNADOD = ("workers = 1\nmax_clients = 20\nclient_idle_timeout = 50ms\n"
                        f"resolver_servers = {cls.names.address}\nresolver_timeout = 200ms\n"
                        f"resolver_try_timeout = 50ms\nca_certs = {cls.certificates.ca}")
        super().setUpClass()

    def upstreams(self):
        """(name, server, arguments of the request, what its sentence has in it)"""
        stalls = {"ms": 150}
        bomb = gzip.compress(bytes(64 << 20))
        plain = (
            ("silent", says(b"", then_waits=True), stalls, "Timeout during request"),
            ("half a head", says(OK, then_waits=True), stalls, "Timeout during request"),
            ("half a body", says(OK + b"Content-Length: 9\r\n\r\nab", then_waits=True), stalls, "Timeout"),
            ("half a chunk", says(CHUNKED + b"5\r\nab", then_waits=True), stalls, "Timeout"),
            ("does not read", lambda upstream, *_: upstream.over.wait(harness.DEADLINE),
             {"ms": 150, "method": "PUT", "zeros": 8 << 20}, "Timeout during request"),
            ("closes", says(b""), {}, "has gone"),
            ("closes in the body", says(OK + b"Content-Length: 9\r\n\r\nab"), {}, "has gone"),
            ("closes in a chunk", says(CHUNKED + b"5\r\nab"), {}, "has gone"),
            ("resets", resets, {}, ""),
            ("more than it said", says(answer(b"ab") + b"cd"), {}, "200"),
            ("endless head", for_ever(OK, b"A: b\r\n" * 100), {}, "too many lines"),
            ("endless body", for_ever(OK + b"\r\n", b"x" * 65536), {"max_body": 1 << 20}, "larger than"),
            ("bad chunks", says(CHUNKED + b"xyz\r\n"), {}, "response: "),
            ("bomb", says(answer(bomb, OK + b"Content-Encoding: gzip\r\n")), {"max_body": 1 << 20}, "larger"),
            ("loop", says(b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", stays=True), {}, "302"),
            ("good", says(answer(), stays=True), {}, "200"),
        )
        for name, script, arguments, text in plain:
            yield name, Upstream(script), arguments, text
            if name in ("silent", "half a body", "closes", "bad chunks", "good"):
                yield f"{name}, TLS", SecureUpstream(script, self.secure), arguments, text if name != "closes" else ""
        yield "polite end", SecureUpstream(ends_politely(OK + b"\r\nab"), self.secure), {}, "200"
        yield "handshake", ManyRaw(stalls_in_handshake), stalls, "Timeout during TLS handshake"
        yield "no TLS", ManyRaw(lambda raw, peer: peer.sendall(b"220 hello\r\n")), {}, "TLS handshake: "
        yield "full backlog", FullBacklog(), {"connect_ms": 150}, "Timeout while connecting"

    def others(self):
        """The same without a server of its own."""
        yield "no name server", "http://nobody.test/", {}, "Timeout while connecting"
        yield "no such port", "http://127.0.0.1:1/", {}, "Connection refused"

    def client(self, cases, failures, number):
        """Asks for each, in an order of its own, on one connection; now and then leaves in the middle."""
        cases = cases[number % len(cases):] + cases[:number % len(cases)]
        with self.daemon.connect() as conn:
            for name, url, arguments, text in cases:
                target = f"/fetch?{urlencode({'url': url, **arguments})}"
                conn.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                body = conn.response().body.decode(errors="replace")
                if text not in body[:500]:
                    failures.append((name, body[:500]))
        for _, url, arguments, _ in cases[::3]:
            with self.daemon.connect() as conn:
                conn.send(f"GET /fetch?{urlencode({'url': url, **arguments})} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def wait_until_it_is_as_before(self, before):
        deadline = time.monotonic() + harness.DEADLINE
        while self.descriptors() > before and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertLessEqual(self.descriptors(), before)

    def test_nothing_is_left(self):
        self.fetch("http://nobody.test/")  # what is made for the first one stays
        before = self.descriptors()
        servers = list(self.upstreams())
        cases = [(name, server.url, arguments, text) for name, server, arguments, text in servers]
        cases += list(self.others())
        proxy = Proxy(b"HTTP/1.1 407 No\r\n\r\n")
        cases.append(("proxy", "https://example.org/",
                      {"proxy_host": "127.0.0.1", "proxy_port": proxy.port}, "proxy: 407 No"))
        failures = []
        threads = [threading.Thread(target=self.client, args=(cases, failures, number * 7), daemon=True)
                   for number in range(ROUNDS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * harness.DEADLINE)
        self.assertFalse(any(thread.is_alive() for thread in threads))
        for _, server, _, _ in servers:
            server.__exit__(None, None, None)
        proxy.__exit__()
        self.assertEqual(failures, [])
        self.wait_until_it_is_as_before(before)
        # The rest is said at the end: daemon_stops looks for what was left behind.


class Leftovers(unittest.TestCase):
    def test_what_a_handler_forgets_is_told_at_the_end(self):
        with Upstream(says(answer())) as upstream:
            daemon = harness.Daemon(["fetch"])
            daemon.start()
            try:
                self.assertEqual(daemon.get(f"/leak?port={upstream.name.split(':')[1]}").body, b"0 0")
            finally:
                self.assertEqual(daemon.stop(), 0)
                text = daemon.log.text()
                daemon.close()
        self.assertIn("left behind at the end: 1 futures", text)
        self.assertIn("left behind at the end: 1 streams", text)
        self.assertNotIn("coroutines", text)

    def test_nobody_leaks_who_waits_at_the_end(self):
        """The drain ends with requests in every phase: they are cancelled, and all is given back."""
        silent = says(b"", then_waits=True)
        with Upstream(silent) as plain, ManyRaw(stalls_in_handshake) as secure:
            daemon = harness.Daemon(["fetch"], tornadod="workers = 1\ndrain_timeout = 200ms\ndrain_grace = 0")
            daemon.start()
            try:
                conns = [daemon.connect() for _ in range(20)]
                for number, conn in enumerate(conns):
                    url = secure.url if number % 2 else plain.url
                    conn.send(f"GET /fetch?url={url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                deadline = time.monotonic() + harness.DEADLINE
                while len(plain.requests) < 10 and time.monotonic() < deadline:
                    time.sleep(0.01)
            finally:
                daemon.stop()
                text = daemon.log.text()
                for conn in conns:
                    conn.close()
                daemon.close()
        self.assertNotIn("left behind", text)
        self.assertIsNone(harness.COMPLAINTS.search(text), text)


class Names(unittest.TestCase):
    def test_overrides_of_the_ini(self):
        with Upstream(says(answer())) as upstream:
            port = upstream.name.split(":")[1]
            settings = f"workers = 1\nresolver_override = db.internal=127.0.0.1, api:80=localhost:{port}"
            with harness.Daemon(["fetch"], tornadod=settings) as daemon:
                for url in (f"http://db.internal:{port}/", "http://api/", f"http://x.localhost:{port}/"):
                    self.assertIn(b"hello", daemon.get(f"/fetch?url={url}").body)

    def test_a_bad_override_is_told_at_the_start(self):
        daemon = harness.Daemon(["fetch"], tornadod="workers = 1\nresolver_override = a b c")
        try:
            with self.assertRaises(AssertionError) as caught:
                daemon.start()
            self.assertIn('resolver_override: "a b c" is not NAME[:PORT]=HOST[:PORT]', str(caught.exception))
        finally:
            daemon.close()


if __name__ == "__main__":
    unittest.main()
