"""Goal: a daemon that runs answers who may ask, is not to be confused by who may not, and the commands
of the command line tell what came of what they asked for.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import termios
import time
import unittest

import harness

IN_OWN_RUN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && mkdir /run/tornadod && exec "$@"', "sh")

LINE_MAX = 4600
CLIENTS_MAX = 16


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # waits for room in the queue, which one with a time-out would not
    sock.settimeout(harness.DEADLINE)
    return sock


def read_all(sock):
    received = b""
    with contextlib.suppress(ConnectionResetError):  # when it did not want to hear the rest
        while data := sock.recv(65536):
            received += data
    return received


def ask(path, request):
    with connect(path) as sock:
        with contextlib.suppress(BrokenPipeError):  # when it answered before we asked
            sock.sendall(request)
        return read_all(sock)


class Commands(unittest.TestCase):
    def test_status_as_people_and_programs_read_it(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            daemon.get("/pid")
            done = daemon.command_line("status", "--json")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            status = json.loads(done.stdout)
            self.assertEqual(status["pid"], daemon.master)
            self.assertEqual(status["state"], "serving")
            self.assertEqual(status["ini"], os.path.realpath(daemon.ini_path))
            self.assertEqual(status["requests"], 1)
            self.assertEqual(status["last_reload"], None)
            self.assertEqual(status["listeners"], [{"name": "default", "url": f"http://127.0.0.1:{daemon.port}",
                                                    "reuseport": False, "sockets": 1}])
            generation, = status["generations"]
            self.assertEqual({worker["pid"] for worker in generation["workers"]}, set(daemon.workers()))
            self.assertEqual({worker["state"] for worker in generation["workers"]}, {"ready"})
            text = daemon.command_line("status").stdout
            self.assertRegex(text, rf"^tornadod \S+, pid {daemon.master}: serving, up \d+s\n")
            for worker in daemon.workers():
                self.assertRegex(text, rf"\n +\d +{worker} +ready ")

    def test_reload_tells_the_outcome(self):
        with harness.Daemon(["faults"]) as daemon:
            before = daemon.workers()
            done = daemon.command_line("reload")
            self.assertEqual((done.returncode, done.stdout, done.stderr),
                             (0, "generation 2 serves: 1 worker, 1 handler\n", ""))
            daemon.wait_replaced(before)
            daemon.write_ini("[application]\nnonsense = 1\n")
            done = daemon.command_line("reload")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"^tornadod reload: \S+tornadod\.ini:\d+: 'nonsense' is no key")
            last = json.loads(daemon.command_line("status", "--json").stdout)["last_reload"]
            self.assertFalse(last["ok"])
            self.assertRegex(last["text"], "'nonsense' is no key")
            self.assertRegex(daemon.command_line("status").stdout, r"last reload .* FAILED: ")

    def test_many_reloads_at_once_are_all_answered(self):
        with harness.Daemon(["faults"]) as daemon:
            before = harness.descriptors(daemon.master)
            socks = [connect(daemon.control) for _ in range(CLIENTS_MAX)]
            harness.wait_until(lambda: harness.descriptors(daemon.master) >= before + CLIENTS_MAX,
                               "it has not accepted them all")
            os.kill(daemon.master, signal.SIGSTOP)  # or the first may be done before the last is asked for
            for sock in socks:
                sock.sendall(b"reload\n")
            os.kill(daemon.master, signal.SIGCONT)
            for sock in socks:
                self.assertRegex(read_all(sock), rb"^ok\ngeneration [23] serves")
                sock.close()
            self.assertLessEqual(daemon.log.text().count("] reloading"), 2)

    def test_a_stop_waits_for_the_end(self):
        with harness.Daemon(["faults"]) as daemon, daemon.connect() as conn:
            conn.send(b"GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n")
            daemon.get("/pid")
            done = daemon.command_line("stop")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            self.assertEqual(conn.response().body, b"slow")
            self.assertEqual(daemon.wait(), 0)
            self.assertFalse(os.path.exists(daemon.control))
            done = daemon.command_line("status")
            self.assertEqual(done.returncode, 3)
            self.assertRegex(done.stderr, "no daemon at .*control.sock")

    @unittest.skipUnless(shutil.which("strace"), "there is no strace")
    @unittest.skipIf(harness.SANITIZED, "the leak checker cannot run under strace")
    def test_a_stop_ends_when_nothing_is_left(self):
        """However long the rest takes: who starts another daemon then finds all free, and who asks finds none."""
        slowly = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=?unlink,?unlinkat", "-e",
                  "inject=?unlink,?unlinkat:delay_enter=200000")
        with harness.Daemon(["faults"], tornadod="pid_file = own.pid", wrapper=slowly) as daemon:
            self.assertEqual(daemon.command_line("stop").returncode, 0)
            self.assertEqual([name for name in ("own.pid", os.path.basename(daemon.control))
                              if os.path.exists(f"{daemon.folder}/{name}")], [])
            self.assertEqual(daemon.command_line("status").returncode, 3)
            self.assertEqual(daemon.wait(), 0)

    @contextlib.contextmanager
    def reload_that_a_stop_overtakes(self):
        """It is asked for, and waits for a handler; what the block does ends the daemon."""
        with harness.Daemon(["faults", "unloadable"], ini="[handler:unloadable]\n") as daemon:
            daemon.write_ini("[handler:unloadable]\nstart = wait\n")
            lines = len(daemon.log.lines)
            with connect(daemon.control) as sock:
                sock.sendall(b"reload\n")
                daemon.wait_log("] reloading", lines)
                yield daemon
                self.assertEqual(read_all(sock), b"error the daemon is stopping")

    def test_a_reload_that_a_stop_overtakes_is_answered(self):
        with self.reload_that_a_stop_overtakes() as daemon:
            os.kill(daemon.master, signal.SIGTERM)

    def test_the_end_takes_no_answer_along(self):
        """All at once: the reload is refused, and nothing is left that the daemon has to wait for."""
        with self.reload_that_a_stop_overtakes() as daemon:
            os.kill(daemon.master, signal.SIGSTOP)
            for child in harness.children(daemon.master):
                os.kill(child, signal.SIGKILL)
            os.kill(daemon.master, signal.SIGTERM)
            os.kill(daemon.master, signal.SIGCONT)

    def test_reopen(self):
        with harness.Daemon(["faults"], ini="[log]\naccess_file = access.log\n") as daemon:
            path = f"{daemon.folder}/access.log"
            daemon.get("/pid")
            os.rename(path, path + ".1")
            self.assertEqual(daemon.command_line("reopen").returncode, 0)
            self.assertTrue(os.path.exists(path))

    def test_handlers_are_listed_and_released(self):
        with harness.Daemon(["faults"], tornadod="workers = 2\nquarantine_crashes = 1",
                            ini="[handler:other]\nfile = faults.so\nmount = /other\n[handler:faults]\n") as daemon:
            self.assertRegex(daemon.command_line("handlers").stdout, r"\nother +faults\.so .* serves\n")
            with daemon.connect() as conn:
                conn.send(b"GET /other/segv HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.rest()
            daemon.wait_log("handler other .* is quarantined")
            harness.wait_until(lambda: daemon.get("/other/pid").status == 503, "in quarantine")
            self.assertRegex(daemon.command_line("handlers").stdout, r"\nother .* in quarantine\n")
            self.assertRegex(daemon.command_line("status").stdout, r"in quarantine: other \(faults\.so\)")
            self.assertEqual(daemon.get("/pid").status, 200)
            done = daemon.command_line("handlers", "release", "faults")
            self.assertEqual((done.returncode, done.stderr),
                             (1, "tornadod handlers: faults is no handler in quarantine\n"))
            before = daemon.workers()
            done = daemon.command_line("handlers", "release", "other")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            daemon.wait_replaced(before)
            harness.wait_until(lambda: len(daemon.workers()) == 2 and not set(before) & set(daemon.workers()),
                               "two new workers")
            for _ in range(10):
                self.assertEqual(daemon.get("/other/pid").status, 200)

    def test_top(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            daemon.get("/pid")
            done = daemon.command_line("top", "--once")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("1 requests", done.stdout)
            self.assertNotIn("\033", done.stdout)
            for worker in daemon.workers():
                self.assertRegex(done.stdout, rf"\n +1 +\d +{worker} +ready ")
            self.assertRegex(done.stdout, r"\n +[\d.]+ +1  /pid  faults\n")

    def test_top_fits_its_terminal(self):
        upstreams = ", ".join(f"127.0.0.1:{port}" for port in range(1, 21))
        for rows, upstreams_shown in (10, 0), (16, 3):
            with self.subTest(rows), harness.Daemon(
                    ["faults", "conformance", "gateway"], tornadod="workers = 2\ncontrol = own.sock",
                    ini=f"[handler:gateway]\nmount = /shop\nupstreams = {upstreams}\n") as daemon:
                for status in range(200, 230):
                    daemon.get(f"/status/{status}")
                for target in ("/pid", "/plaintext", "/post", "/nowhere"):
                    daemon.get(target)
                picture = self.picture(daemon, rows)
                self.assertEqual(picture.count(b"\n"), rows - 1)  # the cursor is in the last one
                self.assertEqual(picture.count(b"  gateway\r\n"), upstreams_shown)
                self.assertIn(b"/status/([0-9]+)", picture)

    def picture(self, daemon, rows):
        """The first one, on a terminal of so many rows."""
        ours, its = os.openpty()
        with open(ours, "rb", buffering=0) as terminal:
            fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 40, 0, 0))
            top = subprocess.Popen([f"{harness.BUILD}/tornadod", "top", "-c", daemon.ini_path],
                                   stdin=its, stdout=its, stderr=its, cwd=daemon.folder)
            os.close(its)
            text = b""
            while b"\033[?7h" not in text:  # it is whole
                text += terminal.read(4096)
            top.send_signal(signal.SIGINT)
            self.assertEqual(top.wait(harness.DEADLINE), -signal.SIGINT)
        self.assertTrue(text.startswith(b"\033[H\033[J\033[?7l"))
        return text[:text.index(b"\033[?7h")]

    def test_they_find_it_through_the_same_ini(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ncontrol = own.sock") as daemon:
            done = harness.run("status", "-c", daemon.ini_path)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            # Another ini that names the same socket by mistake.
            with open(f"{daemon.folder}/other.ini", "w", encoding="ascii") as file:
                file.write("[tornadod]\ncontrol = own.sock\n")
            done = harness.run("stop", "-c", f"{daemon.folder}/other.ini")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"the daemon of \S+/tornadod\.ini and not that of \S+/other\.ini")
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_a_mistake_in_the_settings_does_not_hide_it(self):
        mistakes = ("[log]\nnonsense = 1\n", "nonsense\n")
        for mistake in mistakes:
            with self.subTest(mistake), harness.Daemon(["faults"], tornadod="control = own.sock") as daemon:
                daemon.write_ini(mistake, tornadod="control = own.sock")
                done = harness.run("status", "-c", daemon.ini_path)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                done = harness.run("reload", "-c", daemon.ini_path)
                self.assertEqual(done.returncode, 1)
                daemon.wait_log("reload failed: .*tornadod.ini:")
                self.assertEqual(harness.run("stop", "-c", daemon.ini_path).returncode, 0)
                done = harness.run("status", "-c", daemon.ini_path)  # nobody is there: then it is the mistake
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"tornadod\.ini:\d+: ")

    def test_off(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ncontrol = off") as daemon:
            done = harness.run("status", "-c", daemon.ini_path)
            self.assertEqual(done.returncode, 3)
            self.assertIn("control is off", done.stderr)

    def test_one_that_is_stuck_does_not_hold_us_up_for_ever(self):
        with harness.Daemon(["faults"]) as daemon:
            os.kill(daemon.master, signal.SIGSTOP)
            try:
                done = daemon.command_line("reopen")
            finally:
                os.kill(daemon.master, signal.SIGCONT)
            self.assertEqual(done.returncode, 1)
            self.assertIn("does not answer", done.stderr)


class Socket(unittest.TestCase):
    def test_it_is_for_its_owner_alone(self):
        with harness.Daemon(["faults"]) as daemon:
            mode = os.stat(daemon.control)
            self.assertTrue(stat.S_ISSOCK(mode.st_mode))
            self.assertEqual(stat.S_IMODE(mode.st_mode), 0o600)

    @unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
    def test_strangers_are_refused_and_the_group_is_not(self):
        program = ("import os, socket, sys; os.setgroups([int(g) for g in sys.argv[2].split()]); os.setgid(65534);"
                   "os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
                   "print(s.recv(20, socket.MSG_WAITALL) if sys.argv[2] == '' else (s.sendall(b'status\\n'), s.recv(20))[1])")

        def ask_as_nobody(daemon, groups):
            return subprocess.run(["/usr/bin/python3", "-c", program, daemon.control, groups], text=True,
                                  capture_output=True, check=False, timeout=harness.DEADLINE)

        with harness.Daemon(["faults"], tornadod="workers = 1\ncontrol_group = daemon") as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(daemon.control).st_mode), 0o660)
            self.assertIn("Permission denied", ask_as_nobody(daemon, "").stderr)
            self.assertIn(r"ok\n", ask_as_nobody(daemon, "1").stdout)
            os.chmod(daemon.control, 0o666)  # even where the file would let them
            self.assertEqual(ask_as_nobody(daemon, "").stdout, "b'error you may not as'\n")
            daemon.wait_log("uid 65534 may not ask")

    def test_a_lock_is_nobody_elses_to_take(self):
        with harness.Daemon(["faults"]) as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(daemon.control + ".lock").st_mode), 0o600)

    def test_what_is_there_instead_keeps_its_mode(self):
        with harness.Daemon(["faults"]) as daemon:
            other = daemon.control + ".other"
            with open(other, "w", encoding="ascii"):
                os.chmod(other, 0o644)
            os.unlink(daemon.control)
            os.symlink(other, daemon.control)
            os.kill(daemon.process.pid, signal.SIGHUP)
            daemon.wait_log("reload failed: control = ")
            self.assertEqual(stat.S_IMODE(os.stat(other).st_mode), 0o644)

    def test_no_such_group(self):
        done = harness.run("--set", "tornadod.control=/tmp/none.sock", "--set",
                           "tornadod.control_group=nosuchgroup", "--set", "listen:x.address=127.0.0.1:0")
        self.assertEqual(done.returncode, 78)
        self.assertIn("control_group = nosuchgroup: there is no such group", done.stderr)

    def test_a_stale_one_is_replaced_and_a_live_one_is_not(self):
        daemon = harness.Daemon(["faults"])
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(daemon.control)
        stale.close()
        with daemon:
            self.assertEqual(daemon.command_line("status").returncode, 0)
            second = harness.run(*daemon.command[1:])
            self.assertEqual(second.returncode, 1)
            self.assertRegex(second.stderr, "control = .*: another tornadod holds it")
            self.assertEqual(daemon.command_line("status").returncode, 0)

    def test_after_a_kill_the_next_one_takes_it(self):
        daemon = harness.Daemon(["faults"])
        try:
            daemon.start()
            daemon.process.kill()
            daemon.process.wait()
            daemon.start()
            self.assertEqual(daemon.command_line("status").returncode, 0)
        finally:
            daemon.close()

    def test_what_is_no_socket_stays(self):
        daemon = harness.Daemon(["faults"])
        self.addCleanup(daemon.close)
        with open(daemon.control, "w", encoding="ascii") as file:
            file.write("precious")
        with self.assertRaisesRegex(AssertionError, "is there and is no socket"):
            daemon.start()
        self.assertTrue(os.path.exists(daemon.control))


class Strangers(unittest.TestCase):
    def test_what_is_no_request_is_refused(self):
        cases = [b"\n", b"nonsense\n", b"status x\n", b"status\tx\n", b"status\t\t\t\n", b"sta\0tus\n",
                 b"status\r\n", b"\tstatus\n", b"status\nstatus\n", b"release\n", b"\xff\n",
                 b"STATUS\n", b"release\ta\x1bb\n"]
        with harness.Daemon(["faults"]) as daemon:
            for case in cases:
                with self.subTest(case):
                    self.assertEqual(ask(daemon.control, case), b"error that is no request")
            self.assertEqual(ask(daemon.control, b"s" * LINE_MAX), b"error the request is too long")
            self.assertEqual(ask(daemon.control, b"s" * (LINE_MAX - 1) + b"\n"), b"error that is no request")
            self.assertTrue(ask(daemon.control, b"status\n").startswith(b"ok\n{"))

    def test_bytes_may_come_one_by_one(self):
        with harness.Daemon(["faults"]) as daemon, connect(daemon.control) as sock:
            for byte in b"status\n":
                sock.send(bytes([byte]))
            sock.shutdown(socket.SHUT_WR)
            self.assertTrue(read_all(sock).startswith(b"ok\n{"))

    def test_the_number_of_those_who_ask_is_bounded(self):
        with harness.Daemon(["faults"]) as daemon:
            silent = [connect(daemon.control) for _ in range(CLIENTS_MAX)]
            self.assertEqual(ask(daemon.control, b""), b"error too many ask at once")
            silent.pop().close()
            harness.wait_until(lambda: ask(daemon.control, b"status\n").startswith(b"ok\n"), "room again")
            for sock in silent:
                sock.close()

    def test_those_who_leave_or_never_read_do_no_harm(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            for request in (b"", b"sta", b"status\n", b"reload\n"):
                for _ in range(20):
                    with connect(daemon.control) as sock:
                        sock.sendall(request)
            self.assertEqual(daemon.get("/pid").status, 200)
            harness.wait_until(lambda: ask(daemon.control, b"status\n").startswith(b"ok\n"), "room again")

    @unittest.skipIf(harness.SANITIZED, "waits for a time-out")
    def test_a_silent_one_is_closed(self):
        with harness.Daemon(["faults"]) as daemon, connect(daemon.control) as sock:
            began = time.monotonic()
            self.assertEqual(read_all(sock), b"")
            self.assertGreater(time.monotonic() - began, 5)


class Shared(unittest.TestCase):
    """Two daemons that are not told where their sockets are to be."""

    def test_the_second_says_that_commands_do_not_reach_it(self):
        if subprocess.run([*IN_OWN_RUN, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no mount namespace of one's own")
        unset = "workers = 1\n; control = is not set"
        with harness.Daemon(wrapper=IN_OWN_RUN, tornadod=unset) as first:
            there = ("nsenter", "-t", str(first.master), "-m")
            with harness.Daemon(wrapper=there, tornadod=unset) as second:
                second.wait_log(r"^\[W .*control = /run/tornadod/control.sock: another tornadod holds it: commands reach "
                                r"that one and not this one; set control in \[tornadod\]")
                for daemon, status, said in ((first, 0, "generation 1, serving"),
                                             (second, 1, f"here serves the daemon of {first.ini_path} and not")):
                    done = subprocess.run([*there, f"{harness.BUILD}/tornadod", "status", "-c", daemon.ini_path],
                                          capture_output=True, text=True, check=False, timeout=harness.DEADLINE)
                    self.assertEqual(done.returncode, status)
                    self.assertRegex(done.stdout + done.stderr, said)


if __name__ == "__main__":
    unittest.main()
