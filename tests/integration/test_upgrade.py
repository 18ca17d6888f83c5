"""Goal: another binary takes over in place, and nothing is lost by it; one that is no good changes nothing."""

import json
import os
import re
import shutil
import signal
import tempfile
import unittest

import harness
from load import Load


class Upgrading(harness.Daemon):
    """A daemon whose program is a copy, so that it can be replaced."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.program = os.path.join(self.folder, "tornadod")
        for name in ("libtornado.so.1", "tornadod"):
            os.symlink(os.path.join(harness.BUILD, name), os.path.join(self.folder, name))
        self.put(os.path.join(harness.BUILD, "tornadod"))
        self.command[self.command.index(os.path.join(harness.BUILD, "tornadod"))] = self.program

    def put(self, path, mode=0o755):
        shutil.copy(path, self.program + ".new")
        os.chmod(self.program + ".new", mode)
        os.rename(self.program + ".new", self.program)

    def put_text(self, text, mode=0o755):
        with open(self.folder + "/text", "w", encoding="ascii") as file:
            file.write(text)
        self.put(self.folder + "/text", mode)


class Upgrade(unittest.TestCase):
    def test_under_load_nothing_is_lost(self):
        for listener in ("", "reuseport = on"):
            with self.subTest(listener), Upgrading(["faults"], tornadod="workers = 2\npid_file = pid",
                                                   listeners={"default": listener}) as daemon:
                master = daemon.master
                with Load(daemon.addresses["default"], "/pid", keep=8, fresh=8) as load:
                    for number in range(5):
                        before = daemon.workers()
                        inode = os.stat(f"/proc/{master}/exe").st_ino
                        daemon.put(f"{harness.BUILD}/tornadod")
                        done = daemon.command_line("upgrade")
                        self.assertEqual((done.returncode, done.stdout, done.stderr),
                                         (0, f"generation {number + 2} serves: 2 workers, 1 handler\n", ""))
                        self.assertNotEqual(os.stat(f"/proc/{master}/exe").st_ino, inode)
                        daemon.wait_replaced(before)
                        load.wait_for(200)
                self.assertEqual((load.lost, load.reused), ([], 0))
                self.assertEqual(daemon.master, master)
                with open(f"{daemon.folder}/pid", encoding="ascii") as file:
                    self.assertEqual(int(file.read()), master)
                harness.wait_until(lambda: len(daemon.workers()) == 2, "the old ones have gone")
                second = harness.run(*daemon.command[1:])
                self.assertRegex(second.stderr, "another tornadod holds it")

    def test_by_signal_and_told_to_systemd(self):
        with Upgrading(["faults"]) as daemon:
            os.kill(daemon.master, signal.SIGUSR2)
            message = daemon.notifications.wait("RELOADING=1", daemon.process)
            self.assertRegex(message, r"\nMONOTONIC_USEC=\d+\n")
            daemon.notifications.wait("READY=1", daemon.process)
            daemon.notifications.wait("STATUS=1 worker serves, generation 2", daemon.process)
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_what_was_begun_is_finished_by_the_old_workers(self):
        with Upgrading(["faults"]) as daemon, daemon.connect() as conn:
            conn.send(b"GET /slow?ms=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            daemon.get("/pid")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)
            self.assertEqual(conn.response().body, b"slow")
            conn.expect_end()

    def test_a_unix_socket_stays(self):
        with Upgrading(["faults"]) as daemon:
            path = f"{daemon.folder}/http.sock"
            daemon.write_ini(f"[listen:u]\naddress = unix:{path}\n")
            daemon.reload()
            inode = os.stat(path).st_ino
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)
            self.assertEqual(os.stat(path).st_ino, inode)
            with harness.Connection(path) as conn:
                self.assertEqual(conn.request("GET", "/pid").status, 200)

    def test_the_number_of_workers_and_reloads_go_on(self):
        with Upgrading(["faults"], tornadod="workers = 1") as daemon:
            os.kill(daemon.master, signal.SIGTTIN)
            harness.wait_until(lambda: len(daemon.workers()) == 2, "two workers")
            self.assertEqual(daemon.command_line("upgrade").stdout,
                             "generation 2 serves: 2 workers, 1 handler\n")
            self.assertEqual(daemon.command_line("reload").stdout,
                             "generation 3 serves: 2 workers, 1 handler\n")

    def test_what_is_counted_goes_on(self):
        def counted():
            state = json.loads(daemon.get("/status.json").body)
            own = {own["name"]: own["value"] for own in state["handler_metrics"]}
            route = next(route for route in state["routes"] if route["route"] == "/count")
            return route["requests"], own["calls"], own["loads"]

        def reaches(wanted):  # a worker counts what it has answered, and another one is asked
            harness.wait_until(lambda: counted() == wanted, f"{wanted} are not counted")

        with Upgrading(["status", "metrics", "faults"], tornadod="workers = 2",
                       ini="[handler:faults]\nmount = /faults\n") as daemon:
            for _ in range(4):
                daemon.get("/count")
            reaches((4, 12, 2))
            uptime = json.loads(daemon.get("/status.json").body)["uptime_seconds"]
            with daemon.connect() as conn:
                conn.send(b"GET /faults/slow?ms=500 HTTP/1.1\r\nHost: x\r\n\r\n")
                for number in range(2):
                    self.assertEqual(daemon.command_line("upgrade").returncode, 0)
                    daemon.get("/count")
                    reaches((5 + number, 15 + 3 * number, 4 + 2 * number))
                self.assertEqual(conn.response().body, b"slow")
            harness.wait_until(lambda: len(json.loads(daemon.get("/status.json").body)["workers"]) == 2,
                               "the old ones are told of for ever")
            state = json.loads(daemon.get("/status.json").body)
            self.assertGreaterEqual(state["uptime_seconds"], uptime)
            slow = next(route for route in state["routes"] if route["route"] == "/faults/slow")
            self.assertEqual(slow["responses"]["2xx"], 1)  # of a worker that was adopted, and has gone
            self.assertEqual({worker["generation"] for worker in state["workers"]}, {3})

    def test_a_stop_at_any_time(self):
        for pause in (0, 0.005, 0.02, 0.05, 0.1):
            with self.subTest(pause), Upgrading(["faults"]) as daemon:
                os.kill(daemon.master, signal.SIGUSR2)
                os.kill(daemon.master, signal.SIGHUP)
                harness.time.sleep(pause)
                self.assertEqual(daemon.stop(), 0)


def lines_of(path):
    with open(path, encoding="ascii") as file:
        return [line for line in file.read().split("\n") if line]


class CarriedOver(unittest.TestCase):
    """What the old workers share with the master is the new one's."""

    def test_each_answer_has_its_line(self):
        logged = "[log]\naccess = combined\naccess_file = access.log\n"
        with Upgrading(["faults"], ini=logged, tornadod="workers = 2") as daemon:
            answered = 0
            for number in range(2):
                with Load(daemon.addresses["default"], f"/pid?{number}", keep=4, fresh=4) as load:
                    for _ in range(2):
                        before = daemon.workers()
                        self.assertEqual(daemon.command_line("upgrade").returncode, 0)
                        daemon.wait_replaced(before)
                        load.wait_for(100)
                self.assertEqual((load.lost, load.reused), ([], 0))
                answered += load.complete
            daemon.stop()
            self.assertEqual(len(lines_of(f"{daemon.folder}/access.log")), answered)

    def waits_in_its_ring(self, daemon, worker, path):
        """Requests whose lines the worker cannot write any more; None: it has been too fast."""
        seen = len(lines_of(path))
        with daemon.connect() as conn:
            for number in range(20):
                conn.request("GET", f"/pid?{seen}-{number}")
            os.kill(worker, signal.SIGSTOP)
        if len(lines_of(path)) < seen + 20:
            return seen + 20
        os.kill(worker, signal.SIGCONT)
        return None

    def test_what_an_old_worker_had_not_written_is_written_after_its_death(self):
        logged = "[log]\naccess = json\naccess_file = access.log\n"
        with Upgrading(["faults"], ini=logged) as daemon:
            worker, path = daemon.workers()[0], f"{daemon.folder}/access.log"
            wanted = None
            while wanted is None:
                wanted = self.waits_in_its_ring(daemon, worker, path)
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)
            self.assertLess(len(lines_of(path)), wanted)
            os.kill(worker, signal.SIGKILL)
            harness.wait_until(lambda: len(lines_of(path)) == wanted, "its lines are lost")
            self.assertEqual(len({json.loads(line)["uri"] for line in lines_of(path)}), wanted)

    def test_a_hung_worker_is_still_ended(self):
        with Upgrading(["faults"], tornadod="workers = 2\nhang_timeout = 2s\n") as daemon:
            old = daemon.workers()
            with daemon.connect() as conn:
                conn.send(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(daemon.command_line("upgrade").returncode, 0)
                daemon.wait_log(r"\] generation 2 serves")
                self.assertRegex(daemon.wait_log("no sign of life"),
                                 r"worker \d \(pid \d+\) gave no sign of life for hang_timeout \(2000 ms\): "
                                 r"SIGABRT.*handler faults \(faults.so\), request \d+ \"GET /spin ")
            harness.wait_until(lambda: not set(old) & set(daemon.workers()), "the old ones go on")

    def test_memory_of_handlers_keeps_what_it_holds(self):
        with Upgrading(["settings"], ini="[handler:settings]\nneeded = x\n", tornadod="workers = 2") as daemon:
            for number in range(1, 6):
                self.assertEqual(daemon.get("/count").body, b"%d 2" % number)
            for number in range(2):
                self.assertEqual(daemon.command_line("upgrade").returncode, 0)
                self.assertEqual(daemon.get("/count").body, b"%d %d" % (6 + number, 4 + 2 * number))

    def test_what_is_in_quarantine(self):
        def upgrade():
            daemon.put(f"{harness.BUILD}/tornadod")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)

        def state():
            return re.search(r"\nother .* (serves|in quarantine)\n", daemon.command_line("handlers").stdout).group(1)

        def told():
            handlers = json.loads(daemon.get("/status.json").body)["handlers"]
            return next(handler["quarantined"] for handler in handlers if handler["name"] == "other")

        with Upgrading(["faults", "status", "hello"], tornadod="workers = 2\nquarantine_crashes = 1",
                       ini="[handler:other]\nfile = faults.so\nmount = /other\n[handler:faults]\n") as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /other/segv HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.rest()
            daemon.wait_log("handler other .* is quarantined")
            for _ in range(2):  # the second time it is handed over by one that was told of it
                upgrade()
                self.assertEqual((state(), told(), daemon.get("/other/pid").status), ("in quarantine", True, 503))
                self.assertEqual(daemon.get("/pid").status, 200)
            self.assertEqual(daemon.command_line("handlers", "release", "other").returncode, 0)
            harness.wait_until(lambda: daemon.get("/other/pid").status == 200, "it is not released")
            self.assertEqual((state(), told()), ("serves", False))

    def test_quarantine_ends_when_the_file_is_another_one(self):
        with Upgrading(["faults", "hello"], tornadod="quarantine_crashes = 1") as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /segv HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.rest()
            daemon.wait_log("handler faults .* is quarantined")
            with open(f"{daemon.handlers}/faults.so", "ab") as file:
                file.write(b"mended")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)
            # An old worker, whose file it is not, may still accept what comes before it is told to leave.
            harness.wait_until(lambda: daemon.get("/pid").status == 200, "the new file is in quarantine")

    def test_quarantine_is_ended_while_no_generation_of_the_new_binary_comes_up(self):
        ini = "[handler:faults]\n[handler:unloadable]\n"
        with Upgrading(["faults", "unloadable"], ini=ini, tornadod="quarantine_crashes = 1") as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /segv HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.rest()
            daemon.wait_log("handler faults .* is quarantined")
            daemon.write_ini(ini + "load = fail\n", tornadod="quarantine_crashes = 1")
            self.assertRegex(daemon.command_line("upgrade").stderr, "the database is not there")
            self.assertRegex(daemon.command_line("handlers").stdout, r"\nfaults .* in quarantine\n")
            daemon.write_ini(ini, tornadod="quarantine_crashes = 1")
            self.assertEqual(daemon.command_line("handlers", "release", "faults").returncode, 0)
            harness.wait_until(lambda: daemon.get("/pid").status == 200, "it is not released")

    def test_old_workers_go_on_in_a_file_that_is_opened_anew(self):
        logged = "[log]\naccess = combined\naccess_file = access.log\n"
        with Upgrading(["faults"], ini=logged) as daemon, daemon.connect() as conn:
            path = f"{daemon.folder}/access.log"
            conn.send(b"GET /slow?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n")
            daemon.get("/pid")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)
            os.rename(path, path + ".1")
            self.assertEqual(daemon.command_line("reopen").returncode, 0)
            self.assertEqual(conn.response().body, b"slow")
            harness.wait_until(lambda: any("/slow" in line for line in lines_of(path)), "it has no line")


