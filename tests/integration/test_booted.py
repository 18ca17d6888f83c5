"""Goal: what the units promise, in a systemd that has booted for it: restarts, kills, reloads, upgrades,
activation and rotation lose nothing, each instance is on its own, and all of it under the hardening.
"""

import contextlib
import errno
import gzip
import json
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
EXPOSURE_MAX = 1.5
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


def exposure(unit):
    said = machine.must("systemd-analyze", "security", "--no-pager", unit)
    return float(re.search(r"Overall exposure level for .*: ([0-9.]+)", said)[1])


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
        self.assertLessEqual(exposure("tornadod.service"), EXPOSURE_MAX)
        done = machine.run("systemd-analyze", "verify", "--man=no", "tornadod.service", "tornadod.socket",
                           "tornadod@shop.service")
        self.assertEqual([line for line in done.stderr.split("\n") if "tornadod" in line], [])

    def test_a_port_below_1024(self):
        """As the manual says."""
        self.drop_in("[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=\n"
                     "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nPrivateUsers=no\n")
        machine.write("/etc/tornadod/tornadod.ini", INI.replace("8080", "80"))
        machine.systemctl("restart", "tornadod")
        self.assertEqual(get(address=("127.0.0.1", 80)).status, 200)

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
        machine.wait(lambda: get().body != before, "the old generation goes on")

    def test_restarts_lose_nothing(self):
        with self.load() as loads:
            for _ in range(4):
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
        self.drop_in("[Service]\nWatchdogSec=2\n")
        machine.systemctl("start", "tornadod")
        machine.must("kill", "-STOP", str(machine.master()))
        self.assertEqual(get().status, 200)  # its workers go on
        machine.wait(lambda: machine.show("tornadod", "NRestarts") != "0", "it was not started again")
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
        self.drop_in("[Service]\nTimeoutStopSec=1500ms\n")
        self.start("drain_timeout = 20s")
        with harness.Connection(PUBLIC) as conn:
            conn.send(b"GET /slow?ms=3000 HTTP/1.1\r\nHost: x\r\n\r\n")
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

    def test_a_start_that_takes_its_time_is_given_it_and_says_what_held_it(self):
        machine.systemctl("stop", "tornadod")
        os.makedirs(machine.path("/srv/handlers"), exist_ok=True)
        shutil.copy(f"{harness.BUILD}/tests/handlers/unloadable.so", machine.path("/srv/handlers"))
        self.drop_in("[Service]\nTimeoutStartSec=1500ms\n")
        machine.write("/etc/tornadod/tornadod.ini",
                      INI.replace("[tornadod]\n", "[tornadod]\nhandlers = /srv/handlers\nstart_timeout = 2500ms\n")
                      + "[handler:unloadable]\nload = wait\n")
        self.assertNotEqual(machine.run("systemctl", "start", "tornadod").returncode, 0)
        self.assertEqual(machine.show("tornadod", "Result"), "exit-code")  # and not timeout
        self.assertRegex(self.status(), "unloadable")

    def test_a_start_with_wrong_settings_is_not_tried_again(self):
        machine.systemctl("stop", "tornadod")
        machine.write("/etc/tornadod/tornadod.ini", INI + "[tornadod]\nworkers = many\n")
        self.assertNotEqual(machine.run("systemctl", "start", "tornadod").returncode, 0)
        self.assertEqual(machine.show("tornadod", "ExecMainStatus"), "78")
        self.assertEqual(machine.show("tornadod", "ActiveState"), "failed")
        self.assertEqual(machine.show("tornadod", "NRestarts"), "0")
        self.assertRegex(self.status(), r"tornadod\.ini:\d+")


