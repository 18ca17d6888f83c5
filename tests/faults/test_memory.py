"""Goal (FAULTS 12): under a limit of memory of the system's, clients that hold bodies, and clients that do not
read theirs, cost nobody else anything: no worker is killed, a polite client is served.
Short in `make test`; TD_FAULTS=long takes a hundred clients of each kind.
"""

import contextlib
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness
from test_slow import Probe

MIB = 1 << 20
LIMIT = 100 * MIB
CLIENTS = 100 if os.environ.get("TD_FAULTS") == "long" else 15
BODY = 20 * MIB
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
SETTINGS = "workers = 2\nbody_memory = 16m\nresponse_memory = 24m\n"
INI = "[application]\nmax_body_size = 32m\n"


def make_group():
    """A cgroup with that limit, or None where the machine does not let us."""
    for folder, limit in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        if not os.path.exists(f"{folder}/cgroup.procs"):
            continue
        group = None
        try:
            group = tempfile.mkdtemp(prefix="tornadod-test-", dir=folder)
            with open(f"{group}/{limit}", "w", encoding="ascii") as file:
                file.write(str(LIMIT))
            return group
        except OSError:
            if group is not None:
                os.rmdir(group)
    return None


def peak(group):
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(OSError), open(f"{group}/{name}", encoding="ascii") as file:
            return int(file.read()) // MIB
    return 0


@unittest.skipIf(harness.SANITIZED, "the sanitizers take memory of their own")
class Memory(unittest.TestCase):
    def setUp(self):
        self.group = make_group()
        if self.group is None:
            self.skipTest("no cgroup with a limit of memory can be made here")
        self.addCleanup(os.rmdir, self.group)
        enter = ("sh", "-c", f'echo $$ > {self.group}/cgroup.procs && exec "$@"', "-")
        self.daemon = harness.Daemon(["faults", "conformance"], tornadod=SETTINGS, ini=INI, wrapper=enter)
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    @contextlib.contextmanager
    def beside(self, what):
        """The workers stay, and somebody polite is served."""
        workers = self.daemon.workers()
        with Probe(self.daemon) as probe:
            yield
            harness.wait_until(lambda: len(probe.took) > 30, "the probe is stuck")
        self.assertEqual(probe.failed, [])
        self.assertEqual(self.daemon.workers(), workers)
        print(f"\nINFO {CLIENTS} {what} under {LIMIT // MIB} MB: no worker killed, {len(probe.took)} of "
              f"{len(probe.took)} others served, p99 {harness.percentile(probe.took, 99):.0f} ms, peak {peak(self.group)} MB")
        self.assertEqual(self.daemon.stop(), 0)

    def hold(self, stack, size):
        """A client that has sent all of a body but its last byte; the status when it was refused."""
        conn = stack.enter_context(self.daemon.connect())
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        try:
            conn.send(head)
            for _ in range(0, size - MIB, MIB):
                conn.send(bytes(MIB))
            conn.send(bytes(size - 1 - (size - 1) // MIB * MIB))
        except OSError:
            return conn.response().status
        return None

    def test_large_bodies(self):
        with self.beside(f"bodies of {BODY // MIB} MB"), contextlib.ExitStack() as stack:
            refused = [self.hold(stack, BODY) for _ in range(CLIENTS)]
            self.assertEqual(set(refused) - {None, 413, 503}, set())

    def test_responses_that_nobody_reads(self):
        with self.beside("responses of 10 MB that nobody reads"), contextlib.ExitStack() as stack:
            for _ in range(CLIENTS):
                conn = stack.enter_context(self.daemon.connect())
                conn.send(b"GET /lump HTTP/1.1\r\nHost: x\r\n\r\n")
            self.daemon.wait_log(r"response_memory \(\d+ bytes\) is used up")


if __name__ == "__main__":
    unittest.main()
