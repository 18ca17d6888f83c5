"""Goal (row 20 of run.py): malloc fails once, at this call or that, in the master or in a child of it, while the daemon
starts, serves and reloads.  A worker without memory ends with a line of log and another one takes its place;
a reload is refused or goes through; the master stays.
Short in `make test`; TD_FAULTS=long tries many more places.
"""

import base64
import collections
import hashlib
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import harness

LONG = os.environ.get("TD_FAULTS") == "long"
AT_START = (*range(1, 40, 3), *range(50, 1000, 50)) if LONG else (5, 60)
AT_WORK = (*range(1, 40), 20, 40, 80, 160) if LONG else (1, 3, 20)
AT_CHECK = 400 if LONG else 40  # calls of the checker, the last ones: those are of the handlers
CHECKED = """[handler:cors]
origins = https://a.example, https://b.example
[handler:maintenance]
allow = 10.0.0.0/8, ::1
page = {folder}/users
[handler:basic_auth]
users = {folder}/users
[handler:bearer]
tokens = {folder}/tokens
[handler:gateway]
upstreams = 127.0.0.1:1, https://b.example:443
mount = /away
[handler:status]
allow = 127.0.0.1
"""
USER = "jack:$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6\n"
REQUESTS = ("/pid", "/lump", "/static/tornadod.ini", "/big")
TORNADOD = "workers = 2\nquarantine_crashes = 0\n"
MASTER, CHILDREN = 0, 1


