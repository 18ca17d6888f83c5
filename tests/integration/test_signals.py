"""Goal: stopping finishes what has begun, no signal is lost, and nothing of us stays behind."""

import json
import os
import random
import signal
import time
import unittest

import harness
from load import Load

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def wait_for(condition, what):
    deadline = time.monotonic() + harness.DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Inherited(unittest.TestCase):
    def test_what_who_has_started_us_ignores_or_blocks_is_not_ignored_by_us(self):
        for habit in ("--ignore-signal", "--block-signal"):
            with self.subTest(habit), harness.Daemon(["processes"], tornadod="workers = 1",
                                                     wrapper=("env", habit)) as daemon:
                worker = daemon.workers()[0]
                self.assertEqual(daemon.get("/quick").body, b"0 %d\n" % worker)
                daemon.reload()
                wait_for(lambda worker=worker: worker not in daemon.workers(), "the old worker stays")
                worker = daemon.workers()[0]
                os.kill(worker, signal.SIGKILL)
                wait_for(lambda worker=worker: daemon.workers() not in ([], [worker]), "none comes")
                self.assertEqual(daemon.get("/quick").status, 200)
                self.assertEqual(daemon.stop(), 0)


class Stop(unittest.TestCase):
    def test_each_of_the_three_finishes_what_has_begun(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(number), harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
                slow = [daemon.connect() for _ in range(8)]
                for conn in slow:
                    conn.send(GET % b"/slow?ms=500")
                big = daemon.connect()
                big.send(GET % b"/big")
                big._receive()
                half = daemon.connect()
                half.send(b"GET /pid HTTP/1.1\r\n")
                daemon.get("/pid")
                os.kill(daemon.master, number)
                daemon.wait_log("stopping")
                half.send(b"Host: x\r\n\r\n")
                self.assertEqual([conn.response().body for conn in slow], [b"slow"] * 8)
                self.assertEqual(len(big.response().body), 160 * 65536)
                self.assertEqual(half.response().status, 200)
                for conn in [*slow, big, half]:
                    conn.expect_end()
                    conn.close()
                self.assertEqual(daemon.wait(), 0)
                self.assertRegex(daemon.log.text(), r"stopped after \d+ requests")

    def test_late_ones_are_refused_and_not_reset(self):
        """Whom the kernel holds back until it speaks (defer_accept), it resets with the socket."""
        with harness.Daemon(["faults"], tornadod="workers = 1\ndrain_grace = 0s",
                            listeners={"default": "defer_accept = off"}) as daemon:
            with daemon.connect() as conn:
                conn.send(GET % b"/slow?ms=1000")
                daemon.get("/pid")
                os.kill(daemon.master, signal.SIGTERM)

                def refused():
                    try:
                        late = daemon.connect()
                    except ConnectionRefusedError:
                        return True
                    except ConnectionResetError:  # by the kernel, in the middle of the handshake
                        return False
                    with late:
                        late.send(GET % b"/pid")
                        self.assertEqual(late.response().status, 200)
                    return False

                wait_for(refused, "still accepting")
                self.assertEqual(conn.response().body, b"slow")

    def test_drain_timeout_is_an_end(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ndrain_timeout = 300ms") as daemon:
            with daemon.connect() as never_reads, daemon.connect() as slow:
                never_reads.send(GET % b"/big")
                slow.send(GET % b"/slow?ms=100000")
                daemon.get("/pid")
                self.assertEqual(daemon.stop(), 0)
            self.assertRegex(daemon.log.text(), "the time to drain is over: 2 connections closed, 2 handlers")

    def test_a_second_one_does_not_wait(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon, daemon.connect() as conn:
            conn.send(GET % b"/slow?ms=100000")
            daemon.get("/pid")
            os.kill(daemon.master, signal.SIGTERM)
            daemon.wait_log("stopping")
            self.assertEqual(daemon.stop(), 0)

    def test_during_a_reload(self):
        for pause in (0, 0.001, 0.003, 0.01, 0.03):
            with self.subTest(pause), harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
                os.kill(daemon.master, signal.SIGHUP)
                time.sleep(pause)
                self.assertEqual(daemon.stop(), 0)

    def test_hooks_run_in_order(self):
        with harness.Daemon(["faults", "unloadable"],
                            ini="[handler:other]\nfile = unloadable.so\nmount = /x\n[handler:unloadable]\n") as daemon:
            daemon.get("/unloadable")
            daemon.stop()
            hooks = [line.split("worker 0 ")[1] for line in daemon.log.lines if ": well" in line]
            self.assertEqual(hooks, [
                "other] load: well", "unloadable] load: well",
                "other] start: well", "unloadable] start: well",
                "other] drain: well", "unloadable] drain: well",
                "unloadable] stop: well", "other] stop: well"])

    def test_hooks_that_wait_are_bounded(self):
        for hook in ("drain", "stop"):
            with self.subTest(hook), harness.Daemon(
                    ["unloadable"], ini=f"[handler:unloadable]\n{hook} = wait\n",
                    tornadod="workers = 1\ndrain_timeout = 200ms") as daemon:
                self.assertEqual(daemon.stop(), 0)


class Workers(unittest.TestCase):
    def test_what_a_terminal_sends_is_not_for_them(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            workers = daemon.workers()
            for worker in workers:
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
                               signal.SIGUSR2, signal.SIGWINCH, signal.SIGPIPE):
                    os.kill(worker, number)
            for _ in range(10):
                self.assertEqual(daemon.get("/pid").status, 200)
            self.assertEqual(daemon.workers(), workers)

    def test_one_that_is_told_to_leave_is_replaced(self):
        with harness.Daemon(["faults"]) as daemon, daemon.connect() as conn:
            conn.send(GET % b"/slow?ms=300")
            worker = int(daemon.get("/pid").body)
            os.kill(worker, signal.SIGTERM)
            self.assertEqual(conn.response().body, b"slow")
            daemon.wait_log(rf"worker 0 \(pid {worker}\) left")
            self.assertNotEqual(int(daemon.get("/pid").body), worker)

    def test_they_leave_when_the_master_is_killed(self):
        daemon = harness.Daemon(["faults"], tornadod="workers = 2")
        try:
            daemon.start()
            workers = daemon.workers()
            with daemon.connect() as quick, daemon.connect() as endless:
                quick.send(GET % b"/slow?ms=500")
                endless.send(GET % b"/slow?ms=100000")
                daemon.get("/pid")
                killed = time.monotonic()
                daemon.process.kill()
                self.assertEqual(quick.response().body, b"slow")  # what is nearly done is done
                wait_for(lambda: not any(map(is_alive, workers)), "orphans")
                if not harness.SANITIZED:
                    self.assertLess(time.monotonic() - killed, 4)
            with self.assertRaises(ConnectionRefusedError):
                daemon.connect()
        finally:
            daemon.close()


class Signals(unittest.TestCase):
    def test_a_storm_ends_with_one_generation_of_workers(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            for _ in range(100):
                os.kill(daemon.master, random.choice((signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1)))
                time.sleep(random.random() * 0.005)
            wait_for(lambda: len(daemon.workers()) == 2 and not daemon_is_reloading(daemon), "settled")
            self.assertTrue(all(map(is_alive, daemon.workers())))
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_those_we_do_not_know_do_no_harm(self):
        with harness.Daemon(["faults"]) as daemon:
            for number in (signal.SIGPIPE, signal.SIGCONT, signal.SIGURG):
                os.kill(daemon.master, number)
            self.assertEqual(daemon.get("/pid").status, 200)


def daemon_is_reloading(daemon):
    text = daemon.log.text()
    return text.count("] reloading") + 1 != text.count(" serves: ")


def workers_are(daemon, count):
    return lambda: len(daemon.workers()) == count


class Number(unittest.TestCase):
    """TTIN, TTOU and WINCH."""

    # A controlling terminal, which some who run this have and some do not, is what WINCH depends on.
    wrapper = ("setsid", "-w")

    def test_one_more_and_one_less_lose_nothing(self):
        for listener in ("", "reuseport = on"):
            with self.subTest(listener), harness.Daemon(["faults"], tornadod="workers = 2",
                                                        listeners={"default": listener}) as daemon:
                with Load(daemon.addresses["default"], "/pid", keep=4, fresh=4) as load:
                    for number, count in ((signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3),
                                          (signal.SIGTTOU, 2), (signal.SIGTTOU, 1), (signal.SIGTTIN, 2)):
                        os.kill(daemon.master, number)
                        harness.wait_until(workers_are(daemon, count), f"{count} workers")
                        daemon.notifications.wait(
                            f"STATUS={count} worker{'s serve' if count > 1 else ' serves'}, generation 1",
                            daemon.process)
                        load.wait_for(100)
                self.assertEqual((load.lost, load.reused), ([], 0))

    def test_all_share_the_memory_anew(self):
        """memory = auto: what there is for one is what there is for all, by their number."""
        with harness.Daemon(["faults", "status"], tornadod="workers = 2") as daemon:
            def limits():
                workers = json.loads(daemon.get("/status.json").body)["workers"]
                return [worker["memory_limit_bytes"] for worker in workers]

            alone = 8 << 20  # what a worker takes with nobody to serve
            both = sum(limit + alone for limit in limits())
            for number, count in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1), (signal.SIGTTIN, 2)):
                os.kill(daemon.master, number)
                harness.wait_until(lambda: limits() == [max(both // count - alone, 4 << 20)] * count,
                                   f"{count} that share {both}: {limits()}")

    def test_not_below_one(self):
        with harness.Daemon(["faults"]) as daemon:
            worker = daemon.workers()
            os.kill(daemon.master, signal.SIGTTOU)
            daemon.wait_log("there are 1 workers, and 1 to 512 may be")
            self.assertEqual(daemon.workers(), worker)

    def test_it_lasts_over_reloads_until_the_setting_changes(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            os.kill(daemon.master, signal.SIGTTIN)
            harness.wait_until(workers_are(daemon, 3), "three workers")
            daemon.reload()
            daemon.wait_log("generation 2 serves: 3 workers")
            daemon.write_ini(tornadod="workers = 1")
            daemon.reload()
            daemon.wait_log("generation 3 serves: 1 worker,")
            daemon.reload()
            daemon.wait_log("generation 4 serves: 1 worker,")

    def test_during_a_reload(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            for pause in (0, 0.005, 0.02):
                count = len(daemon.workers())
                os.kill(daemon.master, signal.SIGHUP)
                time.sleep(pause)
                os.kill(daemon.master, signal.SIGTTIN)
                daemon.notifications.wait("READY=1", daemon.process)
                harness.wait_until(workers_are(daemon, count + 1), "one more")

    def test_none_and_back(self):
        with harness.Daemon(["faults"], tornadod="workers = 2", wrapper=self.wrapper) as daemon:
            master = daemon.command_pid()
            with daemon.connect() as conn:
                conn.send(GET % b"/slow?ms=300")
                daemon.get("/pid")
                os.kill(master, signal.SIGWINCH)
                self.assertEqual(conn.response().body, b"slow")
            harness.wait_until(lambda: harness.children(master) == [], "no workers")
            with daemon.connect() as late:  # waits in the queue
                late.send(GET % b"/pid")
                os.kill(master, signal.SIGTTIN)
                self.assertEqual(late.response().status, 200)
            self.assertEqual(len(harness.children(master)), 1)
            os.kill(master, signal.SIGWINCH)
            harness.wait_until(lambda: harness.children(master) == [], "no workers")
            os.kill(master, signal.SIGHUP)
            daemon.wait_log("generation 2 serves: 2 workers")
            self.assertEqual(daemon.get("/pid").status, 200)
            os.kill(master, signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_a_stop_without_workers(self):
        with harness.Daemon(["faults"], wrapper=self.wrapper) as daemon:
            master = daemon.command_pid()
            os.kill(master, signal.SIGWINCH)
            harness.wait_until(lambda: harness.children(master) == [], "no workers")
            os.kill(master, signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)


class PidFile(unittest.TestCase):
    def test_it_is_locked_and_goes_with_the_daemon(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\npid_file = pid") as daemon:
            path = f"{daemon.folder}/pid"
            with open(path, encoding="ascii") as file:
                self.assertEqual(int(file.read()), daemon.master)
            second = harness.run("-c", daemon.ini_path)
            self.assertEqual(second.returncode, 1)
            self.assertRegex(second.stderr, r"tornadod\.ini:\d+: pid_file .*: another tornadod holds it")
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_a_stale_one_is_no_obstacle(self):
        daemon = harness.Daemon(["faults"], tornadod="workers = 1\npid_file = pid")
        with open(f"{daemon.folder}/pid", "w", encoding="ascii") as file:
            file.write("1\n")
        with daemon, open(f"{daemon.folder}/pid", encoding="ascii") as file:
            self.assertEqual(int(file.read()), daemon.master)


class Terminal(unittest.TestCase):
    def test_ctrl_c_reaches_the_whole_group_and_drains(self):
        with harness.Daemon(["faults"], tornadod="workers = 2", wrapper=["setsid", "-w"]) as daemon:
            group = harness.children(daemon.process.pid) or [daemon.process.pid]
            with daemon.connect() as conn:
                conn.send(GET % b"/slow?ms=500")
                daemon.get("/pid")
                os.killpg(os.getpgid(group[0]), signal.SIGINT)
                self.assertEqual(conn.response().body, b"slow")
            self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    unittest.main()
