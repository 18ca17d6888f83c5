"""Goal: a connection to another server that is kept for the next request costs next to nothing, whatever it
has carried.
"""

import threading
import unittest

import harness
from test_fetch import Upstream, answer
from test_gateway import gateway

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def at_once(count, body):
    """Answers so many connections, when all of them have asked."""
    everybody = threading.Barrier(count)

    def script(upstream, peer, *_):
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


if __name__ == "__main__":
    unittest.main()
