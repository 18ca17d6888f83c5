"""Goal: what the settings say is listened on; connections spread over the workers; running out of
descriptors costs new connections and nothing else.
"""

import collections
import contextlib
import os
import re
import socket
import stat
import time
import unittest

import harness

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class Addresses(unittest.TestCase):
    def test_unix_sockets(self):
        with harness.Daemon(["faults"], listeners={}, ini="[listen:u]\naddress = unix:sock\nmode = 0600\n"
                            .replace("unix:sock", "unix:/tmp/tornadod-test-%d.sock" % os.getpid())) as daemon:
            path = "/tmp/tornadod-test-%d.sock" % os.getpid()
            daemon.wait_log(f"listening on unix:{path}")
            mode = os.stat(path)
            self.assertTrue(stat.S_ISSOCK(mode.st_mode))
            self.assertEqual(stat.S_IMODE(mode.st_mode), 0o600)
            with harness.Connection(path) as conn:
                self.assertEqual(conn.request("GET", "/pid").status, 200)
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(os.path.exists(path))
            self.assertIn("(unix:)", daemon.log.text())

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_ipv6(self):
        with harness.Daemon(["faults"], listeners={}, ini="[listen:six]\naddress = [::1]:0\n") as daemon:
            port = int(daemon.wait_log(r"listening on http://\[::1\]:\d+").rsplit(":", 1)[1])
            with socket.create_connection(("::1", port)) as conn:
                conn.sendall(GET % b"/pid")
                self.assertTrue(conn.recv(100).startswith(b"HTTP/1.1 200 OK\r\n"))
            daemon.wait_log(r"\(::1\)")

    def test_port_0_is_a_port_for_each_section(self):
        ini = "[listen:a]\naddress = 127.0.0.1:0\n[listen:b]\naddress = 127.0.0.1:0\n"
        with harness.Daemon(["faults"], listeners={}, ini=ini) as daemon:
            def ports():
                return set(re.findall(r"listening on http://127.0.0.1:(\d+)", daemon.log.text()))

            self.assertEqual(len(ports()), 2)
            daemon.reload() # and each keeps its own
            self.assertEqual(len(ports()), 2)

    def test_each_listener_has_its_application(self):
        ini = ("[application:other]\nserver_header = other\n"
               "[handler:unloadable]\napplication = other\n")
        with harness.Daemon(["faults", "unloadable"], ini=ini,
                            listeners={"a": "", "b": "application = other"}) as daemon:
            self.assertEqual(daemon.get("/pid", "a").status, 200)
            self.assertEqual(daemon.get("/unloadable", "a").status, 404)
            self.assertEqual(daemon.get("/pid", "b").status, 404)
            self.assertEqual(daemon.get("/unloadable", "b").header("Server"), "other")

    def test_refusals_say_who_serves_as_their_application_does(self):
        ini = "[application:named]\nserver_header = me/1\n[application:silent]\nserver_header =\n"
        listeners = {name: f"application = {name}\nmax_connections = 1\ndefer_accept = off"
                     for name in ("default", "named", "silent")}
        names = {"default": "^tornadod/", "named": "^me/1$", "silent": "^None$"}
        with harness.Daemon(["hello"], ini=ini, listeners=listeners) as daemon:
            for listener, name in names.items():
                with daemon.connect(listener) as conn:
                    self.assertRegex(str(conn.request("GET", "/").header("Server")), name)
                    with daemon.connect(listener) as other:
                        refused = other.response()  # there is no room for one more
                    self.assertEqual(refused.status, 503)
                    self.assertRegex(str(refused.header("Server")), name)
                    self.assertRegex(refused.header("Date"), " GMT$")
                    conn.send(b"GET\r\n\r\n")
                    refused = conn.response()
                    self.assertEqual(refused.status, 400)
                    self.assertRegex(str(refused.header("Server")), name)

    def test_a_busy_port_is_one_clear_line_and_exit_1(self):
        for reuseport in ("off", "on"):
            with self.subTest(reuseport), harness.Daemon(
                    ["faults"], listeners={"default": f"reuseport = {reuseport}"}) as daemon:
                address = "%s:%d" % daemon.addresses["default"]
                done = harness.run("--set", f"listen:x.address={address}", "--set",
                                   f"listen:x.reuseport={reuseport}", "--set",
                                   f"tornadod.handlers={daemon.handlers}", *harness.UNCONTROLLED)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"^\[C [^\n]*\] listen {address}: Address already in use\n$")

    def test_an_address_that_is_none_is_a_setting_that_is_wrong(self):
        done = harness.run("--set", "listen:x.address=localhost")
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, "--set: .*localhost")


