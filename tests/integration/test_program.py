"""Goal: libtornado alone makes a program: it is built with what pkg-config says of an installation, serves as
the daemon does, and ends as it is asked to.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import harness


@unittest.skipIf(harness.SANITIZED, "an installation is not sanitized")
class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="tornadod-program-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        subprocess.run(["make", "install", f"DESTDIR={cls.root}", "PREFIX=/usr"], cwd=harness.ROOT,
                       check=True, capture_output=True)
        cls.env = {**os.environ, "LD_LIBRARY_PATH": f"{cls.root}/usr/lib",
                   "PKG_CONFIG_PATH": f"{cls.root}/usr/lib/pkgconfig",
                   "PKG_CONFIG_SYSROOT_DIR": cls.root}
        cls.program = cls.build(f"{harness.ROOT}/tests/integration/own_main.c")

    @classmethod
    def build(cls, source):
        """With the command of the manual, which is in <tornado/program.h>."""
        target = f"{cls.root}/{os.path.basename(source)[:-2]}"
        done = subprocess.run(f"cc -Wall -Wextra -Werror -o {target} {source} "
                              "$(pkg-config --cflags --libs tornado)", shell=True, check=False,
                              env=cls.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target

    def start(self, *args):
        process = subprocess.Popen([self.program, *args], env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd=self.root)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def serving(self, address="127.0.0.1:0", *settings):
        """A program that says "start", and its port."""
        process = self.start(address, *settings)
        port = int(re.fullmatch(r"port (\d+)\n", process.stdout.readline())[1])
        self.assertEqual([process.stdout.readline() for _ in range(2)], ["load\n", "start\n"])
        return process, port

    def ask(self, port, target):
        with harness.Connection(("127.0.0.1", port)) as conn:
            conn.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            return conn.response()

    def test_it_serves_until_it_is_told_to_end(self):
        for number in (signal.SIGTERM, signal.SIGINT, None):
            process, port = self.serving()
            self.assertEqual(self.ask(port, b"/greet/you").body, b"Hello, you, from own\n")
            self.assertEqual(self.ask(port, b"/nothing").status, 404)
            if number is None:
                self.assertEqual(self.ask(port, b"/leave").body, b"leaving\n")
            else:
                process.send_signal(number)
            out, err = process.communicate(timeout=harness.DEADLINE)
            self.assertEqual((process.returncode, out), (0, "drain\nstop\nover\n"))
            self.assertRegex(err, r"access\] 200 GET /greet/you \(127.0.0.1\) \d+\.\d\dms\n")
            self.assertRegex(err, r"\[W .*access\] 404 GET /nothing")

    def test_what_has_begun_is_answered_and_a_second_signal_does_not_wait(self):
        process, port = self.serving()
        with harness.Connection(("127.0.0.1", port)) as conn:
            conn.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(process.stdout.readline(), "slow\n")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(conn.response().body, b"slow\n")
        self.assertEqual(process.communicate()[0], "drain\nstop\nover\n")
        process, port = self.serving()
        with harness.Connection(("127.0.0.1", port)) as conn:
            conn.send(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(process.stdout.readline(), "forever\n")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.stdout.readline(), "drain\n")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=harness.DEADLINE)
        self.assertEqual(out, "stop\nover\n")
        self.assertIn("not waiting any longer: 1 handlers cancelled", err)

    def test_a_hook_that_does_not_return_from_stop_is_not_waited_for(self):
        for settings in (("tornadod.drain_timeout=200ms",), ()):
            process, port = self.serving("127.0.0.1:0", *settings)
            self.assertEqual(self.ask(port, b"/stubborn").status, 200)
            process.terminate()
            self.assertEqual([process.stdout.readline() for _ in range(2)], ["drain\n", "stop\n"])
            if not settings:
                process.terminate()
            out, err = process.communicate(timeout=harness.DEADLINE)
            self.assertEqual((process.returncode, out), (0, "over\n"))
            self.assertIn("not waiting any longer: the hook stop is cancelled", err)

    def test_who_waits_to_be_accepted_is_answered_and_who_comes_later_is_refused(self):
        process, port = self.serving()
        address = ("127.0.0.1", port)
        with harness.Connection(address) as first, harness.Connection(address) as slow:
            slow.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(process.stdout.readline(), "slow\n")
            first.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(process.stdout.readline(), "blocks\n")
            with harness.Connection(address) as second:
                second.send(b"GET /greet/you HTTP/1.1\r\nHost: x\r\n\r\n")
                process.terminate()
                self.assertEqual(first.response().body, b"blocked\n")
                self.assertEqual(second.response().body, b"Hello, you, from own\n")
            self.assertEqual(process.stdout.readline(), "drain\n")
            with socket.socket() as late, self.assertRaises(ConnectionRefusedError):
                late.connect(address)
            self.assertEqual(slow.response().body, b"slow\n")
        self.assertEqual(process.communicate()[0], "stop\nover\n")

    def test_the_name_of_a_unix_socket_comes_and_goes(self):
        path = f"{self.root}/name"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(path)
        process, _ = self.serving("unix:" + path, "listen:here.mode=0600")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        out = self.start("unix:" + path).communicate(timeout=harness.DEADLINE)[0]
        self.assertEqual(out, f"listen unix:{path}: Address already in use\n")
        process.terminate()
        process.wait(harness.DEADLINE)
        self.assertFalse(os.path.exists(path))

    def test_a_protocol_of_its_own(self):
        process, port = self.serving("127.0.0.1:0", "listen:here.protocol=own")
        with socket.create_connection(("127.0.0.1", port), harness.DEADLINE) as conn, \
                conn.makefile("rwb") as stream:
            stream.write(b"one\ntwo\n")
            stream.flush()
            self.assertEqual(stream.read(8), b"one\ntwo\n")
            process.terminate()
            self.assertEqual(process.communicate(timeout=harness.DEADLINE)[0], "drain\nstop\nover\n")

    def test_settings_are_those_of_the_daemon(self):
        path = f"{self.root}/socket"
        process, _ = self.serving("unix:" + path, "application.server_header=own/1", "log.access=off",
                                  "tornadod.max_requests_per_connection=1")
        with harness.Connection(path) as conn:
            conn.send(b"GET /greet/you HTTP/1.1\r\nHost: x\r\n\r\n")
            response = conn.response()
        self.assertEqual((response.header("Server"), response.header("Connection")), ("own/1", "close"))
        process.terminate()
        self.assertNotIn("access", process.communicate()[1])

    def test_without_an_address_it_listens_wherever_the_settings_say(self):
        paths = [f"{self.root}/{name}.sock" for name in ("here", "there")]
        process, _ = self.serving("", *(f"listen:{os.path.basename(path)[:-5]}.address=unix:{path}"
                                        for path in paths))
        for path in paths:
            with harness.Connection(path) as conn:
                conn.send(b"GET /greet/you HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(conn.response().status, 200)
        process.terminate()
        process.wait(harness.DEADLINE)

    def test_what_is_wrong_is_said(self):
        with socket.create_server(("127.0.0.1", 0)) as busy:
            taken = f"127.0.0.1:{busy.getsockname()[1]}"
            cases = (((taken,), f"listen {taken}: Address already in use\n"),
                     (("nowhere",), "nowhere"),
                     (("", "tornadod.nonsense=1"), "nonsense"),
                     (("127.0.0.1:0", "listen:here.protocol=yours"), "protocol: there is no handler yours"),
                     (("", "handler:own.option=1"), "own: options and shared memory are the daemon's"))
            for args, told in cases:
                with self.subTest(args):
                    out, err = self.start(*args).communicate(timeout=harness.DEADLINE)
                    self.assertIn(told, out)
                    self.assertEqual(err, "")

    def test_the_program_of_the_guide_is_one(self):
        with open(f"{harness.ROOT}/lib/tornado/HANDLERS.md", encoding="utf-8") as file:
            blocks = re.findall(r"^```c\n(.*?)^```$", file.read(), re.M | re.S)
        source = next(block for block in blocks if "\nmain(void)\n" in block)
        with open(f"{self.root}/guide.c", "w", encoding="ascii") as file:
            file.write(source.replace('"127.0.0.1:8888"', f'"unix:{self.root}/guide.sock"'))
        program = self.build(f"{self.root}/guide.c")
        with subprocess.Popen([program], env=self.env, cwd=self.root, stderr=subprocess.DEVNULL) as process:
            harness.wait_until(lambda: os.path.exists(f"{self.root}/guide.sock"), "it does not listen")
            with harness.Connection(f"{self.root}/guide.sock") as conn:
                conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(conn.response().body, b"Hello, world\n")
            process.terminate()
            self.assertEqual(process.wait(harness.DEADLINE), 0)


if __name__ == "__main__":
    unittest.main()
