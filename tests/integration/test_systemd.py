"""Goal: systemd is told what happens, and the unit that is installed is one that it accepts and that
exposes little.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness

EXPOSURE_MAX = 1.5


class Notifications(unittest.TestCase):
    def test_from_the_start_to_the_end(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            daemon.notifications.wait("STATUS=2 workers serve, generation 1", daemon.process)
            os.kill(daemon.master, signal.SIGHUP)
            message = daemon.notifications.wait("RELOADING=1", daemon.process)
            self.assertRegex(message, r"\nMONOTONIC_USEC=\d+\n")
            daemon.notifications.wait("READY=1", daemon.process)
            daemon.notifications.wait("STATUS=2 workers serve, generation 2", daemon.process)
            os.kill(daemon.master, signal.SIGTERM)
            daemon.notifications.wait("STOPPING=1", daemon.process)

    def test_a_start_that_fails_says_why(self):
        daemon = harness.Daemon(["abi_too_new"])
        self.addCleanup(daemon.close)
        with self.assertRaisesRegex(AssertionError, "exited 78"):
            daemon.start()
        self.assertRegex("\n".join(daemon.notifications.seen), "STATUS=abi_too_new.so: was built")

    def test_the_watchdog_is_fed(self):
        with harness.Daemon(["faults"], env={"WATCHDOG_USEC": "100000"}) as daemon:
            for _ in range(3):
                daemon.notifications.wait("WATCHDOG=1", daemon.process)


@unittest.skipIf(shutil.which("systemd-analyze") is None, "systemd-analyze is not installed")
class Unit(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-unit-")
        self.addCleanup(shutil.rmtree, self.folder)
        with open(f"{harness.ROOT}/systemd/tornadod.service", encoding="utf-8") as file:
            text = file.read()
        # A name that no unit of this machine has, and programs that are there.
        text = text.replace("@SBINDIR@/tornadod", "/bin/true").replace("@SYSCONFDIR@", "/etc/tornadod")
        text = text.replace("@LIBDIR@", "/usr/lib")
        text = "\n".join(line for line in text.split("\n") if not line.startswith("Documentation"))
        self.assertNotIn("@SBIN", text)
        self.path = f"{self.folder}/tornadod-under-test.service"
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def analyze(self, *args):
        done = subprocess.run(["systemd-analyze", *args, self.path], capture_output=True, text=True,
                              check=False, timeout=harness.DEADLINE)
        return done.stdout + done.stderr

    def test_systemd_has_nothing_to_say_about_it(self):
        said = [line for line in self.analyze("verify").split("\n") if "under-test" in line]
        self.assertEqual(said, [])

    def test_it_exposes_little(self):
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)",
                          self.analyze("security", "--offline=true"))
        self.assertIsNotNone(found)
        self.assertLessEqual(float(found[1]), EXPOSURE_MAX)


if __name__ == "__main__":
    unittest.main()
