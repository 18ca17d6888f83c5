"""Goal: td_fetch and streams speak TLS with whoever proves to be the one that was asked for, and with
nobody else; what goes wrong is named; the proxy is told what it has to know and the origin is not.
"""

import json
import os
import socket
import ssl
import tempfile
import threading
import unittest
import warnings
from urllib.parse import urlencode

import harness
import openmetrics
from certificates import Certificates
from test_fetch import (BAD, CLOSED, EINVAL, OK, TIMED_OUT, Fetch, Upstream, answer, chunks_of, early, echoing_chunks,
                        echoing, says)

ETLS, CERTIFICATE, TRUNCATED, PROXY, CONFIG = -4109, -4110, -4111, -4112, -4105


class SecureUpstream(Upstream):
    """The same with TLS, and what its handshakes were like."""

    def __init__(self, script, context):
        self.context = context
        self.handshakes = []  # (version, reused, server name, ALPN, subject of the client)
        self.failures = []
        self.server_name = None
        context.sni_callback = self._named
        super().__init__(script)
        self.url = self.url.replace("http:", "https:")

    def _named(self, _socket, name, _context):
        self.server_name = name

    def _talk(self, peer):
        peer.settimeout(harness.DEADLINE)
        try:
            secure = self.context.wrap_socket(peer, server_side=True)
        except OSError as e:
            self.failures.append(str(e))
            peer.close()
            return
        certificate = secure.getpeercert()
        self.handshakes.append((secure.version(), secure.session_reused, self.server_name,
                                secure.selected_alpn_protocol(),
                                dict(p[0] for p in certificate["subject"]) if certificate else None))
        super()._talk(secure)


def ends_politely(bytes_):
    """Says this, and that nothing follows."""
    def script(upstream, peer, file, head):
        peer.sendall(bytes_)
        try:
            peer.unwrap()
        except OSError:
            pass  # the client may have gone already
    return script


class Https(Fetch):
    @classmethod
    def setUpClass(cls):
        cls.certificates = Certificates()
        cls.addClassCleanup(cls.certificates.close)
        cls.address = cls.certificates.server("address", host="127.0.0.1")
        super().setUpClass()

    def fetch(self, url, **arguments):
        return super().fetch(url, **{"ca": self.certificates.ca, **arguments})

    def upstream(self, script=None, context=None):
        return SecureUpstream(script or says(answer(), stays=True), context or self.address)

    def failure_of(self, context, **arguments):
        with self.upstream(context=context) as upstream:
            result = self.fetch(upstream.url, **arguments)
        self.assertIsInstance(result, str, result)
        self.assertEqual(upstream.requests, [])
        return result


