"""Goal: a handler is loaded as it was accepted, with its own settings; one that cannot be is refused,
at the start with exit status 78, and the message says which file and why.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness
from load import Load


class Refused(unittest.TestCase):
    """`tornadod -t` and a first start say the same."""

    def setUp(self):
        self.daemon = harness.Daemon([])
        self.addCleanup(self.daemon.close)

    def refused(self, pattern, ini="", tornadod="workers = 1", env=None, hooks=False):
        self.daemon.write_ini(ini, tornadod)
        for args in [[]] if hooks else [["-t"], ["-T"], ["routes"], []]:
            done = harness.run(*args, "-c", self.daemon.ini_path, env=env)
            self.assertEqual(done.returncode, 78, done.stderr)
            self.assertRegex(done.stderr, pattern)
            self.assertEqual(done.stdout, "")

    def test_files_that_are_no_handlers(self):
        cases = {
            "undefined_symbol": "undefined_symbol.so: undefined symbol: td_there_is_no_such_call",
            "abi_too_new": "abi_too_new.so: was built for ABI 2.0; this tornadod has 1.",
            "no_descriptor": "no_descriptor.so: has no symbol tornado_plugin",
            "private_symbol": r"private_symbol.so: uses functions that are the daemon's own \(TORNADO_PRIVATE\)",
            "bad_pattern": r"bad_pattern.*/\(bad",
        }
        for name, pattern in cases.items():
            with self.subTest(name):
                self.daemon.install(name)
                self.refused(pattern)
                os.unlink(f"{self.daemon.handlers}/{name}.so")

    def test_metrics_of_a_name_and_two_kinds(self):
        self.daemon.install("metrics")
        self.daemon.install("unloadable")
        self.refused(r"handler unloadable \(unloadable.so\): its metric calls is a gauge, that of handler metrics "
                     r"\(metrics.so\) a counter")

    def write(self, name, data, mode=0o755):
        with open(f"{self.daemon.handlers}/{name}", "wb") as file:
            file.write(data)
        os.chmod(f"{self.daemon.handlers}/{name}", mode)

    def test_files_that_are_no_shared_objects(self):
        with open(f"{harness.BUILD}/tests/handlers/faults.so", "rb") as file:
            good = file.read()
        foreign = bytearray(good)
        foreign[18:20] = b"\x08\x00"  # MIPS
        cases = {b"": "is empty", b"hello": "is not a shared object",
                 bytes(foreign): "was built for another kind of machine",
                 good[:3000]: "x.so: ", good[:len(good) // 2]: "x.so: "}
        for data, pattern in cases.items():
            with self.subTest(pattern):
                self.write("x.so", data)
                self.refused(pattern)

    def test_all_that_is_wrong_is_told(self):
        self.daemon.install("abi_too_new")
        self.daemon.install("no_descriptor")
        self.refused("abi_too_new.so: was built for")
        self.refused("no_descriptor.so: has no symbol")

    def test_those_that_others_may_write(self):
        self.daemon.install("faults")
        path = f"{self.daemon.handlers}/faults.so"
        os.chmod(path, 0o757)
        self.refused(r"faults.so: may be written by others \(mode 0757\)")
        os.chmod(path, 0o755)
        os.chmod(self.daemon.handlers, 0o777)
        self.refused(r"tornadod.ini:2: .*handlers: may be written by others")
        os.chmod(self.daemon.handlers, 0o755)
        os.rename(path, f"{self.daemon.folder}/faults.so")
        os.symlink("../faults.so", path)
        self.refused("faults.so: is a link that leads out of the directory")

    @unittest.skipIf(os.geteuid() != 0, "only root can give files away")
    def test_those_of_strangers(self):
        self.daemon.install("faults")
        os.chown(f"{self.daemon.handlers}/faults.so", 12345, 0)
        self.refused("faults.so: belongs to uid 12345, neither to root nor to the daemon's user")

    def test_at_dlopen(self):
        self.daemon.install("unloadable")
        cases = {"crash": r"unloadable.so: crashed while it was loaded \(SIGABRT\)",
                 "exit": r"unloadable.so: ended the process while it was loaded \(status 0\)",
                 "spin": r"unloadable.so: loading takes longer than start_timeout \(500 ms\)"}
        for how, pattern in cases.items():
            with self.subTest(how):
                self.refused(pattern, tornadod="start_timeout = 500ms",
                             env={"UNLOADABLE_CONSTRUCTOR": how})

    def test_in_hooks(self):
        self.daemon.install("unloadable")
        cases = {"load = fail": r"handler unloadable \(unloadable.so\): the database is not there",
                 "start = fail": r"handler unloadable \(unloadable.so\): no start today",
                 "load = crash": r"crashed: SIGABRT in .*handler unloadable \(unloadable.so\)",
                 "start = spin": r"not ready within start_timeout \(500 ms\): it was in handler unloadable"}
        for setting, pattern in cases.items():
            with self.subTest(setting):
                self.refused(pattern, f"[handler:unloadable]\n{setting}\n",
                             "workers = 1\nstart_timeout = 500ms", hooks=True)

    def test_settings_of_their_own(self):
        self.daemon.install("settings")
        header, needed = "[handler:settings]\n", "[handler:settings]\nneeded = x\n"
        cases = [  # before, the line at fault, what is said about it
            ("", header, r"\[handler:settings\] has no needed, which it needs: what only you can know"),
            (needed, "count = 11", r"count = 11: .*between -10 and 10"),
            (needed, "size = 2m", r"size = 2m: .*between"),
            (needed, "pause = soon", r"pause = soon: 'soon' is not a time"),
            (needed, "loud = maybe", r"loud = maybe: "),
            (needed, "greting = Hi", r"\[handler:settings\] does not know greting; did you mean greeting\?"),
            ("", "[handler:nowhere]", r"\[handler:nowhere\]: .*nowhere.so: No such file or directory"),
            (header, "file = ../faults.so", "file: '../faults.so' is not the name of a file"),
        ]
        for before, line, pattern in cases:
            with self.subTest(line):
                self.daemon.write_ini(before + line)
                with open(self.daemon.ini_path, encoding="utf-8") as file:
                    number = file.read().split("\n").index(line.strip()) + 1
                self.refused(f"tornadod.ini:{number}: {pattern}", before + line)

    def test_a_directory_that_is_not_there(self):
        shutil.rmtree(self.daemon.handlers)
        self.refused("tornadod.ini:2: handlers = .*: No such file or directory")


class Served(unittest.TestCase):
    def test_instances_have_settings_mount_and_state_of_their_own(self):
        ini = ("[handler:settings]\nneeded = one\n"
               "[handler:second]\nfile = settings.so\nmount = /second\nneeded = two\ngreeting = Hi there\n"
               "count = -10\nsize = 1\npause = 1m\nloud = yes\n"
               "[handler:third]\nfile = settings.so\nenabled = off\n")
        with harness.Daemon(["settings"], ini=ini) as daemon:
            self.assertEqual(daemon.get("/show").body, b"Hello 3 65536 1000 0 one")
            self.assertEqual(daemon.get("/second/show").body, b"Hi there -10 1 60000 1 two")
            self.assertEqual(daemon.get("/count").body, b"1 1")
            self.assertEqual(daemon.get("/second/count").body, b"1 1")
            self.assertEqual(daemon.get("/count").body, b"2 1")

    def test_shared_memory_is_of_all_workers_and_outlives_them(self):
        ini = "[handler:settings]\nneeded = x\n"
        with harness.Daemon(["settings"], ini=ini, tornadod="workers = 3") as daemon:
            for calls in range(1, 20):
                self.assertEqual(daemon.get("/count").body, b"%d 3" % calls)
            daemon.reload()
            self.assertEqual(daemon.get("/count").body, b"20 6")

    def test_a_disabled_file_is_not_even_opened(self):
        with harness.Daemon(["faults", "abi_too_new"],
                            ini="[handler:abi_too_new]\nenabled = off\n") as daemon:
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_dropped_in_and_taken_away_with_hup(self):
        with harness.Daemon(["faults"]) as daemon:
            self.assertEqual(daemon.get("/unloadable").status, 404)
            daemon.install("unloadable")
            daemon.reload()
            self.assertEqual(daemon.get("/unloadable").body, b"ok")
            os.unlink(f"{daemon.handlers}/unloadable.so")
            daemon.reload()
            self.assertEqual(daemon.get("/unloadable").status, 404)

    def test_what_was_accepted_stays_whatever_happens_to_the_file(self):
        with harness.Daemon(["faults"], tornadod="workers = 2") as daemon:
            with Load(daemon.addresses["default"], "/pid", keep=4, fresh=4) as load:
                load.wait_for(100)
                with open(f"{daemon.handlers}/faults.so", "wb") as file:
                    file.write(bytes(20000))
                load.wait_for(500)
                self.assertEqual((load.lost, load.reused), ([], 0))
            lines = len(daemon.log.lines)
            os.kill(daemon.workers()[0], signal.SIGKILL)
            daemon.wait_log("was killed", lines)
            with Load(daemon.addresses["default"], "/pid") as load:
                load.wait_for(500)
            self.assertEqual((load.lost, load.reused), ([], 0))
            lines = len(daemon.log.lines)
            os.kill(daemon.master, signal.SIGHUP)
            daemon.wait_log("reload failed: faults.so: is not a shared object", lines)
            daemon.install("faults")
            daemon.reload()
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_the_routes_are_printed(self):
        with harness.Daemon(["faults", "settings"],
                            ini="[handler:settings]\nneeded = x\nmount = /s\nhosts = a\n") as daemon:
            done = harness.run("routes", "-c", daemon.ini_path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("/pid  faults\n", done.stdout)
            self.assertRegex(done.stdout, r"http://127.0.0.1:0/s/show  settings \(hosts a\)\n")
            done = harness.run("-c", daemon.ini_path, "-t")
            self.assertRegex(done.stdout, r"^settings and handlers are good: 2 handlers, \d+ routes\n$")


@unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
class Unprivileged(unittest.TestCase):
    def test_workers_are_the_user_and_cannot_go_back(self):
        with harness.Daemon(["faults"], tornadod="workers = 2\nuser = nobody") as daemon:
            self.assertNotIn("running as root", daemon.log.text())
            for worker in daemon.workers():
                with open(f"/proc/{worker}/status", encoding="ascii") as file:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
                self.assertEqual(set(status["Uid"].split()), {"65534"})
                self.assertEqual(set(status["Gid"].split()), {"65534"})
                self.assertEqual(status["Groups"].split(), ["65534"])
                self.assertEqual(status["NoNewPrivs"], "1")
                self.assertEqual(int(status["CapEff"], 16), 0)
            self.assertEqual(daemon.get("/pid").status, 200)
            daemon.reload()
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_a_unix_socket_is_the_users(self):
        with tempfile.TemporaryDirectory() as folder:
            with harness.Daemon(["faults"], listeners={}, tornadod="workers = 1\nuser = nobody",
                                ini=f"[listen:u]\naddress = unix:{folder}/socket\n") as daemon:
                for _ in range(2):
                    owner = os.stat(f"{folder}/socket")
                    self.assertEqual((owner.st_uid, owner.st_gid), (65534, 65534))
                    daemon.reload()

    def test_a_user_that_is_not_there(self):
        daemon = harness.Daemon([], tornadod="user = nosuchuser")
        self.addCleanup(daemon.close)
        done = harness.run("-c", daemon.ini_path)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"tornadod.ini:3: user nosuchuser does not exist")

    def test_only_root_can_change(self):
        daemon = harness.Daemon([], tornadod="user = root")
        self.addCleanup(daemon.close)
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            for name in ("tornadod", "libtornado.so.1"):
                shutil.copy(f"{harness.BUILD}/{name}", folder)
            done = subprocess.run([f"{folder}/tornadod", "-t", "-c", daemon.ini_path], user=65534,
                                  capture_output=True, text=True, check=False, timeout=harness.DEADLINE)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, "tornadod.ini:3: user root: only root can become somebody else")


if __name__ == "__main__":
    unittest.main()