class Activation(unittest.TestCase):
    """tornadod.socket: the service begins with the first connection, and may come and go behind it."""

    address = ("127.0.0.1", 8090)

    def setUp(self):
        machine.write("/run/systemd/system/tornadod.socket.d/test.conf",
                      "[Socket]\nListenStream=\nListenStream=127.0.0.1:8090\nFileDescriptorName=public\n")
        machine.write("/run/systemd/system/tornadod-local.socket",
                      "[Socket]\nListenStream=/run/tornadod-local.sock\nFileDescriptorName=local\n"
                      "SocketUser=tornadod\nService=tornadod.service\n")
        machine.write("/etc/tornadod/tornadod.ini",
                      INI.replace("8080", "80").replace("/run/tornadod/http.sock", "/run/elsewhere.sock"))
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "tornadod.socket", "tornadod-local.socket")
        self.addCleanup(self.end)

    def end(self):
        machine.run("systemctl", "stop", "tornadod.socket", "tornadod-local.socket", "tornadod.service")
        machine.run("systemctl", "reset-failed", "tornadod.service")

    def test_the_first_connection_starts_it(self):
        self.assertEqual(machine.show("tornadod", "ActiveState"), "inactive")
        self.assertEqual(get(address=self.address).status, 200)
        machine.wait(lambda: machine.show("tornadod", "ActiveState") == "active", "it is not active")
        self.assertEqual(get(address=machine.path("/run/tornadod-local.sock")).status, 200)
        self.assertEqual(machine.show("tornadod", "NFileDescriptorStore"), "0")  # they are the units'
        machine.systemctl("stop", "tornadod.service")
        self.assertEqual(get(address=machine.path("/run/tornadod-local.sock")).status, 200)
        self.assertEqual(get(address=self.address).status, 200)

    def test_restarts_lose_nothing(self):
        with Load(self.address, "/pid", keep=4, fresh=4) as tcp, \
             Load(machine.path("/run/tornadod-local.sock"), "/pid", keep=4, fresh=4) as unix:
            for _ in range(3):
                machine.systemctl("restart", "tornadod")
                for load in (tcp, unix):
                    load.wait_for(100)
        for load in (tcp, unix):
            self.assertEqual((load.lost, load.reused), ([], 0))
        self.assertNotIn("is no listener's", machine.journal("tornadod"))

    def test_an_upgrade_knows_whose_they_are(self):
        get(address=self.address)
        machine.wait(lambda: machine.show("tornadod", "ActiveState") == "active", "it is not active")
        machine.systemctl("kill", "--signal=USR2", "--kill-who=main", "tornadod")
        machine.wait(lambda: "generation 2" in machine.show("tornadod", "StatusText"), "no upgrade")
        machine.systemctl("stop", "tornadod.service")
        self.assertEqual(get(address=machine.path("/run/tornadod-local.sock")).status, 200)


class Instances(unittest.TestCase):
    """tornadod@.service: one beside another, and beside tornadod.service."""

    ports = {"shop": 8091, "news": 8092}

    def setUp(self):
        machine.write("/etc/tornadod/tornadod.ini", INI)
        for name, port in self.ports.items():
            machine.write(f"/etc/tornadod/{name}.ini",
                          f"[tornadod]\nworkers = 1\n[listen:public]\naddress = 127.0.0.1:{port}\n"
                          f"[listen:local]\naddress = unix:/run/tornadod-{name}/http.sock\n"
                          f"[log]\ntarget = file\nfile = /var/log/tornadod-{name}/tornadod.log\n"
                          f"access_file = /var/log/tornadod-{name}/access.log\n")
        machine.systemctl("start", "tornadod@shop", "tornadod@news", "tornadod")
        self.addCleanup(machine.run, "systemctl", "stop", "tornadod", "tornadod@shop", "tornadod@news")

    def status_of(self, name):
        return json.loads(machine.must("tornadod", "status", "--json", "-c", f"/etc/tornadod/{name}.ini"))

    def test_each_has_its_own(self):
        uids = set()
        for unit in ("tornadod", "tornadod@shop", "tornadod@news"):
            status = machine.must("cat", f"/proc/{machine.master(unit)}/status")
            uids.add(re.search(r"^Uid:\t(\d+)", status, re.M)[1])
        self.assertEqual(len(uids), 3)
        self.assertNotIn("0", uids)
        self.assertLessEqual(exposure("tornadod@shop.service"), EXPOSURE_MAX)
        for name, port in self.ports.items():
            self.assertEqual(get(address=("127.0.0.1", port)).status, 200)
            self.assertEqual(get(address=machine.path(f"/run/tornadod-{name}/http.sock")).status, 200)
            self.assertEqual(self.status_of(name)["pid"], machine.master(f"tornadod@{name}"))
            for folder in ("/run", "/var/lib", "/var/log"):
                owner = machine.must("stat", "-L", "-c", "%U", f"{folder}/tornadod-{name}")
                self.assertEqual(owner, f"tornadod-{name}\n")

    def test_the_end_of_one_is_nothing_to_the_others(self):
        machine.systemctl("stop", "tornadod", "tornadod@news")
        self.assertEqual(self.status_of("shop")["pid"], machine.master("tornadod@shop"))
        self.assertEqual(get(address=machine.path("/run/tornadod-shop/http.sock")).status, 200)
        machine.systemctl("reload", "tornadod@shop")
        self.assertEqual(self.status_of("shop")["generation"], 2)
        self.assertEqual(machine.run("tornadod", "status", "-c", "/etc/tornadod/news.ini").returncode, 3)

    def test_restarts_lose_nothing(self):
        addresses = ("127.0.0.1", 8091), machine.path("/run/tornadod-shop/http.sock")
        with Load(addresses[0], "/pid") as tcp, Load(addresses[1], "/pid") as unix:
            for _ in range(2):
                machine.systemctl("restart", "tornadod@shop")
                for load in (tcp, unix):
                    load.wait_for(100)
        for load in (tcp, unix):
            self.assertEqual((load.lost, load.reused), ([], 0))

    def test_rotation(self):
        """As tornadod.logrotate says that it is done for them."""
        text = machine.read("/etc/logrotate.d/tornadod")
        text = text.replace("/var/log/tornadod/*.log", "/var/log/tornadod-shop/*.log")
        text = text.replace("    su tornadod tornadod\n", "").replace("tornadod.ini", "shop.ini")
        machine.write("/etc/logrotate.d/tornadod-shop", text)
        rotate_under_load(self, "/etc/logrotate.d/tornadod-shop", "/var/log/tornadod-shop", [("127.0.0.1", 8091)],
                          "tornadod@shop")


