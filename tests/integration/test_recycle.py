"""Goal: workers that have served long enough are replaced, and nobody who asks notices."""

import re
import time
import unittest

import harness
from load import Load


class Recycle(unittest.TestCase):
    def serve(self, tornadod, replaced, keep=8, fresh=8):
        """Under load until that many workers were replaced; returns the log."""
        with harness.Daemon(["faults"], tornadod=tornadod, ini="[log]\naccess = off\n") as daemon:
            with Load(daemon.addresses["default"], "/pid", keep=keep, fresh=fresh) as load:
                for _ in range(replaced):
                    told = len(daemon.log.lines)
                    daemon.wait_log(r"is replaced: ", told)
                    load.wait_for(200)
            self.assertEqual((load.lost, load.reused), ([], 0))
            harness.wait_until(lambda: len(daemon.workers()) == 2, "two workers, as before")
            for _ in range(20):
                self.assertEqual(daemon.get("/pid").status, 200)
            daemon.stop()
            return daemon.log.text()

    def test_after_so_many_requests(self):
        text = self.serve("workers = 2\nmax_worker_requests = 1000\ndrain_grace = 100ms", 4)
        for requests in re.findall(r"is replaced: it has answered (\d+) requests \(max_worker_requests\)", text):
            self.assertGreaterEqual(int(requests), 800)

    def test_at_an_age(self):
        text = self.serve("workers = 2\nmax_worker_age = 2s\ndrain_grace = 100ms", 3)
        self.assertRegex(text, r"is replaced: it is [12] s old \(max_worker_age\)")

    @unittest.skipIf(harness.SANITIZED, "they see a leak, which is what this is about")
    def test_with_so_much_memory(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\nmax_worker_memory = 100m") as daemon:
            before = daemon.workers()
            self.assertEqual(daemon.get("/leak?mb=500").status, 200)
            daemon.wait_log(r"worker 0 .* is replaced: it has \d+ MiB of memory \(max_worker_memory\)")
            harness.wait_until(lambda: daemon.workers() and set(daemon.workers()).isdisjoint(before),
                               "the one that leaked has gone")
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_not_all_at_once(self):
        """Four of the same age: each has its day, and at most one leaves at a time."""
        with harness.Daemon(["faults"], tornadod="workers = 4\nmax_worker_age = 1s\ndrain_grace = 100ms") as daemon:
            first = set(daemon.workers())
            most = 0
            deadline = time.monotonic() + harness.DEADLINE
            while first & set(daemon.workers()):
                most = max(most, len(daemon.workers()))
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.002)
            self.assertLessEqual(most, 5)


if __name__ == "__main__":
    unittest.main()