class Versions(unittest.TestCase):
    """A binary that is asked to take over says whether it can, before anything has happened."""

    def run_itself(self, state):
        """-t as a running daemon has it run; state: what it would hand over, None: an old one has none."""
        with tempfile.TemporaryDirectory() as handlers, tempfile.TemporaryFile() as file:
            env = {"TORNADOD_UPGRADE_TEST": "1"}
            if state is not None:
                file.write(state)
                file.flush()
                env["TORNADOD_UPGRADE_STATE"] = str(file.fileno())
            return harness.run("-t", "--set", f"tornadod.handlers={handlers}", env=env, pass_fds=[file.fileno()])

    def test_what_it_does_not_take_it_refuses(self):
        first = b"tornadod upgrade 5\n"
        for state, error in ((None, "is older than upgrades to this binary"),
                             (b"", "'' is handed over, and this binary takes"),
                             (b"tornadod upgrade 6\nend\n", "'tornadod upgrade 6' is handed over, and"),
                             (b"\0" * 1000, "is no text"),
                             (first + b"master\t1\t0\t0\n", "is no record"),
                             (first + b"socket\t0\t1\nend\n", "line 2: socket: fd: '1' is no number in 3.."),
                             (first + b"master\t1\t0\t0\nlog\t0\t1\t\n"
                              b"generation\t1\t0\t1\t1\t1\t1\t0\t99\t\nend\n", "descriptor 99 is not open")):
            with self.subTest(error):
                done = self.run_itself(state)
                self.assertEqual(done.returncode, 78)
                self.assertRegex(done.stderr, error)
                self.assertNotIn("understands", done.stdout)

    def test_it_says_what_it_takes(self):
        for version in (4, 5):  # a binary that writes 4 wants to hear 4
            done = self.run_itself(b"tornadod upgrade %d\nmaster\t1\t0\t0\nlog\t0\t1\t\n"
                                   b"generation\t1\t0\t1\t1\t1\t1\t0\t-1\t\nend\n" % version)
            self.assertEqual((done.returncode, done.stdout.split("\n")[-2]),
                             (0, f"tornadod understands upgrade {version}"))


