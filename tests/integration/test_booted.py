"""Goal: what the units promise, in a systemd that has booted for it: restarts, kills, reloads, upgrades,
activation and rotation lose nothing, each instance is on its own, and all of it under the hardening.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
import unittest

import booted
import harness
from load import Load

INI = """
[tornadod]
workers = 2
[listen:public]
address = 127.0.0.1:8080
[listen:local]
address = unix:/run/tornadod/http.sock
[log]
access = off
"""
PUBLIC = ("127.0.0.1", 8080)
HANDLERS = "/usr/lib/tornadod/handlers"

machine = None


def setUpModule():
    global machine
    booted.require()
    booted.leave_network()
    machine = booted.Machine()
    unittest.addModuleCleanup(machine.close)
    machine.__enter__()
    shutil.copy(f"{harness.BUILD}/tests/handlers/faults.so", machine.path(HANDLERS))


def local():
    return machine.path("/run/tornadod/http.sock")


def get(target="/pid", address=PUBLIC):
    with harness.Connection(address) as conn:
        return conn.request("GET", target)


class Base(unittest.TestCase):
    """tornadod.service, started anew for each test."""

    def setUp(self):
        machine.write("/etc/tornadod/tornadod.ini", INI)
        machine.systemctl("start", "tornadod")
        self.addCleanup(self.end)

    def end(self):
        machine.run("systemctl", "stop", "tornadod")
        machine.run("systemctl", "reset-failed", "tornadod")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(machine.path("/run/systemd/system/tornadod.service.d"))
            machine.systemctl("daemon-reload")

    def drop_in(self, text):
        machine.write("/run/systemd/system/tornadod.service.d/test.conf", text)
        machine.systemctl("daemon-reload")

    def status(self):
        return machine.show("tornadod", "StatusText")

    def wait_status(self, pattern):
        machine.wait(lambda: re.search(pattern, self.status()), f"the status is not {pattern}")

    @contextlib.contextmanager
    def load(self):
        """Clients on both listeners, half of which keep their connections."""
        with Load(PUBLIC, "/pid", keep=4, fresh=4) as tcp, Load(local(), "/pid", keep=4, fresh=4) as unix:
            yield tcp, unix


class Service(Base):
    def test_it_serves_under_the_hardening(self):
        self.assertEqual(machine.show("tornadod", "ActiveState"), "active")
        self.assertEqual(self.status(), "2 workers serve, generation 1")
        self.assertEqual((get().status, get(address=local()).status), (200, 200))
        worker = int(get().body)
        for pid in (machine.master(), worker):
            status = machine.must("cat", f"/proc/{pid}/status")
            for wanted in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
                           "Seccomp:\t2"):
                self.assertIn(wanted, status)
            self.assertNotIn("Uid:\t0\t", status)
        exposure = machine.must("systemd-analyze", "security", "--no-pager", "tornadod.service")
        found = re.search(r"Overall exposure level for .*: ([0-9.]+)", exposure)
        self.assertLessEqual(float(found[1]), 1.5)

    def test_a_reload_tells_its_outcome(self):
        machine.systemctl("reload", "tornadod")
        self.assertEqual(self.status(), "2 workers serve, generation 2")
        machine.write("/etc/tornadod/tornadod.ini", INI + "[tornadod]\nworkers = many\n")
        before = get().body
        self.assertNotEqual(machine.run("systemctl", "reload", "tornadod").returncode, 0)
        self.assertRegex(self.status(), r"reload failed: /etc/tornadod/tornadod\.ini:\d+:? ")
        self.assertEqual(machine.show("tornadod", "ActiveState"), "active")
        self.assertEqual(get().status, 200)
        self.assertRegex(machine.must("tornadod", "status", "-c", "/etc/tornadod/tornadod.ini"), "generation 2")
        machine.write("/etc/tornadod/tornadod.ini", INI)
        machine.systemctl("reload", "tornadod")
        self.assertNotEqual(get().body, before)

    def test_restarts_lose_nothing(self):
        with self.load() as loads:
            for _ in range(6):
                before = machine.master()
                machine.systemctl("restart", "tornadod")
                self.assertNotEqual(machine.master(), before)
                for load in loads:
                    load.wait_for(100)
        for load in loads:
            self.assertEqual((load.lost, load.reused), ([], 0))

    def test_a_killed_master_is_replaced_and_nobody_refused(self):
        with self.load() as loads:
            for load in loads:
                load.wait_for(100)
            machine.systemctl("kill", "--signal=KILL", "--kill-who=main", "tornadod")
            machine.wait(lambda: machine.show("tornadod", "NRestarts") == "1", "it was not started again")
            for load in loads:
                load.wait_for(100)
        for load in loads:
            self.assertFalse([error for error in load.lost if "refused" in error.lower()])
            self.assertLessEqual(len(load.lost) + load.reused, 8)  # what was inside, at most

    def test_a_killed_worker_is_replaced_by_the_master(self):
        master = machine.master()
        worker = get().body.decode()
        machine.must("kill", "-KILL", worker)
        machine.wait(lambda: not os.path.exists(machine.path(f"/proc/{worker}")), "it lives on")
        self.wait_status("2 workers serve")
        self.assertEqual(get().status, 200)
        self.assertEqual(machine.master(), master)
        self.assertEqual(machine.show("tornadod", "NRestarts"), "0")

    def test_a_master_that_hangs_is_replaced(self):
        self.end()
        self.drop_in("[Service]\nWatchdogSec=1\n")
        machine.systemctl("start", "tornadod")
        machine.must("kill", "-STOP", str(machine.master()))
        self.assertEqual(get().status, 200)  # its workers go on
        machine.wait(lambda: machine.show("tornadod", "NRestarts") == "1", "it was not started again")
        machine.wait(lambda: machine.show("tornadod", "ActiveState") == "active", "it does not start")
        self.assertEqual(machine.show("tornadod", "Result"), "success")
        self.assertEqual(get().status, 200)
        self.assertIn("Watchdog timeout", machine.journal())

    def test_an_upgrade_keeps_the_pid(self):
        master = machine.master()
        program = machine.path("/usr/sbin/tornadod")
        with self.load() as loads:
            for generation in (2, 3):
                shutil.copy(program, program + ".new")
                os.rename(program + ".new", program)
                machine.systemctl("kill", "--signal=USR2", "--kill-who=main", "tornadod")
                self.wait_status(f"generation {generation}")
                for load in loads:
                    load.wait_for(100)
            self.assertEqual(machine.master(), master)
            self.assertEqual(machine.show("tornadod", "ActiveState"), "active")
            machine.systemctl("restart", "tornadod")  # what is in the store has outlived it
            for load in loads:
                load.wait_for(100)
        for load in loads:
            self.assertEqual((load.lost, load.reused), ([], 0))


class Stored(Base):
    """Listeners that the manager keeps over a restart."""

    def restart(self, ini):
        machine.write("/etc/tornadod/tornadod.ini", ini)
        machine.systemctl("restart", "tornadod")

    def stored(self):
        return int(machine.show("tornadod", "NFileDescriptorStore"))

    def test_many_at_once(self):
        """More than a queue of datagrams holds."""
        self.restart(INI + "".join(f"[listen:n{n}]\naddress = 127.0.0.1:{9000 + n}\n" for n in range(50)))
        self.assertEqual(self.stored(), 52)

    def test_one_that_has_another_name_now(self):
        self.restart(INI.replace("[listen:public]", "[listen:web]"))
        self.assertEqual((get().status, self.stored()), (200, 2))
        self.restart(INI.replace("[listen:public]", "[listen:web]").replace("8080", "8081")
                     + "[listen:public]\naddress = 127.0.0.1:8080\n")
        self.assertEqual((get().status, get(address=("127.0.0.1", 8081)).status, self.stored()), (200, 200, 3))
        machine.write("/etc/tornadod/tornadod.ini", INI.replace("8080", "8081"))
        machine.systemctl("reload", "tornadod")
        machine.wait(lambda: self.stored() == 2, "it is stored for nobody")
        with socket.socket() as client:
            self.assertEqual(client.connect_ex(PUBLIC), errno.ECONNREFUSED)

    def test_one_that_nobody_wants_any_more(self):
        self.restart(INI.replace("/run/tornadod/http.sock", "/run/tornadod/other.sock"))
        self.assertEqual(self.stored(), 2)
        self.assertFalse(os.path.exists(local()))
        self.assertEqual(get(address=machine.path("/run/tornadod/other.sock")).status, 200)

    def test_a_name_in_the_file_system_that_is_gone(self):
        os.unlink(local())
        machine.systemctl("restart", "tornadod")
        self.assertEqual(get(address=local()).status, 200)

    def test_a_socket_for_each_worker(self):
        self.restart(INI.replace("8080", "8080\nreuseport = on").replace("workers = 2", "workers = 4"))
        self.assertEqual(self.stored(), 5)
        with self.load() as loads:
            for _ in range(2):
                machine.systemctl("restart", "tornadod")
                for load in loads:
                    load.wait_for(100)
        for load in loads:
            self.assertEqual((load.lost, load.reused), ([], 0))
        self.assertEqual(self.stored(), 5)


class Stops(Base):
    def start(self, settings):
        machine.write("/etc/tornadod/tornadod.ini", INI.replace("[tornadod]\n", f"[tornadod]\n{settings}\n"))
        machine.systemctl("restart", "tornadod")

    def test_work_in_flight_has_drain_timeout_whatever_the_unit_says(self):
        self.drop_in("[Service]\nTimeoutStopSec=500ms\n")
        self.start("drain_timeout = 20s")
        with harness.Connection(PUBLIC) as conn:
            conn.send(b"GET /slow?ms=2000 HTTP/1.1\r\nHost: x\r\n\r\n")
            get()
            machine.systemctl("stop", "tornadod")
            self.assertEqual(conn.response().body, b"slow")
        self.assertEqual(machine.show("tornadod", "Result"), "success")

    def test_what_never_ends_is_ended(self):
        self.start("drain_timeout = 500ms")
        with harness.Connection(PUBLIC) as waiting, harness.Connection(PUBLIC) as blocking:
            waiting.send(b"GET /slow?ms=600000 HTTP/1.1\r\nHost: x\r\n\r\n")
            blocking.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            get()
            machine.systemctl("stop", "tornadod")
        self.assertEqual(machine.show("tornadod", "Result"), "success")
        self.assertEqual(machine.show("tornadod", "ActiveState"), "inactive")

    def test_a_start_with_wrong_settings_is_not_tried_again(self):
        machine.systemctl("stop", "tornadod")
        machine.write("/etc/tornadod/tornadod.ini", INI + "[tornadod]\nworkers = many\n")
        self.assertNotEqual(machine.run("systemctl", "start", "tornadod").returncode, 0)
        self.assertEqual(machine.show("tornadod", "ExecMainStatus"), "78")
        self.assertEqual(machine.show("tornadod", "ActiveState"), "failed")
        self.assertEqual(machine.show("tornadod", "NRestarts"), "0")
        self.assertRegex(self.status(), r"tornadod\.ini:\d+")


class Ends(unittest.TestCase):
    def test_with_the_one_who_started_it(self):
        """A machine of its own, whose starter is killed: nothing of it is left."""
        script = ("import booted, sys\n"
                  "machine = booted.Machine().__enter__()\n"
                  "print(machine.init, machine.folder, flush=True)\n"
                  "sys.stdin.read()\n")
        starter = subprocess.Popen(["/usr/bin/python3", "-c", script], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, cwd=os.path.dirname(__file__))
        init, folder = starter.stdout.readline().decode().split()
        starter.kill()
        starter.communicate()
        harness.wait_until(lambda: not os.path.exists(f"/proc/{init}") and not os.path.exists(folder),
                           "it lives on")


if __name__ == "__main__":
    unittest.main()
