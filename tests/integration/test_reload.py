"""Goal: a reload loses no request, takes what is new, and keeps what works when what is new does not."""

import os
import signal
import unittest

import harness
from load import Load


class Reload(unittest.TestCase):
    def test_twenty_reloads_under_load_lose_nothing(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            with Load(daemon.addresses["default"], "/pid", keep=8, fresh=8) as load:
                for _ in range(20):
                    before = set(daemon.workers())
                    daemon.reload()
                    load.wait_for(200)
                    self.assertTrue(set(daemon.workers()) - before)
            self.assertEqual((load.lost, load.reused), ([], 0))
            self.assertGreater(load.complete, 4000)

    def test_a_slow_request_outlives_its_generation(self):
        with harness.Daemon(["faults"]) as daemon, daemon.connect() as conn:
            conn.send(b"GET /slow?ms=700 HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(daemon.get("/pid").status, 200)
            daemon.reload()
            response = conn.response()
            self.assertEqual((response.status, response.body), (200, b"slow"))
            self.assertEqual(response.header("Connection"), "close")
            conn.expect_end()

    def test_an_idle_connection_that_speaks_within_the_grace_is_answered(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ndrain_grace = 20s") as daemon:
            with daemon.connect() as conn:
                first = conn.request("GET", "/pid").body
                daemon.reload()
                response = conn.request("GET", "/pid")
                self.assertEqual(response.body, first)
                self.assertEqual(response.header("Connection"), "close")
                conn.expect_end()
            self.assertNotEqual(daemon.get("/pid").body, first)

    def test_idle_connections_are_closed_after_the_grace(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ndrain_grace = 50ms") as daemon:
            with daemon.connect() as conn:
                conn.request("GET", "/pid")
                daemon.reload()
                conn.expect_end()

    def test_settings_and_workers_change(self):
        with harness.Daemon(["faults"]) as daemon:
            self.assertEqual(len(daemon.workers()), 1)
            daemon.write_ini("[application]\nserver_header = new\n", tornadod="workers = 3")
            daemon.reload()
            self.assertEqual(daemon.get("/pid").header("Server"), "new")
            daemon.wait_log("generation 2 serves: 3 workers")

    def test_listeners_come_and_go(self):
        with harness.Daemon(["faults"], listeners={"a": "", "b": ""}) as daemon:
            path = os.path.join(daemon.folder, "socket")
            with open(daemon.ini_path, encoding="utf-8") as file:
                text = file.read()
            with open(daemon.ini_path, "w", encoding="utf-8") as file:
                file.write(text.replace("127.0.0.2:0", f"unix:{path}"))
            daemon.reload()
            self.assertEqual(daemon.get("/pid", "a").status, 200)
            with self.assertRaises(ConnectionRefusedError):
                daemon.connect("b")
            with harness.Connection(path) as conn:
                self.assertEqual(conn.request("GET", "/pid").status, 200)

    def test_a_hup_during_a_reload_is_not_lost(self):
        with harness.Daemon(["faults"]) as daemon:
            for _ in range(10):
                os.kill(daemon.master, signal.SIGHUP)
            daemon.notifications.wait("RELOADING=1", daemon.process)
            daemon.notifications.wait("READY=1", daemon.process)
            daemon.write_ini("[application]\nserver_header = last\n")
            daemon.reload()
            while daemon.get("/pid").header("Server") != "last":
                daemon.notifications.wait("READY=1", daemon.process)

    def test_the_third_generation_that_drains_makes_the_first_one_go(self):
        with harness.Daemon(["faults"], tornadod="workers = 1\ndrain_timeout = 50s") as daemon:
            connections = []
            for _ in range(3):
                connections.append(daemon.connect())
                connections[-1].send(b"GET /slow?ms=100000 HTTP/1.1\r\nHost: x\r\n\r\n")
                daemon.get("/pid")
                daemon.reload()
            with self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                connections[0].response()
            os.kill(daemon.master, signal.SIGTERM)
            daemon.wait_log("stopping")
            self.assertEqual(daemon.stop(), 0)  # the second one does not wait
            for connection in connections:
                connection.close()


class FailedReload(unittest.TestCase):
    def fails(self, daemon, pattern):
        """A reload that fails for that reason, once told; the same worker serves on."""
        worker, lines = daemon.get("/pid").body, len(daemon.log.lines)
        os.kill(daemon.master, signal.SIGHUP)
        daemon.wait_log("reload failed: .*" + pattern, lines)
        message = daemon.notifications.wait("READY=1", daemon.process)
        self.assertRegex(message, "STATUS=reload failed: ")
        self.assertEqual(daemon.get("/pid").body, worker)

    def test_settings(self):
        with harness.Daemon(["faults"]) as daemon:
            daemon.write_ini("[application]\nnonsense = 1\n")
            self.fails(daemon, r"tornadod\.ini:\d+: 'nonsense' is no key")
            daemon.write_ini("[log]\ntarget = file\nfile = none/log\n")
            self.fails(daemon, r"tornadod\.ini:\d+: log file .*/none/log: No such file or directory")
            daemon.write_ini("[listen:c]\naddress = 127.0.0.3:1\n[listen:d]\naddress = 192.0.2.1:1\n")
            self.fails(daemon, "listen 192.0.2.1:1: Cannot assign requested address")
            with self.assertRaises(ConnectionRefusedError):  # nothing is left of the other one
                harness.Connection(("127.0.0.3", 1))
            daemon.write_ini()
            daemon.reload()

    def test_settings_that_are_looked_at_late(self):
        """By the checker or the new workers, and yet one line that says where it stands."""
        middleware = ["basic_auth", "bearer", "cors", "maintenance", "rate_limit", "request_id"]
        sections = {
            "application": ["static_path = none", "mime_types = none", "middleware = cors, none",
                            "compress_response = on\ncompress_codings = x", "default_host_redirect = on"],
            "tornadod": ["body_temp_path = none"],
            "listen:x": ["address = 127.0.0.9:0\nproxy_protocol = on"],
            "handler:basic_auth": ["users = /none"],
            "handler:bearer": ["tokens = /none"],
            "handler:cors": ["origins = none"],
            "handler:maintenance": ["page = /none", "allow = none"],
            "handler:rate_limit": ["burst = 0", "header = a b"],
            "handler:request_id": ["header = a b"],
        }
        with harness.Daemon(["faults", *middleware]) as daemon:
            for section, cases in sections.items():
                for keys in cases:
                    with self.subTest(section + ": " + keys):
                        daemon.write_ini(f"[{section}]\n{keys}\n")
                        lines = len(daemon.log.lines)
                        self.fails(daemon, rf"tornadod\.ini:{7 + len(keys.splitlines())}: ")
                        told = [line for line in daemon.log.lines[lines:] if line[:2] in ("[W", "[E", "[C")]
                        self.assertEqual(len(told), 1, told)
            daemon.write_ini()
            daemon.reload()

    def test_handlers(self):
        cases = {
            "undefined_symbol": "undefined_symbol.so: undefined symbol: td_there_is_no_such_call",
            "abi_too_new": "abi_too_new.so: was built for ABI 2.0; this tornadod has 1.",
            "no_descriptor": "no_descriptor.so: has no symbol tornado_plugin",
            "private_symbol": "private_symbol.so: uses functions that are the daemon's own",
            "bad_pattern": r"bad_pattern.*/\(bad",
        }
        with harness.Daemon(["faults"]) as daemon:
            for name, pattern in cases.items():
                with self.subTest(name):
                    daemon.install(name)
                    self.fails(daemon, pattern)
                    os.unlink(f"{daemon.handlers}/{name}.so")
            daemon.reload()

    def test_hooks(self):
        cases = {
            "load = fail": r"handler unloadable \(unloadable.so\): the database is not there",
            "load = fail silently": r"handler unloadable \(unloadable.so\): load failed: there is no such thing",
            "start = fail": r"handler unloadable \(unloadable.so\): no start today",
            "load = crash": r"crashed: SIGABRT in .*handler unloadable \(unloadable.so\), its load or start",
            "load = exit": r"exited with status 0: handler unloadable",
            "load = wait": r"not ready within start_timeout \(1000 ms\): it was in handler unloadable",
            "start = spin": r"not ready within start_timeout \(1000 ms\): it was in handler unloadable",
        }
        with harness.Daemon(["faults"], tornadod="workers = 1\nstart_timeout = 1s") as daemon:
            daemon.install("unloadable")
            for setting, pattern in cases.items():
                with self.subTest(setting):
                    daemon.write_ini(f"[handler:unloadable]\n{setting}\n", "workers = 1\nstart_timeout = 1s")
                    self.fails(daemon, pattern)
            daemon.write_ini("[handler:unloadable]\n")
            daemon.reload()
            self.assertEqual(daemon.get("/unloadable").body, b"ok")


if __name__ == "__main__":
    unittest.main()