class Handshakes(Https):
    def test_an_answer_and_what_the_server_was_told(self):
        context = self.certificates.server("alpn", host="127.0.0.1")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with self.upstream(context=context) as upstream:
            self.assertEqual(self.fetch(upstream.url)[2], b"hello")
            self.assertEqual(upstream.handshakes, [("TLSv1.3", False, None, "http/1.1", None)])
            self.assertIn(b"GET / HTTP/1.1\r\nHost: %s\r\n" % upstream.name.encode(), upstream.requests[0])

    def test_a_name_is_asked_for_and_proven(self):
        context = self.certificates.server("named")
        with self.upstream(context=context) as upstream:
            url = upstream.url.replace("127.0.0.1", "localhost")
            self.assertEqual(self.fetch(url)[2], b"hello")
            self.assertEqual(upstream.handshakes[0][2], "localhost")

    def test_bad_certificates_are_told_by_their_reason(self):
        make = self.certificates.server
        cases = (
            (make("expired", host="127.0.0.1", expired=True), "certificate has expired"),
            (make("other", host="127.0.0.2"), "IP address mismatch"),
            (make("name", host="example.org"), "IP address mismatch"),
            (make("alone", host="127.0.0.1", self_signed=True), "self-signed certificate"),
        )
        for context, reason in cases:
            with self.subTest(reason):
                self.assertEqual(self.failure_of(context),
                                 f"{CERTIFICATE}: TLS handshake: the certificate of the other side is not to "
                                 f"be trusted: {reason}")
                with self.upstream(context=context) as upstream:
                    self.assertEqual(self.fetch(upstream.url, insecure=1)[2], b"hello")

    def test_a_wrong_name(self):
        with self.upstream(context=self.certificates.server("elsewhere", host="example.org")) as upstream:
            result = self.fetch(upstream.url.replace("127.0.0.1", "localhost"))
        self.assertTrue(result.startswith(f"{CERTIFICATE}: "), result)
        self.assertTrue(result.endswith(": hostname mismatch"), result)

    def test_names(self):
        """RFC 9525: a wildcard is a whole label, the leftmost, and a subject is no name."""
        for i, (host, asked, is_proven) in enumerate((
                ("*.b.localhost", "a.b.localhost", True), ("*.b.localhost", "a.a.b.localhost", False),
                ("*.b.localhost", "b.localhost", False), ("a*.b.localhost", "ab.b.localhost", False),
                ("LOCALHOST", "LocalHost", True), ("localhost", "localhost.", True), (None, "localhost", False))):
            context = self.certificates.server("localhost" if host is None else f"names{i}", host=host)
            with self.subTest(f"{asked}, {host}"), self.upstream(context=context) as upstream:
                result = self.fetch(upstream.url.replace("127.0.0.1", asked))
                self.assertEqual(isinstance(result, str), not is_proven, result)
                self.assertTrue(is_proven or result.endswith(": hostname mismatch"), result)

    def test_an_unknown_authority(self):
        self.assertTrue(self.failure_of(self.address, ca="").endswith(
            "unable to get local issuer certificate"))

    def test_the_setting_stands_for_the_system(self):
        with harness.Daemon(["fetch"], tornadod=f"workers = 1\nca_certs = {self.certificates.ca}") as daemon, \
                self.upstream() as upstream:
            self.assertIn(b"hello", daemon.get(f"/fetch?url={upstream.url}").body)

    def test_the_status_counts_handshakes(self):
        def counted():
            state = json.loads(daemon.get("/status.json").body)
            return tuple(state["tls_handshakes"][name] for name in ("full", "resumed", "failed"))

        with harness.Daemon(["fetch", "status"], tornadod="workers = 2") as daemon, self.upstream() as upstream:
            url = "/fetch?" + urlencode({"url": upstream.url, "ca": self.certificates.ca, "alone": 1})
            self.assertEqual(counted(), (0, 0, 0))
            self.assertNotIn("\ntls ", daemon.command_line("status").stdout)
            while sum(counted()) < 5:  # a worker has its own sessions
                self.assertIn(b"hello", daemon.get(url).body)
            full, resumed, failed = counted()
            self.assertEqual((full + resumed, failed), (5, 0))
            self.assertEqual(resumed, sum(reused for _, reused, *_ in upstream.handshakes))
            daemon.get("/fetch?" + urlencode({"url": upstream.url, "alone": 1}))  # its CA is not known
            with socket.create_server(("127.0.0.1", 0)) as silent:
                daemon.get(f"/fetch?url=https://127.0.0.1:{silent.getsockname()[1]}/&ms=50")
            daemon.reload()  # what the dead have counted stays
            self.assertEqual(counted(), (full, resumed, 2))
            families = openmetrics.parse(daemon.get("/metrics").body.decode())
            handshakes = families["tornadod_tls_handshakes"]
            self.assertEqual([handshakes.value("_total", result=r) for r in ("full", "resumed", "failed")],
                             [full, resumed, 2])
            took = families["tornadod_tls_handshake_duration_seconds"]
            self.assertEqual(took.value("_count"), 5)
            self.assertTrue(0 < took.value("_sum") < 60, took.value("_sum"))
            self.assertIn(b"<dt>TLS handshakes<dd>5</div>", daemon.get("/status.html").body)
            for command in ("status",), ("top", "--once"):
                self.assertRegex(daemon.command_line(*command).stdout,
                                 rf"\ntls +5 handshakes with other servers, {resumed} of them resumed; 2 failed; \d")

    def test_a_handshake_is_counted_once_however_the_connection_ends(self):
        """Many servers close without saying so: OpenSSL is then where a handshake is, and not done."""
        with harness.Daemon(["fetch", "status"]) as daemon, self.upstream(says(answer())) as upstream:
            url = "/fetch?" + urlencode({"url": upstream.url, "ca": self.certificates.ca})
            for _ in range(3):
                self.assertIn(b"hello", daemon.get(url).body)
            harness.wait_until(lambda: upstream.closed == 3, "the end of the connections")
            counts = json.loads(daemon.get("/status.json").body)["tls_handshakes"]
            self.assertEqual((counts["full"] + counts["resumed"], counts["failed"]), (3, 0))

    def test_no_session_of_an_unchecked_server_is_resumed_by_one_that_checks(self):
        context = self.certificates.server("unchecked", host="127.0.0.1", self_signed=True)
        with self.upstream(context=context) as upstream:
            for _ in range(2):
                self.assertEqual(self.fetch(upstream.url, insecure=1, alone=1)[2], b"hello")
            self.assertIsInstance(self.fetch(upstream.url), str)
            self.assertEqual([reused for _, reused, *_ in upstream.handshakes], [False, True])

    def test_sessions_are_resumed(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.certificates.server("resumed", host="127.0.0.1")
            context.maximum_version = version
            with self.subTest(version), self.upstream(context=context) as upstream:
                for _ in range(3):
                    self.assertEqual(self.fetch(upstream.url, alone=1)[2], b"hello")
                self.assertEqual([reused for _, reused, *_ in upstream.handshakes], [False, True, True])

    def test_old_versions_are_refused(self):
        context = self.certificates.server("old", host="127.0.0.1")
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertTrue(self.failure_of(context).startswith(f"{ETLS}: TLS handshake: "))

    def test_client_certificates(self):
        context = self.certificates.server("asks", host="127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.certificates.ca)
        certificate, key = self.certificates.make("jack")
        with self.upstream(context=context) as upstream:
            self.assertEqual(self.fetch(upstream.url, cert=certificate, key=key)[2], b"hello")
            self.assertEqual(upstream.handshakes[0][4], {"commonName": "jack"})
            # Who has none, or another one, does not get that connection: it would be served as jack.
            result = self.fetch(upstream.url)
            self.assertTrue(result.startswith(f"{ETLS}: "), result)
            self.assertIn("certificate required", result)
            self.assertEqual(len(upstream.requests), 1)

    def test_files_that_cannot_be_used(self):
        certificate, key = self.certificates.make("files")
        other = self.certificates.make("files2")[1]
        nonsense = self.certificates.path("nonsense")
        with open(nonsense, "w", encoding="utf-8") as file:
            file.write("nonsense")
        locked = self.certificates.path("locked.key")
        self.certificates._run("ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", locked)
        os.chmod(locked, 0o644)
        for arguments, text in (({"ca": "/nowhere/ca.pem"}, "ca_certs /nowhere/ca.pem: No such file"),
                                ({"ca": nonsense}, f"ca_certs {nonsense}: "),
                                ({"cert": "/nowhere.pem"}, "certfile /nowhere.pem: No such file"),
                                ({"cert": certificate, "key": other}, f"keyfile {other}: key values mismatch"),
                                ({"cert": certificate, "key": locked}, f"keyfile {locked}: ")):
            with self.subTest(text), self.upstream() as upstream:
                result = self.fetch(upstream.url, **arguments)
                self.assertTrue(result.startswith(f"{CONFIG}: TLS handshake: "), result)
                self.assertIn(text, result)

    def test_a_renewed_certificate_is_read_again(self):
        context = self.certificates.server("renews", host="127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.certificates.ca)
        mine, my_key = self.certificates.path("mine.pem"), self.certificates.path("mine.key")
        with self.upstream(context=context) as upstream:
            for name in ("first", "second"):
                certificate, key = self.certificates.make(name)
                for old, new in ((certificate, mine), (key, my_key)):
                    os.rename(old, new)
                self.assertEqual(self.fetch(upstream.url, cert=mine, key=my_key, alone=1)[2], b"hello")
            self.assertEqual([who["commonName"] for *_, who in upstream.handshakes], ["first", "second"])

    def test_http_of_a_server_that_has_tls(self):
        with self.upstream() as upstream:
            self.assertIsInstance(self.fetch(upstream.url.replace("https:", "http:")), str)


class Raw:
    """A server that sees the bytes of a handshake and does as `script(peer)` says."""

    def __init__(self, script):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.script = script
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        peer = self.listener.accept()[0]
        peer.settimeout(harness.DEADLINE)
        with peer:
            self.script(self, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.listener.close()


class Misbehaviour(Https):
    def test_a_stalled_handshake(self):
        def stalls(raw, peer):
            peer.recv(1)
            raw.over.wait(harness.DEADLINE)

        for arguments in ({"ms": 200}, {"connect_ms": 200}):
            with self.subTest(arguments), Raw(stalls) as raw:
                self.assertEqual(self.fetch(raw.url, **arguments),
                                 f"{TIMED_OUT}: Timeout during TLS handshake")

    def test_a_broken_handshake(self):
        def closes(raw, peer):
            peer.recv(65536)

        def babbles(raw, peer):
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with Raw(closes) as raw:
            self.assertEqual(self.fetch(raw.url), f"{CLOSED}: TLS handshake: the other side has gone")
        with Raw(babbles) as raw:
            self.assertEqual(self.fetch(raw.url),
                             f"{ETLS}: TLS handshake: the TLS connection has failed: wrong version number")

    def test_a_body_without_length_needs_an_announced_end(self):
        with self.upstream(ends_politely(OK + b"\r\nall of it")) as upstream:
            self.assertEqual(self.fetch(upstream.url)[2], b"all of it")
        with self.upstream(says(OK + b"\r\npart of it")) as upstream:
            self.assertEqual(self.fetch(upstream.url),
                             f"{TRUNCATED}: receiving the body: the other side has gone in the middle of TLS")
        with self.upstream(says(OK + b"Content-Length: 10\r\n\r\nall of it.")) as upstream:
            self.assertEqual(self.fetch(upstream.url)[2], b"all of it.")

    def test_cut_off(self):
        for sent, doing in ((b"", "waiting for the response"), (OK, "waiting for the response"),
                            (OK + b"Content-Length: 9\r\n\r\nab", "receiving the body"),
                            (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "receiving the body")):
            with self.subTest(sent):
                with self.upstream(says(sent)) as upstream:
                    self.assertIn(f"{TRUNCATED}: {doing}", self.fetch(upstream.url))
                with self.upstream(ends_politely(sent)) as upstream:
                    self.assertIn(f"{CLOSED}: {doing}", self.fetch(upstream.url))

    def test_damaged_records(self):
        """A man in the middle who turns a bit around."""
        with self.upstream() as upstream:
            port = int(upstream.url.rstrip("/").rsplit(":", 1)[1])

            def damages(raw, peer):
                with socket.create_connection(("127.0.0.1", port)) as server:
                    server.settimeout(harness.DEADLINE)
                    server.sendall(peer.recv(65536))
                    flight = bytearray(server.recv(65536))
                    flight[-1] ^= 1
                    peer.sendall(flight)
                    peer.recv(65536)

            with Raw(damages) as raw:
                self.assertTrue(self.fetch(raw.url).startswith(f"{ETLS}: TLS handshake: "))

    def test_nothing_is_left_behind(self):
        before = self.descriptors()
        self.test_a_stalled_handshake()
        self.test_cut_off()
        harness.wait_until(lambda: self.descriptors() <= before,  # what was kept idle may have gone
                           "descriptors are left")


class Bodies(Https):
    def test_many_megabytes_both_ways(self):
        def script(upstream, peer, file, head):
            body = upstream.body_of(file, head)
            peer.sendall(answer(b"%d" % len(body) if not head.startswith(b"GET") else bytes(8 << 20)))
            return True

        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.certificates.server("large", host="127.0.0.1")
            context.maximum_version = version
            with self.subTest(version), self.upstream(script, context) as upstream:
                self.assertEqual(self.fetch(upstream.url, method="PUT", zeros=8 << 20)[2], b"8388608")
                self.assertEqual(self.fetch(upstream.url)[2], bytes(8 << 20))
                self.assertEqual(len(upstream.handshakes), 1)

    def test_records_of_a_byte(self):
        def script(upstream, peer, file, head):
            for byte in answer(b"slowly"):
                peer.sendall(bytes([byte]))
        with self.upstream(script) as upstream:
            self.assertEqual(self.fetch(upstream.url)[2], b"slowly")

    def test_connections_are_kept_apart(self):
        with self.upstream() as upstream:
            for _ in range(5):
                self.fetch(upstream.url)
            self.assertEqual(upstream.connections, 1)
            self.fetch(upstream.url, insecure=1)
            self.assertEqual(upstream.connections, 2)
            self.fetch(upstream.url)
            self.assertEqual(upstream.connections, 2)

    def test_a_kept_connection_that_was_closed_is_noticed(self):
        for script in (says(answer()), ends_politely(answer())):
            with self.upstream(script) as upstream:
                for _ in range(3):
                    self.assertEqual(self.fetch(upstream.url)[2], b"hello")
                self.assertEqual(len(upstream.requests), 3)

    def test_futures_at_once(self):
        with self.upstream() as upstream:
            self.assertEqual(self.ask("several", url=upstream.url, ca=self.certificates.ca, count=20),
                             b"200 0 6 hello\n" * 20)

    def test_redirects_between_schemes(self):
        with self.upstream() as secure:
            to_secure = b"HTTP/1.1 302 x\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % secure.url.encode()
            with Upstream(says(to_secure)) as plain:
                self.assertEqual(self.fetch(plain.url, secrets=1)[0], f"200 OK 1 {secure.url}")
            self.assertNotIn(b"secret", secure.requests[0])


class PieceByPiece(Https):
    """td_fetch_open and its steps, over TLS."""

    def stream(self, url, **arguments):
        return self.ask("stream", url=url, ca=self.certificates.ca, **arguments).decode()

    def order(self, upstream, kind, steps):
        return self.ask("order", url=upstream.url, ca=self.certificates.ca, kind=kind, steps=steps).decode()

    def test_bodies_both_ways(self):
        def script(upstream, peer, file, head):
            body = chunks_of(file) if b"chunked" in head else upstream.body_of(file, head)
            peer.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(len(body) // 50000):
                peer.sendall(b"c350\r\n" + bytes(50000) + b"\r\n")
            peer.sendall(b"0\r\n\r\n")
            return True

        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.certificates.server("streaming", host="127.0.0.1")
            context.maximum_version = version
            with self.subTest(version), self.upstream(script, context) as upstream:
                for length in (0, 5000000):
                    self.assertEqual(self.stream(upstream.url, method="PUT", streamed=5000000, length=length),
                                     "0 200 0 5000000 OK")
                self.assertEqual(len(upstream.handshakes), 1)

    def test_both_ways_at_once(self):
        with self.upstream(echoing_chunks) as upstream:
            for _ in range(3):
                self.assertEqual(self.ask("duplex", url=upstream.url, ca=self.certificates.ca), b"ping" * 5)
            self.assertEqual(len(upstream.handshakes), 1)

    def test_an_early_answer_is_not_lost(self):
        with self.upstream(early(413, False)) as upstream:
            self.assertEqual(self.stream(upstream.url, method="PUT", streamed=50000000), "1 413 0 6 Early")

    def test_an_end_has_to_be_announced(self):
        sent = OK + b"\r\n" + bytes(100000)
        with self.upstream(ends_politely(sent)) as upstream:
            self.assertEqual(self.stream(upstream.url), "0 200 0 100000 OK")
        with self.upstream(says(sent)) as upstream:
            self.assertEqual(self.stream(upstream.url), f"{TRUNCATED}: receiving the body: the other side has "
                             "gone in the middle of TLS 5")
        with self.upstream(says(b"")) as upstream:
            self.assertRegex(self.stream(upstream.url), rf"\A{TRUNCATED}: waiting for the response: .* 4\Z")

    def test_phases_have_their_time_and_their_name(self):
        def stalls(raw, peer):
            peer.recv(1)
            raw.over.wait(harness.DEADLINE)
        with Raw(stalls) as raw:
            self.assertEqual(self.stream(raw.url, ms=200), f"{TIMED_OUT}: Timeout during TLS handshake 8")
        with self.upstream(says(OK, then_waits=True)) as upstream:
            self.assertEqual(self.stream(upstream.url, ms=200), f"{TIMED_OUT}: Timeout during request 4")
        with self.upstream(says(OK + b"\r\nx", then_waits=True)) as upstream:
            self.assertEqual(self.stream(upstream.url, ms=200), f"{TIMED_OUT}: Timeout during request 5")
        with self.upstream(lambda upstream, *_: upstream.over.wait(harness.DEADLINE)) as upstream:
            self.assertEqual(self.stream(upstream.url, ms=200, method="PUT", streamed=50000000),
                             f"{TIMED_OUT}: Timeout during request 3")

    def test_closed_in_each_phase_nothing_is_left(self):
        before = self.descriptors()
        cases = (("get", "c", "1 "), ("get", "hc", "200 1 "), ("get", "hrc", "200 5 1 "), ("get", "hRc", "200 0 1 "),
                 ("chunks", "c", "1 "), ("chunks", "wc", "0 1 "), ("chunks", "wec", "0 0 1 "),
                 ("chunks", "whc", "0 200 1 "), ("chunks", "wehRc", "0 0 200 0 1 "), ("length", "wc", "0 1 "),
                 ("length", "wwhrc", "0 0 200 5 1 "), ("upgrade", "c", "1 "), ("upgrade", "hc", "101 1 "),
                 ("upgrade", "hdc", "101 1 1 "), ("upgrade", "hdppxc", "101 1 1 1 0 1 "))
        with self.upstream(echoing) as upstream:
            for kind, steps, result in cases:
                with self.subTest(f"{kind} {steps}"):
                    self.assertEqual(self.order(upstream, kind, steps), result)
            harness.wait_until(lambda: self.descriptors() <= before + 1, "descriptors are left")
            harness.wait_until(lambda: upstream.closed >= upstream.connections - 1, "a server was not told")
            self.assertEqual(upstream.failures, [])


class Proxy:
    """A proxy that may tunnel or refuse, and remembers what it was told."""

    def __init__(self, refusal=None, behind_head=b""):
        self.refusal, self.behind_head = refusal, behind_head
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        peer.settimeout(harness.DEADLINE)
        with peer:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                more = peer.recv(1)
                if not more:
                    return
                head += more
            self.heads.append(head)
            if self.refusal is not None:
                peer.sendall(self.refusal)
                return
            host, port = head.split(b" ")[1].decode().rsplit(":", 1)
            with self._connect(host, int(port)) as server:
                peer.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n" + self.behind_head)
                back = threading.Thread(target=self._relay, args=(server, peer), daemon=True)
                back.start()
                self._relay(peer, server)
                back.join(harness.DEADLINE)

    def _connect(self, host, port):
        return socket.create_connection((host, port))

    @staticmethod
    def _relay(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of both has gone

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Proxies(Https):
    def through(self, proxy, url, **arguments):
        return self.fetch(url, proxy_host="127.0.0.1", proxy_port=proxy.port, **arguments)

    def test_http_is_asked_for_by_the_whole_url(self):
        with Upstream(says(answer(), stays=True)) as proxy:
            port = int(proxy.name.split(":")[1])
            for number, url in enumerate(("http://one.example/a?b", "http://two.example:8080/c")):
                self.assertEqual(self.fetch(url, proxy_host="127.0.0.1", proxy_port=port, proxy_user="jack",
                                            proxy_password="p@ss", secrets=1)[2], b"hello")
                self.assertTrue(proxy.requests[number].startswith(b"GET %s HTTP/1.1\r\n" % url.encode()))
                self.assertIn(b"Proxy-Authorization: Basic amFjazpwQHNz\r\n", proxy.requests[number])
            self.assertEqual(proxy.connections, 1)  # both origins are behind the same one

    def test_https_goes_through_a_tunnel(self):
        with self.upstream() as upstream, Proxy() as proxy:
            for _ in range(2):
                self.assertEqual(self.through(proxy, upstream.url, proxy_user="jack")[2], b"hello")
            self.assertEqual(len(proxy.heads), 1)
            self.assertEqual(proxy.heads[0].decode(),
                             f"CONNECT {upstream.name} HTTP/1.1\r\nHost: {upstream.name}\r\n"
                             "Proxy-Authorization: Basic amFjazo=\r\n\r\n")
            self.assertNotIn(b"Proxy-", b"".join(upstream.requests))
            self.fetch(upstream.url)  # without a proxy it is another connection
            self.assertEqual(upstream.connections, 2)

    def test_a_proxy_that_refuses_is_told(self):
        cases = ((b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                  f"{PROXY}: proxy: 407 Proxy Authentication Required"),
                 (b"HTTP/1.1 503 No\r\n\r\n<html>", f"{PROXY}: proxy: 503 No"),
                 (b"SSH-2.0-x\r\n\r\n", f"{BAD}: proxy: "),
                 (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", f"{BAD}: proxy: "),
                 (b"", f"{CLOSED}: proxy: the other side has gone"))
        for said, text in cases:
            with self.subTest(said), self.upstream() as upstream, Proxy(said) as proxy:
                result = self.through(proxy, upstream.url)
                self.assertTrue(result.startswith(text), result)
                self.assertEqual(upstream.connections, 0)

    def test_a_silent_proxy(self):
        with Upstream(says(b"", then_waits=True)) as proxy:
            port = int(proxy.name.split(":")[1])
            self.assertEqual(self.fetch("https://example.org/", proxy_host="127.0.0.1", proxy_port=port, ms=200),
                             f"{TIMED_OUT}: Timeout while connecting through the proxy")

    def test_an_endless_answer_of_a_proxy(self):
        with Proxy(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000) as proxy:
            self.assertIn(": proxy: ", self.through(proxy, "https://example.org/"))

    def test_bytes_put_in_front_of_the_handshake(self):
        with self.upstream() as upstream, Proxy(behind_head=b"HTTP/1.1 200 OK\r\n\r\nforged") as proxy:
            result = self.through(proxy, upstream.url)
        self.assertIsInstance(result, str, result)
        self.assertIn(": TLS handshake: ", result)

    def test_the_certificate_is_that_of_the_origin(self):
        context = self.certificates.server("elsewhere", host="example.org")
        with self.upstream(context=context) as upstream, Proxy() as proxy:
            self.assertTrue(self.through(proxy, upstream.url).startswith(f"{CERTIFICATE}: "))

    def test_misuse(self):
        for arguments in ({"proxy_host": "127.0.0.1"}, {"proxy_host": "x", "proxy_port": 1, "unix": "y"},
                          {"key": "x"}):
            with self.subTest(arguments):
                self.assertTrue(self.fetch("https://127.0.0.1:1/", **arguments).startswith(f"{EINVAL}: "))

    def test_credentials_for_a_proxy_are_not_for_the_origin(self):
        with Upstream(says(answer())) as upstream:
            self.fetch(upstream.url, proxy_user="jack")
            self.assertNotIn(b"Proxy-", upstream.requests[0])


class TunnelTo(Proxy):
    """A proxy to which every name leads to the same port."""

    def __init__(self, name):
        self.to = int(name.split(":")[1])
        super().__init__()

    def _connect(self, host, port):
        return super()._connect("127.0.0.1", self.to)


class ProxyOfTheSettings(Https):
    """client_proxy and its kin."""

    @classmethod
    def setUpClass(cls):
        cls.relay = Upstream(says(answer(), stays=True)).__enter__()
        cls.addClassCleanup(cls.relay.__exit__)
        with tempfile.NamedTemporaryFile("w", delete=False) as secret:
            secret.write("jack:p@ss\n")
        cls.addClassCleanup(os.unlink, secret.name)
        cls.TORNADOD = (f"workers = 1\nclient_proxy = {cls.relay.name}\n"
                        "client_no_proxy = direct.test, 10.0.0.0/8, odd.test:81\n"
                        f"client_proxy_credentials_file = {secret.name}\n"
                        "resolver_override = one.direct.test=127.0.0.1, odd.test=127.0.0.1, even.test=127.0.0.1")
        super().setUpClass()

    def told(self, url, **arguments):
        """What the proxy was told of that request; None: nothing."""
        before = len(self.relay.requests)
        self.fetch(url, **arguments)
        return self.relay.requests[before].decode() if len(self.relay.requests) > before else None

    def test_it_is_asked_with_our_credentials(self):
        head = self.told("http://example.test:8080/a?b", secrets=1)
        self.assertTrue(head.startswith("GET http://example.test:8080/a?b HTTP/1.1\r\n"))
        self.assertIn("\r\nProxy-Authorization: Basic amFjazpwQHNz\r\n", head)
        self.assertIn("GET http://10.one.test/ ", self.told("http://10.one.test/"))

    def test_https_wants_a_tunnel(self):
        context = self.certificates.server("secure", host="secure.test")
        with self.upstream(context=context) as upstream, TunnelTo(upstream.name) as proxy, \
                harness.Daemon(["fetch"], tornadod=f"workers = 1\nclient_proxy = 127.0.0.1:{proxy.port}") as daemon:
            query = urlencode({"url": "https://secure.test/", "ca": self.certificates.ca})
            self.assertTrue(daemon.get(f"/fetch?{query}").body.endswith(b"\n\nhello"))
            self.assertEqual(proxy.heads, [b"CONNECT secure.test:443 HTTP/1.1\r\nHost: secure.test:443\r\n\r\n"])
            self.assertIn(b"\r\nHost: secure.test\r\n", upstream.requests[0])
            self.assertEqual(daemon.stop(), 0)

    def test_not_for_all(self):
        with Upstream(says(answer())) as upstream:
            port = upstream.name.split(":")[1]
            for url in (upstream.url, f"http://localhost:{port}/", f"http://one.direct.test:{port}/"):
                with self.subTest(url):
                    self.assertIsNone(self.told(url))
            self.assertEqual(len(upstream.requests), 3)
            self.assertIsNotNone(self.told(f"http://odd.test:{port}/"))  # of another port
        self.assertIsNone(self.told("http://10.0.0.1/", connect_ms=50))

    def test_a_request_may_say_otherwise(self):
        with Upstream(says(answer(), stays=True)) as other, Upstream(says(answer())) as upstream:
            port = other.name.split(":")[1]
            self.assertIsNone(self.told("http://example.test/", proxy_host="127.0.0.1", proxy_port=port))
            self.assertTrue(other.requests[0].startswith(b"GET http://example.test/ "))
            self.assertNotIn(b"Proxy-Authorization", other.requests[0])  # those are not its own
            url = upstream.url.replace("127.0.0.1", "even.test")
            self.assertIsNotNone(self.told(url))
            self.assertIsNone(self.told(url, no_proxy=1))
            self.assertEqual(len(upstream.requests), 1)
            path = f"{self.daemon.folder}/direct.sock"
            with Upstream(says(answer()), path=path) as local:
                self.assertIsNone(self.told("http://example.test/", unix=path))
                self.assertEqual(len(local.requests), 1)

    def test_redirects_are_looked_at_one_by_one(self):
        with Upstream(says(b"HTTP/1.1 302 x\r\nLocation: http://example.test/there\r\n"
                           b"Content-Length: 0\r\n\r\n")) as upstream:
            self.assertTrue(self.told(upstream.url).startswith("GET http://example.test/there "))
            self.assertNotIn(b"Proxy-", upstream.requests[0])


class ProxySettings(unittest.TestCase):
    def test_what_is_wrong_is_told_with_its_line(self):
        for line, text in (("client_proxy = http://a:b@c:1", "is not HOST:PORT"),
                           ("client_proxy = a", "client_proxy: 'a' is not HOST:PORT"),
                           ("client_proxy = a:1\nclient_no_proxy = 10.0.0.1/8", "client_no_proxy: '10.0.0.1/8'"),
                           ("client_proxy_credentials_file = /dev/null", "there is no client_proxy"),
                           ("client_proxy = a:1\nclient_proxy_credentials_file = /nowhere", "/nowhere: No such file")):
            with self.subTest(line):
                daemon = harness.Daemon([], tornadod=line)
                self.addCleanup(daemon.close)
                done = harness.run("-t", "-c", daemon.ini_path)
                self.assertEqual(done.returncode, 78)
                self.assertRegex(done.stderr, rf":\d+: .*{text}")


if __name__ == "__main__":
    unittest.main()
