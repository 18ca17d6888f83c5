"""Goal: whatever a handler does wrong, the log says who it was, and the others are served on."""

import os
import re
import signal
import time
import unittest

import harness
from load import Load

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Crash(unittest.TestCase):
    def crashes(self, daemon, target, *patterns):
        """The connection ends, another worker takes over, and one line of the log has all patterns."""
        lines = len(daemon.log.lines)
        with daemon.connect() as conn:
            conn.send(GET % target.encode())
            with self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                conn.response()
        line = daemon.wait_log(r"worker \d+ \(pid \d+\) (crashed|exited)", lines)
        for pattern in patterns:
            self.assertRegex(line, pattern)
        self.assertEqual(daemon.get("/pid").status, 200)
        return line

    def test_each_kind_names_signal_handler_route_and_request(self):
        cases = {
            "/segv": ("SIGSEGV at address 0x0 in faults.so", r'request \d+ "GET /segv HTTP/1.1"'),
            "/after-wait": ("SIGSEGV at address 0x0 in faults.so", r'"GET /after-wait HTTP/1.1"'),
            "/abort": ("SIGABRT in libc", r'"GET /abort HTTP/1.1"; called from .*faults.so'),
            "/divide": ("SIGFPE", r'"GET /divide HTTP/1.1"'),
            "/overflow": (r"overflowed the stack of its coroutine \(see coroutine_stack\), SIGSEGV",
                          r'faults.so\+0x.*"GET /overflow HTTP/1.1"'),
        }
        settings = "workers = 2\nquarantine_crashes = 0"
        with harness.Daemon(["faults"], tornadod=settings) as daemon:
            for target, patterns in cases.items():
                with self.subTest(target):
                    self.crashes(daemon, target, rf"handler faults \(faults.so\), route {target}",
                                 *patterns)
            with self.subTest("/exit"):
                self.crashes(daemon, "/exit", "exited with status 3: handler faults")

    @unittest.skipIf(harness.SANITIZED, "addresses of functions are not those of the file")
    def test_the_offset_is_the_function_in_the_file(self):
        with harness.Daemon(["faults"]) as daemon:
            line = self.crashes(daemon, "/segv", "SIGSEGV")
        offset = re.search(r"in faults\.so\+0x([0-9a-f]+)", line)[1]
        symbols = os.popen(f"nm {harness.BUILD}/tests/handlers/faults.so").read()
        starts = sorted((int(a, 16), name) for a, _, name in re.findall(r"^(\w+) ([tT]) (\w+)", symbols, re.M))
        self.assertEqual([name for start, name in starts if start <= int(offset, 16)][-1], "segv")

    def test_a_crash_after_the_answer_is_a_timers(self):
        with harness.Daemon(["faults"]) as daemon:
            with daemon.connect() as conn:
                conn.send(GET % b"/later")
                self.assertEqual(conn.response().body, b"later")
            line = daemon.wait_log("crashed: SIGSEGV")
            self.assertRegex(line, r"handler faults \(faults.so\)")

    def test_what_a_client_sent_cannot_forge_a_line(self):
        with harness.Daemon(["faults"]) as daemon:
            self.crashes(daemon, "/segv?\"x\\y", r'"GET /segv\?\\x22x\\x5cy HTTP/1.1"')

    def test_others_are_served_and_the_next_worker_comes_at_once(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            with Load(daemon.addresses["default"], "/pid", keep=4, fresh=4) as load:
                for _ in range(5):
                    load.wait_for(300)
                    worker = daemon.workers()[0]
                    lines = len(daemon.log.lines)
                    os.kill(worker, signal.SIGKILL)
                    daemon.wait_log(rf"\(pid {worker}\) was killed by SIGKILL", lines)
                load.wait_for(300)
            # What was inside of the killed worker is lost: at most what its clients had there.
            self.assertLessEqual(len(load.lost) + load.reused, 5 * 8)

    def test_deaths_at_once_are_followed_by_longer_and_longer_pauses(self):
        with harness.Daemon(["faults"]) as daemon:
            pauses = []
            for _ in range(4):
                lines = len(daemon.log.lines)
                line = self.crashes(daemon, "/segv")
                pauses.append(int(re.search(r"the next one in (\d+) ms", line)[1]))
                self.assertGreaterEqual(len(daemon.log.lines), lines)
            self.assertEqual(pauses, [50, 100, 200, 400])
            daemon.notifications.wait("STATUS=degraded: 0 of 1 workers serve", daemon.process)

    def test_one_that_cannot_start_any_more_is_tried_again_and_again(self):
        with harness.Daemon(["faults", "unloadable"], tornadod="workers = 2\nstart_timeout = 500ms",
                            ini="[handler:unloadable]\nlater = trouble\n") as daemon:
            for trouble, said in (("crash", r"worker \d .* crashed: SIGABRT .*handler unloadable"),
                                  ("wait", r"worker \d was not ready within start_timeout \(500 ms\): "
                                           r"it was in handler unloadable .*; the next one in \d+ ms")):
                with self.subTest(trouble):
                    with open(f"{daemon.folder}/trouble", "w", encoding="ascii") as file:
                        file.write(trouble)
                    lines = len(daemon.log.lines)
                    os.kill(daemon.workers()[0], signal.SIGKILL)
                    daemon.wait_log(said, lines)
                    daemon.notifications.wait("STATUS=degraded: 1 of 2 workers serve", daemon.process)
                    self.assertEqual(daemon.get("/pid").status, 200)  # by the other one
                    os.unlink(f"{daemon.folder}/trouble")
                    daemon.notifications.wait("STATUS=2 workers serve, generation 1", daemon.process)

    def test_after_a_good_life_the_next_one_comes_without_a_pause(self):
        with harness.Daemon(["faults"]) as daemon:
            born = time.monotonic()
            while time.monotonic() < born + 1.1:
                daemon.get("/pid")
                time.sleep(0.01)
            self.crashes(daemon, "/segv", "the next one in 0 ms")


class Quarantine(unittest.TestCase):
    def crash(self, daemon, target, times, headers=b""):
        for _ in range(times):
            lines = len(daemon.log.lines)
            with daemon.connect() as conn:
                conn.send(b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (target, headers))
                with self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                    conn.response()
            daemon.wait_log(r"worker \d+ \(pid \d+\) crashed", lines)

    def until_503(self, daemon, target):
        """By all workers: one that has lived on is told at about the time that the log says it."""
        in_a_row = 0
        while in_a_row < 20:
            in_a_row = in_a_row + 1 if daemon.get(target).status == 503 else 0

    def test_a_handler_that_crashes_again_and_again_is_not_run_any_more(self):
        settings = "workers = 2\nquarantine_crashes = 3"
        with harness.Daemon(["faults", "hello"], tornadod=settings) as daemon:
            self.crash(daemon, b"/segv", 2)
            self.assertEqual(daemon.get("/pid").status, 200)
            self.crash(daemon, b"/abort", 1)
            daemon.wait_log(r"handler faults \(faults.so\) is quarantined: 3 crashes within "
                            r"quarantine_window \(60000 ms\)")
            self.until_503(daemon, "/pid")
            for _ in range(8):
                for target in ("/pid", "/segv"):
                    self.assertEqual(daemon.get(target).status, 503)
                self.assertEqual(daemon.get("/hello/world").status, 200)
            self.assertEqual(daemon.get("/nothing").status, 404)
            daemon.reload()
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_a_guard_that_crashes_lets_nobody_in(self):
        ini = "[application]\nmiddleware = links\n"
        settings = "workers = 1\nquarantine_crashes = 2"
        with harness.Daemon(["links", "hello"], ini=ini, tornadod=settings) as daemon:
            self.assertEqual(daemon.get("/hello/world").status, 200)
            self.crash(daemon, b"/hello/world", 2, b"X-Do: crash\r\n")
            daemon.wait_log(r"handler links \(links.so\) is quarantined")
            self.until_503(daemon, "/hello/world")
            for target in ("/hello/world", "/nothing"):
                self.assertEqual(daemon.get(target).status, 503)

    def test_one_that_crashes_at_the_start_does_not_keep_the_others_from_theirs(self):
        with harness.Daemon(["faults", "unloadable"], tornadod="workers = 1\nquarantine_crashes = 2",
                            ini="[handler:unloadable]\nlater = trouble\n") as daemon:
            with open(f"{daemon.folder}/trouble", "w", encoding="ascii") as file:
                file.write("crash")
            os.kill(daemon.workers()[0], signal.SIGKILL)
            daemon.wait_log("handler unloadable .* is quarantined: 2 crashes")
            daemon.notifications.wait("STATUS=1 worker serves, generation 1", daemon.process)
            self.assertEqual(daemon.get("/pid").status, 200)


class Hanging(unittest.TestCase):
    def test_one_that_loops_or_blocks_is_named_and_replaced(self):
        settings = "workers = 2\nhang_timeout = 1s\nquarantine_crashes = 0"
        with harness.Daemon(["faults"], tornadod=settings) as daemon:
            for target, where in (("/spin", r"SIGABRT in faults.so\+0x"),
                                  ("/block", r"SIGABRT in libc.*called from .*faults.so\+0x")):
                lines = len(daemon.log.lines)
                with self.subTest(target), daemon.connect() as conn:
                    conn.send(GET % target.encode())
                    line = daemon.wait_log("gave no sign of life", lines)
                    self.assertRegex(line, r"worker \d+ \(pid \d+\) gave no sign of life for hang_timeout "
                                           rf"\(1000 ms\): {where}")
                    self.assertRegex(line, rf'route {target}, request \d+ "GET {target} HTTP/1.1"')
                    self.assertEqual(daemon.get("/pid").status, 200)

    def test_one_that_is_stopped_is_replaced(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\nhang_timeout = 400ms") as daemon:
            stopped = daemon.workers()[0]
            os.kill(stopped, signal.SIGSTOP)
            daemon.wait_log(rf"\(pid {stopped}\) gave no sign of life")
            daemon.notifications.wait("STATUS=1 worker serves, generation 1", daemon.process)
            self.assertNotEqual(int(daemon.get("/pid").body), stopped)


class Misbehaviour(unittest.TestCase):
    """What does not cost the worker."""

    def test_raise(self):
        with harness.Daemon(["faults"]) as daemon:
            self.assertEqual(daemon.get("/raise").status, 502)
            daemon.wait_log(r"worker 0 faults\] .*the cat ate it")

    def test_misuse(self):
        with harness.Daemon(["faults"]) as daemon:
            worker = daemon.workers()
            self.assertEqual(daemon.get("/misuse").status, 200)
            for what in ("td_finish", "td_write", "td_set_header"):
                daemon.wait_log(rf"\[E .*{what}")
            self.assertEqual(daemon.workers(), worker)

    def test_never_finishing(self):
        with harness.Daemon(["faults"], ini="[application]\nrequest_timeout = 100ms\n") as daemon:
            self.assertEqual(daemon.get("/never").status, 504)
            daemon.wait_log(r"worker 0 faults\] .*/never")

    def test_never_coming_back_is_ended_at_the_end_of_the_drain(self):
        daemon = harness.Daemon(["faults"], tornadod="workers = 1\ndrain_timeout = 200ms\n")
        with daemon:
            with daemon.connect() as conn:
                conn.send(GET % b"/spin")
                self.assertEqual(daemon.stop(), 0)
        self.assertRegex(daemon.log.text(), "workers that did not leave within drain_timeout are killed: 1")


if __name__ == "__main__":
    unittest.main()
