"""Goal: at full load reloads lose nothing, and killed workers lose what was inside of them and no more.
Short in `make test`; with TD_LOAD_SECONDS=20 it is rows 1 and 3 of tests/faults/run.py.
"""

import os
import signal
import time
import unittest

import harness
from load import Load

SECONDS = int(os.environ.get("TD_LOAD_SECONDS", 3))
CLIENTS = 4 if harness.SANITIZED else 16  # of each kind


class FullLoad(unittest.TestCase):
    def setUp(self):
        self.daemon = harness.Daemon(["faults"], tornadod="workers = 2",
                                     ini="[log]\naccess_file = access.log\n")
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def load(self, each_second):
        """All clients for so many seconds; the action runs at the end of each of them."""
        with Load(self.daemon.addresses["default"], "/pid", CLIENTS, CLIENTS) as load:
            for _ in range(SECONDS):
                time.sleep(1)
                each_second()
            load.wait_for(100)
        print(f"\nINFO {SECONDS} s: {load.complete} answered, {len(load.lost)} lost, {load.reused} reused,"
              f" longest gap {load.longest_gap * 1000:.0f} ms", flush=True)
        self.assertGreater(load.complete, 100 * SECONDS)
        return load

    def test_a_reload_each_second_loses_nothing(self):
        def reload():
            os.kill(self.daemon.master, signal.SIGHUP)
            self.daemon.notifications.wait("RELOADING=1", self.daemon.process)
            self.daemon.notifications.wait("READY=1", self.daemon.process)

        load = self.load(reload)
        self.assertEqual((load.lost, load.reused), ([], 0))
        self.assertEqual(self.daemon.stop(), 0)

    def test_a_worker_killed_each_second_costs_what_was_inside(self):
        killed = 0

        def kill():
            nonlocal killed
            lines = len(self.daemon.log.lines)
            worker = self.daemon.workers()[killed % 2]
            os.kill(worker, signal.SIGKILL)
            killed += 1
            self.assertEqual(self.daemon.get("/pid").status, 200)
            self.daemon.wait_log(rf"\(pid {worker}\) was killed by SIGKILL", lines)

        load = self.load(kill)
        # A client has one request at a time, and none but the killed worker's clients may notice.
        self.assertLessEqual(len(load.lost) + load.reused, killed * 2 * CLIENTS)
        self.assertLessEqual(len(load.lost), killed * CLIENTS)
        self.assertEqual(self.daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
