"""Goal: a connection to another server that is kept for the next request costs next to nothing, whatever it
has carried, is not used when its server is about to close it, and is counted for who runs the daemon.
"""

import contextlib
import threading
import time
import unittest

import harness
import openmetrics
from test_fetch import Upstream, answer, says
from test_gateway import gateway

GET = b"GET /shop HTTP/1.1\r\nHost: x\r\n\r\n"


def at_once(count, body):
    """Answers so many connections, when all of them have asked."""
    everybody = threading.Barrier(count)

    def script(upstream, peer, *_):
        with contextlib.suppress(threading.BrokenBarrierError):
            everybody.wait(harness.DEADLINE)
        peer.sendall(answer(body))
        return True
    return script


def ask_at_once(daemon, count):
    conns = [daemon.connect() for _ in range(count)]
    for conn in conns:
        conn.send(GET)
    for conn in conns:
        assert conn.response().status == 200
        conn.close()


class Memory(unittest.TestCase):
    COUNT = 60

    @unittest.skipIf(harness.SANITIZED, "a sanitizer keeps what is freed")
    def test_what_is_kept_has_no_buffers(self):
        with Upstream(at_once(self.COUNT, bytes(1 << 20))) as upstream, gateway(upstream) as daemon:
            worker = daemon.workers()[0]
            before = harness.resident_kb(worker)
            ask_at_once(daemon, self.COUNT)
            self.assertGreater(harness.resident_kb(worker) - before, self.COUNT * 64)
            harness.wait_until(lambda: harness.resident_kb(worker) - before < self.COUNT * 16,
                               "the buffers of kept connections stay")
            self.assertEqual(upstream.connections - upstream.closed, self.COUNT)


class Counts(unittest.TestCase):
    def told(self, daemon, upstream):
        families = openmetrics.parse(daemon.get("/metrics").body.decode())
        return tuple(families["gateway_connections" + what].value("", handler="gateway", upstream=upstream.name)
                     for what in ("", "_kept"))

    def test_what_is_open_and_what_is_kept(self):
        with Upstream(at_once(3, b"x")) as upstream, \
                harness.Daemon(["gateway", "status"], tornadod="workers = 1\nclient_idle_origin = 2", ini=(
                    f"[handler:gateway]\nmount = /shop\nupstreams = {upstream.name}\n")) as daemon:
            def wait_for(*numbers):
                harness.wait_until(lambda: self.told(daemon, upstream) == numbers,
                                   f"{self.told(daemon, upstream)}, not {numbers}")

            wait_for(0, 0)
            conns = [daemon.connect() for _ in range(3)]
            for conn in conns[:2]:
                conn.send(GET)
            wait_for(2, 0)
            conns[2].send(GET)
            for conn in conns:
                self.assertEqual(conn.response().status, 200)
            wait_for(2, 2)
            self.assertRegex(daemon.command_line("status").stdout,
                             rf"\n +2  gateway_connections_kept of gateway, upstream {upstream.name}\n")
            picture = daemon.command_line("top", "--once").stdout
            self.assertIn("\nrequests/s     requests   failures   in use     kept     down  upstream  handler\n", picture)
            self.assertRegex(picture, rf"\n +[\d.]+ +3 +0 +0 +2 +0  {upstream.name}  gateway\n")
            for conn in conns[:2]:
                conn.send(GET)
            wait_for(2, 0)
            for conn in conns:
                conn.close()
            wait_for(0, 0)


class Ages(unittest.TestCase):
    def connections(self, upstream, tornadod=""):
        """How many a second request takes that comes 0.6 s behind the first one."""
        with upstream, gateway(upstream, tornadod="workers = 1\n" + tornadod) as daemon:
            for pause in 0.6, 0:
                self.assertEqual(daemon.get("/").status, 200)
                time.sleep(pause)
            return upstream.connections

    def test_what_the_server_closes_soon_is_not_used(self):
        """Its end would meet a request on the way, and one that is not idempotent is not sent again."""
        for lines, count in (b"Keep-Alive: timeout=1\r\n", 2), (b"Keep-Alive: timeout=600\r\n", 1), (b"", 1):
            with self.subTest(lines):
                self.assertEqual(self.connections(Upstream(says(answer(headers=lines), stays=True))), count)

    def test_none_is_used_for_ever(self):
        for tornadod, count in ("client_lifetime = 500ms", 2), ("client_lifetime = 0", 1), ("", 1):
            with self.subTest(tornadod):
                self.assertEqual(self.connections(Upstream(says(answer(), stays=True)), tornadod), count)


if __name__ == "__main__":
    unittest.main()
