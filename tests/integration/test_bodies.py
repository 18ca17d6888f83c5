"""Goal: bodies go where they came from unharmed, and a download or upload of any size takes little memory."""

import os
import re
import socket
import tempfile
import time
import unittest

import harness

CONNECTIONS = 50
MEMORY_MAX = 256 * 1024  # bytes of a connection
LARGE = 1 << 30


def private_bytes(pid):
    """Memory that the process has written to and shares with nobody."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return 1024 * int(re.search(r"Private_Dirty: +(\d+)", file.read()).group(1))


class Mirrors(unittest.TestCase):
    SIZES = (0, 1, 2048, 2049, 65536, 300_000, 1_000_000)

    def test_bodies_come_back(self):
        with harness.Daemon(handlers=["bodies"]) as daemon, daemon.connect() as conn:
            for size in self.SIZES:
                body = os.urandom(size)
                self.assertEqual(conn.request("POST", "/mirror", body=body).body, body, size)

    def test_more_may_be_written_behind_them(self):
        with harness.Daemon(handlers=["bodies"]) as daemon, daemon.connect() as conn:
            for size in self.SIZES[1:]:
                body = os.urandom(size)
                self.assertEqual(conn.request("POST", "/mirror-twice", body=body).body,
                                 body + b"|" + body[1:], size)

    def test_what_takes_their_place_does_not_overwrite_them(self):
        with harness.Daemon(handlers=["bodies"]) as daemon, daemon.connect() as conn:
            for size in self.SIZES[1:]:
                response = conn.request("POST", "/mirror-and-fail", body=b"x" * size)
                self.assertEqual(response.body, b"cleared 1", size)


@unittest.skipIf(harness.SANITIZED, "memory is another one there")
class Memory(unittest.TestCase):
    """What many slow clients cost, each in the middle of its body."""

    def check(self, send, ini=""):
        tornadod = "workers = 1\ndrain_timeout = 100ms"  # a handler that sleeps does not see them leave
        with harness.Daemon(handlers=["bodies"], ini=ini, tornadod=tornadod) as daemon:
            daemon.get("/nothing")
            (worker,) = daemon.workers()
            before = private_bytes(worker)
            conns = [socket.create_connection(("127.0.0.1", daemon.port), harness.DEADLINE)
                     for _ in range(CONNECTIONS)]
            for conn in conns:
                send(conn)
            self.wait_until_all_stands_still(worker)
            each = (private_bytes(worker) - before) // CONNECTIONS
            for conn in conns:
                conn.close()
        print(f"INFO {self.id().split('.')[-1]}: {each // 1024} KiB each")
        self.assertLess(each, MEMORY_MAX)

    def wait_until_all_stands_still(self, worker):
        """The worker does nothing but look who has left, so the kernel's buffers are full."""
        def ran():
            with open(f"/proc/{worker}/schedstat", encoding="ascii") as file:
                return int(file.read().split()[0])

        deadline = time.monotonic() + harness.DEADLINE
        before = 0
        while (now := ran()) > before + 2_000_000:  # ns
            self.assertLess(time.monotonic(), deadline)
            before = now
            time.sleep(0.2)

    def test_slow_readers_of_a_stream(self):
        self.check(lambda conn: conn.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n"))

    def test_slow_readers_of_a_file(self):
        with tempfile.TemporaryDirectory(prefix="tornadod-bodies-") as root:
            os.chmod(root, 0o755)
            with open(os.path.join(root, "large"), "wb") as file:
                file.truncate(LARGE)
            self.check(lambda conn: conn.sendall(b"GET /static/large HTTP/1.1\r\nHost: x\r\n\r\n"),
                       ini=f"[application]\nstatic_path = {root}\n")

    def send_some(self, conn, target, size):
        """The head, and as much of the body as the kernel takes, `size` bytes at most."""
        conn.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (target, LARGE))
        conn.settimeout(0.05)
        try:
            while size > 0:
                size -= conn.send(bytes(min(size, 1 << 18)))
        except TimeoutError:
            pass

    def test_slow_uploads(self):
        self.check(lambda conn: self.send_some(conn, b"/take", 1 << 20))

    def test_uploads_to_a_slow_handler(self):
        self.check(lambda conn: self.send_some(conn, b"/take-slowly", 1 << 23))


if __name__ == "__main__":
    unittest.main()