def lines_in(folder):
    """Of the access log there, rotated files and all."""
    lines = []
    for name in os.listdir(machine.path(folder)):
        if name.startswith("access.log"):
            opened = gzip.open if name.endswith(".gz") else open
            with opened(f"{machine.path(folder)}/{name}", "rt", encoding="utf-8") as file:
                lines += file.read().splitlines()
    return lines


def rotate_under_load(test, configuration, folder, addresses, unit):
    before = len(lines_in(folder))
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(address, "/pid", keep=3, fresh=3)) for address in addresses]
        for _ in range(4):
            for load in loads:
                load.wait_for(100)
            machine.wait(lambda: os.path.getsize(machine.path(f"{folder}/access.log")) > 0, "nothing to rotate")
            machine.must("logrotate", "--force", configuration)
    machine.systemctl("stop", unit)
    lines = lines_in(folder)
    test.assertEqual([line for line in lines if not re.match(r"\[I [0-9: ]+ access\] 200 GET /pid ", line)], [])
    test.assertEqual(len(lines) - before, sum(load.complete for load in loads))
    test.assertTrue(os.path.exists(machine.path(f"{folder}/access.log.2.gz")))
    test.assertEqual([(load.lost, load.reused) for load in loads], [([], 0)] * len(loads))


class Logs(Base):
    def test_rotation_loses_and_doubles_no_line(self):
        machine.write("/etc/tornadod/tornadod.ini", INI.replace("access = off", (
            "target = file\nfile = /var/log/tornadod/tornadod.log\n"
            "access_file = /var/log/tornadod/access.log")))
        machine.systemctl("restart", "tornadod")
        rotate_under_load(self, "/etc/logrotate.d/tornadod", "/var/log/tornadod", [PUBLIC, local()], "tornadod")

    def test_the_journal_knows_levels(self):
        machine.write("/etc/tornadod/tornadod.ini", INI.replace("access = off", ""))
        machine.systemctl("restart", "tornadod")
        get("/raise")
        get("/nowhere")
        get("/log?read+me")
        wanted = {"the cat ate it": 3, " 502 GET": 3, " 404 GET": 4, "read+me": 6, " 200 GET /log": 6,
                  "generation 1 serves": 6}
        found = {}

        def is_complete():
            entries = machine.entries("tornadod.service")
            found.update((word, priority) for priority, text in entries for word in wanted if word in text)
            return len(found) == len(wanted)

        machine.wait(is_complete, f"lines are missing: {found}")
        self.assertEqual(found, wanted)


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