class FailedUpgrade(unittest.TestCase):
    def fails(self, daemon, pattern):
        workers = daemon.workers()
        done = daemon.command_line("upgrade")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, "^tornadod upgrade: .*" + pattern)
        self.assertEqual(daemon.workers(), workers)
        self.assertEqual(daemon.get("/pid").status, 200)

    def test_a_binary_that_is_no_good_changes_nothing(self):
        with Upgrading(["faults"]) as daemon:
            daemon.put_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
            self.fails(daemon, "it is broken")
            daemon.put_text("#!/bin/sh\nexit 3\n")
            self.fails(daemon, "ended its test with status 3")
            daemon.put("/bin/true")
            self.fails(daemon, "does not know what to take over")
            daemon.put_text("#!/bin/sh\necho tornadod understands upgrade 3\n")
            self.fails(daemon, r"does not know what to take over \(tornadod understands upgrade 5\)")
            daemon.put_text("no program", 0o644)
            self.fails(daemon, "Permission denied")
            os.unlink(daemon.program)
            self.fails(daemon, "No such file or directory")
            # It tests itself well, and is gone when it is to take over.
            daemon.put_text("#!/bin/sh\nrm \"$0\"\necho tornadod understands upgrade 5\n")
            self.fails(daemon, "No such file or directory")
            # The same, and another one has taken its place, which would be the end of the daemon.
            daemon.put_text("#!/bin/sh\necho '#!/bin/sh' > \"$0.new\"\nchmod 755 \"$0.new\"\n"
                            "mv \"$0.new\" \"$0\"\necho tornadod understands upgrade 5\n")
            self.fails(daemon, "has changed since it was tested")
            self.assertEqual(daemon.command_line("reload").returncode, 0)
            daemon.put(f"{harness.BUILD}/tornadod")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)

    def test_a_library_that_is_missing(self):
        with Upgrading(["faults"]) as daemon:
            os.rename(f"{daemon.folder}/libtornado.so.1", f"{daemon.folder}/gone")
            daemon.put(f"{harness.BUILD}/tornadod")
            self.fails(daemon, r"libtornado\.so\.1: cannot open shared object file")
            os.rename(f"{daemon.folder}/gone", f"{daemon.folder}/libtornado.so.1")
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)

    def test_settings_that_are_wrong(self):
        with Upgrading(["faults"]) as daemon:
            daemon.write_ini("[application]\nnonsense = 1\n")
            self.fails(daemon, r"tornadod\.ini:\d+: 'nonsense' is no key")
            os.unlink(daemon.ini_path)
            self.fails(daemon, r"tornadod\.ini: No such file or directory")
            daemon.write_ini()
            self.assertEqual(daemon.command_line("upgrade").returncode, 0)

    def test_a_binary_that_does_not_come_up_keeps_the_old_workers(self):
        with Upgrading(["faults", "unloadable"], ini="[handler:unloadable]\n", tornadod="workers = 2") as daemon:
            daemon.write_ini("[handler:unloadable]\nload = fail\n", tornadod="workers = 2")
            self.fails(daemon, "the database is not there")
            self.assertRegex(daemon.command_line("status").stdout, r"generation 1, serving")
            self.fails(daemon, "the database is not there")  # the new one can do it again
            os.kill(daemon.workers()[0], signal.SIGKILL)  # which nobody can replace yet
            daemon.wait_log("was killed by SIGKILL")
            self.assertEqual(daemon.get("/pid").status, 200)
            daemon.write_ini("[handler:unloadable]\n", tornadod="workers = 2")
            self.assertEqual(daemon.command_line("reload").returncode, 0)
            self.assertEqual(daemon.get("/unloadable").body, b"ok")

    def test_not_during_a_reload(self):
        with Upgrading(["faults", "unloadable"], ini="[handler:unloadable]\n") as daemon:
            daemon.write_ini("[handler:unloadable]\nstart = wait\n")
            lines = len(daemon.log.lines)
            os.kill(daemon.master, signal.SIGHUP)
            daemon.wait_log("] reloading", lines)
            done = daemon.command_line("upgrade")
            self.assertRegex(done.stderr, "there is no upgrade during")


if __name__ == "__main__":
    unittest.main()
