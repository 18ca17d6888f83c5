"""Goal: what runs on a thread delays nobody else, whatever it does, and is not lost when the worker leaves."""

import glob
import os
import tempfile
import time
import unittest

import harness

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Executor(unittest.TestCase):
    def test_a_long_job_delays_nobody(self):
        with harness.Daemon(["executor"]) as daemon, daemon.connect() as conn:
            begun = time.monotonic()
            conn.send(GET % b"/run?ms=2000")
            others = 0
            while others < 200:
                self.assertEqual(daemon.get("/run?ms=0").body, b"0")
                others += 1
            self.assertLess(time.monotonic() - begun, 2, "two hundred others had to wait for it")
            self.assertEqual(conn.response().body, b"0")

    def test_beyond_the_queue_it_is_503(self):
        settings = "workers = 1\nexecutor_threads = 1\nexecutor_queue = 1"
        with harness.Daemon(["executor"], tornadod=settings) as daemon:
            conns = [daemon.connect() for _ in range(3)]
            for conn in conns:
                conn.send(GET % b"/run?ms=1000")
            answers = sorted(conn.response().status for conn in conns)
            self.assertEqual(answers, [200, 200, 503])
            for conn in conns:
                conn.close()

    def test_work_after_the_answer_is_done_before_the_worker_goes(self):
        with tempfile.TemporaryDirectory() as folder, harness.Daemon(["executor"]) as daemon:
            os.chmod(folder, 0o777)
            self.assertEqual(daemon.get(f"/answer-first?path={folder}/done-XXXXXX").body, b"later")
            self.assertEqual(glob.glob(f"{folder}/done-*"), [])
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(len(glob.glob(f"{folder}/done-*")), 1)

    def test_a_job_that_never_ends_does_not_keep_the_worker(self):
        with harness.Daemon(["executor"], tornadod="workers = 1\ndrain_timeout = 300ms") as daemon, \
                daemon.connect() as conn:
            conn.send(GET % b"/run?ms=60000")
            while daemon.get("/run?ms=0").body != b"0":
                pass
            self.assertEqual(daemon.stop(), 0)
            daemon.wait_log("1 jobs of executors still run and are left behind")

    def test_a_crash_on_a_thread_names_the_handler(self):
        with harness.Daemon(["executor"]) as daemon:
            with daemon.connect() as conn:
                conn.send(GET % b"/crash")
                with self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                    conn.response()
            line = daemon.wait_log(r"crashed: SIGSEGV")
            self.assertRegex(line, r"in executor.so\+0x.*handler executor \(executor.so\), route /crash")

    def test_misuse_on_a_thread_is_told(self):
        with harness.Daemon(["executor"]) as daemon:
            self.assertEqual(daemon.get("/misuse").body, b"0")
            daemon.wait_log("td_write_text: called on another thread")


if __name__ == "__main__":
    unittest.main()
