"""Goal (row 12 of run.py): under a limit of memory of the system's, the budget that tornadod makes of it holds: clients
that hold bodies, do not read their answers, let coroutines wait or never end their heads, each kind by itself and
all at once, cost nobody else anything: no process is killed, a polite client is served, the log names the setting.
Short in `make test`; TD_FAULTS=long takes more clients of each kind.
"""

import contextlib
import json
import os
import resource
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness
from test_slow import Probe

MIB = 1 << 20
LIMIT = 100 * MIB
SHARE = LIMIT // 2 // 2 - 8 * MIB  # of each of two workers
LONG = os.environ.get("TD_FAULTS") == "long"
BODIES, LUMPS, STREAMS = (100, 100, 400) if LONG else (15, 15, 60)
HEADS, WAITING = (3000, 4000) if LONG else (1500, 3000)
BODY = 20 * MIB
V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
INI = "[application]\nmax_body_size = 32m\n"
USED_UP = rf"memory \({SHARE} bytes\) is used up"
FILLING = b"A: " + bytes(7990).replace(b"\0", b"b") + b"\r\n"


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


def numbers(path):
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        return {words[0]: int(words[1]) for words in map(str.split, file) if len(words) == 2}
    return {}


@unittest.skipIf(harness.SANITIZED, "the sanitizers take memory of their own")
class Memory(unittest.TestCase):
    def setUp(self):
        self.group = make_group()
        if self.group is None:
            self.skipTest("no cgroup with a limit of memory can be made here")
        self.addCleanup(self.remove_group)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        enter = ("sh", "-c", f'echo $$ > {self.group}/cgroup.procs && exec "$@"', "-")
        self.daemon = harness.Daemon(["faults", "conformance"], tornadod="workers = 2", ini=INI,
                                     wrapper=enter)
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def remove_group(self):
        """Processes that have ended are its members for a moment still."""
        def is_removed():
            with contextlib.suppress(OSError):
                os.rmdir(self.group)
            return not os.path.exists(self.group)
        harness.wait_until(is_removed, "somebody stays in the group")

    def killed(self):
        """How many the kernel has ended for want of memory."""
        return {**numbers(f"{self.group}/memory.events"), **numbers(f"{self.group}/memory.oom_control")}.get("oom_kill", 0)

    def anonymous(self):
        """Memory that is not the kernel's cache of files, MiB."""
        stat = numbers(f"{self.group}/memory.stat")
        return stat.get("total_rss", stat.get("anon", 0)) // MIB

    def workers(self):
        """As the master tells it, whom no request can keep from it."""
        return json.loads(self.daemon.command_line("status", "--json").stdout)["generations"][0]["workers"]

    @contextlib.contextmanager
    def beside(self, what):
        """The workers stay, and somebody polite is served."""
        pids = self.daemon.workers()
        with Probe(self.daemon) as probe:
            yield
            harness.wait_until(lambda: len(probe.took) > 30, "the probe is stuck")
            used = self.anonymous()
        self.assertEqual(probe.failed, [])
        self.assertEqual(self.daemon.workers(), pids)
        self.assertEqual(self.killed(), 0)
        workers = self.workers()
        self.assertEqual({worker["memory_limit_bytes"] for worker in workers}, {SHARE})
        peaks = [worker["memory_peak_bytes"] / MIB for worker in workers]
        refused = sum(worker["memory_refused"] for worker in workers)
        print(f"\nINFO {what} under {LIMIT // MIB} MB: nobody killed, {len(probe.took)} of {len(probe.took)} others "
              f"served, p99 {harness.percentile(probe.took, 99):.0f} ms, {used} MB in use; of {SHARE // MIB} MiB a "
              f"worker at most {', '.join(f'{peak:.1f}' for peak in peaks)}; {refused} times refused", flush=True)
        self.stack.close()
        self.given_back()
        self.assertEqual(self.daemon.stop(), 0)

    def given_back(self):
        """Once they have gone, so has what they held."""
        def is_little():
            return all(worker["memory_bytes"] < 2 * MIB for worker in self.workers())
        harness.wait_until(is_little, "memory is held for nobody")

    def clients(self, count, request):
        for _ in range(count):
            conn = self.stack.enter_context(self.daemon.connect())
            with contextlib.suppress(OSError):
                conn.send(request)

    def hold_body(self):
        """A client that has sent all of a body but its last byte; the status when it was refused."""
        conn = self.stack.enter_context(self.daemon.connect())
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n".encode()
        try:
            conn.send(head)
            for _ in range(0, BODY - MIB, MIB):
                conn.send(bytes(MIB))
            conn.send(bytes(MIB - 1))
        except OSError:
            return conn.response().status
        return None

    def hold_small_bodies(self):
        """Each of them small enough for memory, all together not."""
        self.clients(BODIES * 5, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(999999))

    def hold_lumps(self):
        self.clients(LUMPS, b"GET /lump HTTP/1.1\r\nHost: x\r\n\r\n")

    def hold_streams(self):
        self.clients(STREAMS, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")

    def hold_heads(self):
        self.clients(HEADS, b"GET / HTTP/1.1\r\nHost: x\r\n" + FILLING * 3)

    def test_large_bodies(self):
        with self.beside(f"{BODIES} bodies of {BODY // MIB} MB"):
            refused = [self.hold_body() for _ in range(BODIES)]
            self.assertEqual(set(refused) - {None, 413, 503}, set())

    def test_bodies_in_memory(self):
        with self.beside(f"{BODIES * 5} bodies of 1 MB"):
            self.hold_small_bodies()
            self.daemon.wait_log(USED_UP + ": request bodies go to files")

    def test_responses_that_nobody_reads(self):
        with self.beside(f"{LUMPS} responses of 10 MB that nobody reads"):
            self.hold_lumps()
            self.daemon.wait_log(r": 503 .*" + USED_UP)

    def test_streams_that_nobody_reads(self):
        with self.beside(f"{STREAMS} streams that nobody reads"):
            self.hold_streams()

    def test_heads_that_never_end(self):
        with self.beside(f"{HEADS} heads of 24 KB that never end"):
            self.hold_heads()
            self.daemon.wait_log(USED_UP + ": the oldest incomplete heads are closed")

    def test_everything_at_once(self):
        with self.beside("all of that at once"):
            for hold in (self.hold_small_bodies, self.hold_lumps, self.hold_streams, self.hold_heads):
                hold()
            self.daemon.wait_log(USED_UP)

    def test_coroutines_that_wait(self):
        """Those beyond the budget are told so at once, and the others get their answer."""
        conns = [self.stack.enter_context(self.daemon.connect()) for _ in range(WAITING)]
        for conn in conns:
            conn.send(b"GET /slow?ms=3000 HTTP/1.1\r\nHost: x\r\n\r\n")
        said = [conn.response().status for conn in conns]
        self.assertEqual(set(said), {200, 503})
        self.daemon.wait_log(r": 503 .*" + USED_UP)
        self.assertEqual(self.daemon.get("/pid").status, 200)
        self.assertEqual(self.killed(), 0)
        print(f"\nINFO {WAITING} coroutines that wait under {LIMIT // MIB} MB: {said.count(200)} at once, "
              f"{said.count(503)} times 503, {self.anonymous()} MB in use", flush=True)
        self.stack.close()
        self.assertEqual(self.daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