class Spread(unittest.TestCase):
    def spread(self, daemon, count):
        """How many of so many connections each worker has; all are open at once."""
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(daemon.connect()) for _ in range(count)]
            return collections.Counter(conn.request("GET", "/pid").body for conn in connections)

    def test_shared_sockets_reach_all_workers(self):
        with harness.Daemon(["faults"], tornadod="workers = 2",
                            listeners={"default": "max_accepts = 1"}) as daemon:
            workers = set()
            for _ in range(200):
                workers |= set(self.spread(daemon, 20))
                if len(workers) == 2:
                    return
            self.fail("one worker has all connections")

    def test_reuseport_is_even(self):
        with harness.Daemon(["faults"], tornadod="workers = 4",
                            listeners={"default": "reuseport = on"}) as daemon:
            spread = self.spread(daemon, 400)
            self.assertEqual(len(spread), 4)
            self.assertGreater(min(spread.values()), 50)  # 100 each, spread by a hash
            daemon.write_ini(tornadod="workers = 2")  # the sockets of the others go on being served
            daemon.reload()
            self.assertEqual(sum(self.spread(daemon, 400).values()), 400)

    def test_many_connections_at_once_are_all_served(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            self.assertEqual(sum(self.spread(daemon, 500).values()), 500)


class Descriptors(unittest.TestCase):
    LIMIT = 64

    def test_running_out_of_them(self):
        limit = ["prlimit", f"--nofile={self.LIMIT}", "--"]
        with harness.Daemon(["faults"], wrapper=limit) as daemon, contextlib.ExitStack() as stack:
            worker = daemon.workers()[0]
            first = stack.enter_context(daemon.connect())
            self.assertEqual(first.request("GET", "/pid").status, 200)
            started = harness.cpu_seconds(worker)
            lines = len(daemon.log.lines)
            crowd = [stack.enter_context(daemon.connect()) for _ in range(2 * self.LIMIT)]
            for conn in crowd:
                conn.send(b"GET /pid HT")
            daemon.wait_log("accept: Too many open files", lines)
            for _ in range(200):  # those that are there are served meanwhile
                self.assertEqual(first.request("GET", "/slow?ms=5").status, 200)
            self.assertLess(harness.cpu_seconds(worker) - started, 0.5)
            told = [line for line in daemon.log.lines[lines:] if "access]" not in line]
            self.assertLess(len(told), 10, told)
            for conn in crowd:
                conn.close()
            deadline = time.monotonic() + harness.DEADLINE
            while harness.descriptors(worker) > self.LIMIT // 2:  # until it has noticed
                self.assertLess(time.monotonic(), deadline)
            for _ in range(20):
                self.assertEqual(daemon.get("/pid").status, 200)

    def test_who_is_idle_makes_room(self):
        """A descriptor that an idle connection holds is for whoever has something to say."""
        limit = ["prlimit", f"--nofile={self.LIMIT}", "--"]
        with harness.Daemon(["faults"], wrapper=limit) as daemon, contextlib.ExitStack() as stack:
            (worker,) = daemon.workers()
            idle = []
            while harness.descriptors(worker) < self.LIMIT - 1:  # one that it opens for a moment has room
                idle.append(stack.enter_context(daemon.connect()))
                self.assertEqual(idle[-1].request("GET", "/pid").status, 200)
            time.sleep(1.1)  # what it takes to count as idle
            busy = stack.enter_context(daemon.connect())
            for _ in range(10):
                with daemon.connect() as conn:
                    self.assertEqual(conn.request("GET", "/pid").status, 200)
                self.assertEqual(busy.request("GET", "/pid").status, 200)
            daemon.wait_log("Too many open files; an idle connection was closed for the new one")
            self.assertEqual(idle[0].rest(), b"")  # the one that was idle for longest
            self.assertEqual(idle[-1].request("GET", "/pid").status, 200)

    def test_the_newest_is_told_when_nobody_is_idle(self):
        limit = ["prlimit", f"--nofile={self.LIMIT}", "--"]
        with harness.Daemon(["faults"], wrapper=limit) as daemon, contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(daemon.connect()) for _ in range(self.LIMIT)]
            for conn in crowd:
                conn.send(b"GET /slow?ms=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            told = [conn.response().status for conn in crowd]
            self.assertEqual(told[0], 200)
            self.assertEqual(set(told), {200, 503})



if __name__ == "__main__":
    unittest.main()
