"""Goal: a connection to another server that is kept for the next request costs next to nothing, whatever it
has carried, and who runs the daemon sees how many there are.
"""

import contextlib
import threading
import unittest

import harness
import openmetrics
from test_fetch import Upstream, answer
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


if __name__ == "__main__":
    unittest.main()