@unittest.skipIf(harness.SANITIZED, "the sanitizers have a malloc of their own")
@unittest.skipUnless(shutil.which("cc"), "there is no compiler")
class NoMemory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tornadod-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.shim = f"{cls.folder}/no_memory.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", cls.shim, f"{HERE}/no_memory.c"],
                       check=True)

    def setUp(self):
        before = harness.DEADLINE
        self.addCleanup(setattr, harness, "DEADLINE", before)
        harness.DEADLINE = 20
        with open(f"{self.folder}/numbers", "w+b") as file:
            file.write(bytes(12))
            file.flush()
            self.numbers = mmap.mmap(file.fileno(), 12)
        self.addCleanup(self.numbers.close)

    def arm(self, who, after):
        numbers = [0, 0, 0]
        numbers[who] = after
        self.numbers[:] = struct.pack("3i", *numbers)

    def has_failed(self):
        failed = struct.unpack("3i", self.numbers[:])[2]
        self.arm(MASTER, 0)
        return failed > 0

    def daemon(self, *handlers, ini="[application]\nstatic_path = .\n"):
        daemon = harness.Daemon(["faults", *handlers], tornadod=TORNADOD, ini=ini,
                                env={"LD_PRELOAD": self.shim, "TD_NO_MEMORY": f"{self.folder}/numbers"})
        self.addCleanup(daemon.close)
        return daemon

    def served(self, daemon):
        """How many of these were; the one that a worker dies of is lost."""
        count = 0
        for target in REQUESTS:
            try:
                count += daemon.get(target).status == 200
            except (OSError, AssertionError):
                pass
        return count

    def probe(self, daemon, master):
        harness.wait_until(lambda: self.served(daemon) == len(REQUESTS), "it does not serve any more")
        self.assertEqual(daemon.master, master)
        self.assertIsNone(daemon.process.poll())

    def test_at_the_start(self):
        outcomes = collections.Counter()
        for who in (MASTER, CHILDREN):
            for after in AT_START:
                with self.subTest(who=who, after=after):
                    daemon = self.daemon()
                    self.arm(who, after)
                    try:
                        daemon.start()
                        outcomes["survived"] += 1
                    except AssertionError:
                        self.assertIn(daemon.process.returncode, (-signal.SIGABRT, 1, 71, 78), daemon.log.text())
                        self.assertNotEqual(daemon.log.text(), "")
                        outcomes["refused"] += 1
                        continue
                    self.arm(MASTER, 0)
                    self.probe(daemon, daemon.master)
                    self.assertEqual(daemon.stop(), 0, daemon.log.text())
        print("\nINFO malloc at the start:", *(f"{count} {what}" for what, count in outcomes.items()))

    def test_at_the_check(self):
        """What a handler makes of its settings is an error of theirs, with its name, or goes through."""
        with open(f"{self.folder}/checked.ini", "w", encoding="ascii") as file:
            file.write(f"[tornadod]\nhandlers = {harness.BUILD}/handlers\n[listen:a]\naddress = 127.0.0.1:0\n" +
                       CHECKED.format(folder=self.folder))
        self.write_credentials()
        calls = 1000000
        self.arm(CHILDREN, calls)
        self.check()
        calls -= struct.unpack("3i", self.numbers[:])[CHILDREN]
        blamed = set()
        for after in range(max(calls - AT_CHECK, 1), calls + 1):
            with self.subTest(after=after):
                self.arm(CHILDREN, after)
                done = self.check()
                self.assertIn(done.returncode, (0, 78), done.stderr)
                self.assertNotIn("SIGSEGV", done.stderr)
                blamed.update(re.findall(r"handler (\w+) .*: Cannot allocate memory", done.stderr))
        self.assertEqual(blamed, {"cors", "maintenance", "basic_auth", "bearer", "gateway", "status"})

    def write_credentials(self):
        for name, content in (("users", USER), ("tokens", f"jack:{hashlib.sha256(b'jack').hexdigest()}\n")):
            with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
                file.write(content)

    def check(self):
        return harness.run("-t", "-c", f"{self.folder}/checked.ini",
                           env={"LD_PRELOAD": self.shim, "TD_NO_MEMORY": f"{self.folder}/numbers"})

    def test_at_credentials(self):
        """What could not be looked at is neither called wrong nor let in."""
        basic = {name: f"Basic {base64.b64encode(name.encode()).decode()}" for name in ("jack:secret", "jack:Secret")}
        self.write_credentials()
        self.check_credentials("basic_auth", "users", basic["jack:secret"], basic["jack:Secret"])
        self.check_credentials("bearer", "tokens", "Bearer jack", "Bearer jill")

    def check_credentials(self, name, option, right, wrong):
        ini = (f"[handler:faults]\nmiddleware = {name}\n[handler:{name}]\n{option} = {self.folder}/{option}\n" +
               "cache_time = 1ms\n" * (name == "basic_auth"))
        daemon = self.daemon(name, ini=ini).start()
        statuses = collections.Counter()
        for after in range(1, 20):
            for given, good in ((right, (200, 503)), (wrong, (401, 503))):
                with self.subTest(name, after=after, given=given):
                    harness.wait_until(lambda: self.status(daemon, right) == 200, "nobody is let in any more")
                    self.arm(CHILDREN, after)
                    status = self.status(daemon, given)
                    self.has_failed()
                    statuses[status] += 1
                    self.assertIn(status, (*good, None), daemon.log.text())
        self.assertGreater(statuses[503], 0, statuses)
        self.assertEqual(daemon.stop(), 0, daemon.log.text())

    @staticmethod
    def status(daemon, authorization):
        """None: the worker was lost."""
        try:
            return daemon.get("/pid", headers=f"Authorization: {authorization}\r\n").status
        except (OSError, AssertionError):
            return None

    def test_at_requests(self):
        daemon, lost = self.daemon().start(), 0
        master = daemon.master
        for after in AT_WORK:
            with self.subTest(after=after):
                self.arm(CHILDREN, after)
                lost += len(REQUESTS) - self.served(daemon)
                self.has_failed()
                self.probe(daemon, master)
        self.assertEqual(daemon.stop(), 0, daemon.log.text())
        print(f"\nINFO malloc at requests: {len(AT_WORK)} failures, {lost} of {len(AT_WORK) * len(REQUESTS)} requests lost")

    def test_at_reloads(self):
        daemon, outcomes = self.daemon().start(), collections.Counter()
        master = daemon.master
        for who in (MASTER, CHILDREN):
            for after in AT_WORK:
                with self.subTest(who=who, after=after):
                    lines = len(daemon.log.lines)
                    self.arm(who, after)
                    os.kill(master, signal.SIGHUP)
                    said = daemon.wait_log(r"generation \d+ serves|reload failed", lines)
                    self.has_failed()
                    outcomes["refused" if "failed" in said else "went through"] += 1
                    self.probe(daemon, master)
        self.assertEqual(daemon.stop(), 0, daemon.log.text())
        print("\nINFO malloc at reloads:", *(f"{count} {what}" for what, count in outcomes.items()))


if __name__ == "__main__":
    unittest.main()
