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


def passing(*sockets):
    """A wrapper that gives the daemon listening sockets, as systemd does: (name, address)."""
    script = ("import os, socket, sys\n"
              "for i, (name, address) in enumerate(SOCKETS):\n"
              "    s = socket.create_server(address)\n"
              "    os.dup2(s.fileno(), 30 + i)\n"
              "    s.close()\n"
              "for i in range(len(SOCKETS)): os.dup2(30 + i, 3 + i); os.close(30 + i)\n"
              "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(SOCKETS)),\n"
              "                  LISTEN_FDNAMES=':'.join(name for name, _ in SOCKETS))\n"
              "os.execv(sys.argv[1], sys.argv[1:])\n")
    return ["/usr/bin/python3", "-c", script.replace("SOCKETS", repr(sockets))]


class Passed(unittest.TestCase):
    def test_a_socket_unit_by_the_name_of_its_listener(self):
        with harness.Daemon(["faults"], wrapper=passing(("default", ("127.0.0.77", 0)))) as daemon:
            url = daemon.wait_log("listening on http://127.0.0.77:")
            self.assertEqual(daemon.addresses, {})  # it has opened none of its own
            daemon.addresses["default"] = ("127.0.0.77", int(url.rsplit(":", 1)[1]))
            self.assertEqual(daemon.get("/pid").status, 200)
            daemon.reload()
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_what_no_listener_wants_is_closed_and_forgotten(self):
        with harness.Daemon(["faults"], wrapper=passing(("listen-gone-0", ("127.0.0.78", 0))),
                            env={"FDSTORE": "16"}) as daemon:
            daemon.wait_log("the socket listen-gone-0 that was passed is no listener's")
            self.assertIn("FDSTOREREMOVE=1\nFDNAME=listen-gone-0", daemon.notifications.seen)
            self.assertEqual(len(harness.listening_sockets(daemon.master)), 1)

    def test_listeners_are_put_into_the_store_where_there_is_one(self):
        with harness.Daemon(["faults"], listeners={"default": "reuseport = on"}, tornadod="workers = 2",
                            env={"FDSTORE": "16"}) as daemon:
            stored = [message for message in daemon.notifications.seen if "FDSTORE=1" in message]
            ip, port = daemon.addresses["default"]
            self.assertEqual(stored, [f"FDSTORE=1\nFDNAME=listen-{ip}_{port}-{slot}" for slot in range(2)])
        with harness.Daemon(["faults"]) as daemon:
            self.assertNotIn("FDSTORE", "\n".join(daemon.notifications.seen))


@unittest.skipIf(shutil.which("systemd-analyze") is None, "systemd-analyze is not installed")
class Unit(unittest.TestCase):
    template = "tornadod.service"
    name = "tornadod-under-test.service"

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-unit-")
        self.addCleanup(shutil.rmtree, self.folder)
        with open(f"{harness.ROOT}/systemd/{self.template}", encoding="utf-8") as file:
            text = file.read()
        # A name that no unit of this machine has, and programs that are there.
        text = text.replace("@SBINDIR@/tornadod", "/bin/true").replace("@SYSCONFDIR@", "/etc/tornadod")
        text = text.replace("@LIBDIR@", "/usr/lib").replace("@SBINDIR@", "/usr/sbin")
        text = "\n".join(line for line in text.split("\n") if not line.startswith("Documentation"))
        self.assertNotIn("@SBIN", text)
        self.path = f"{self.folder}/{self.name}"
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


class Template(Unit):
    template = "tornadod@.service"
    name = "tornadod-under-test@shop.service"


if __name__ == "__main__":
    unittest.main()
