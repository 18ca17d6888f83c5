"""Goal: programs that a handler has started end with its request, leave no zombie and no descriptor, and keep
nobody waiting.
"""

import os
import re
import unittest

import harness


class Processes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["processes"],
                                    tornadod="workers = 1\nmax_subprocesses = 2\ndrain_timeout = 300ms")
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.idle = cls.descriptors()

    @classmethod
    def descriptors(cls):
        return harness.descriptors(cls.daemon.workers()[0])

    def tearDown(self):
        worker = self.daemon.workers()[0]
        harness.wait_until(lambda: not harness.children(worker), "a process is left")
        harness.wait_until(lambda: self.descriptors() == self.idle, "a descriptor is left")

    def ask(self, target, word):
        """A connection on which that was asked, and the program that runs for it."""
        conn, before = self.daemon.connect(), len(self.daemon.log.lines)
        conn.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        pid = int(re.search(r"\d+$", self.daemon.wait_log(f"{word} \\d+$", before))[0])
        self.assertIn(pid, harness.children(self.daemon.workers()[0]))
        return conn, pid

    def test_one_that_has_ended_is_gone_when_it_is_answered(self):
        worker = self.daemon.workers()[0]
        for _ in range(50):
            self.assertEqual(self.daemon.get("/quick").body, b"0 %d\n" % worker)
            self.assertEqual(harness.children(worker), [])
        self.daemon.wait_log("^to the log")

    def test_one_ends_when_its_client_leaves(self):
        for target, word in ((b"/follow", "follows"), (b"/hang_on", "hangs")):
            with self.subTest(target):
                conn, pid = self.ask(target, word)
                conn.socket.close()
                harness.wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "it runs")

    def test_one_ends_when_the_time_of_its_request_is_over_and_meanwhile_others_are_served(self):
        conn, pid = self.ask(b"/hang", "hangs")
        with conn:
            self.assertEqual(self.daemon.get("/quick").status, 200)
            self.assertEqual(conn.response().status, 504)
        harness.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it runs")

    def test_beyond_the_limit_handlers_are_told(self):
        held = [self.ask(b"/hang_on", "hangs")[0] for _ in range(2)]
        self.assertEqual(self.daemon.get("/quick").status, 503)
        self.daemon.wait_log("sh is not started: max_subprocesses run")
        for conn in held:
            conn.socket.close()


class End(unittest.TestCase):
    def test_a_worker_that_ends_takes_them_with_it(self):
        with harness.Daemon(["processes"], tornadod="workers = 1\ndrain_timeout = 200ms") as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /hang_on HTTP/1.1\r\nHost: x\r\n\r\n")
                pid = int(re.search(r"\d+$", daemon.wait_log(r"hangs \d+$"))[0])
                self.assertEqual(daemon.stop(), 0)
            harness.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "it runs")


if __name__ == "__main__":
    unittest.main()
