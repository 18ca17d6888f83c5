"""Goal: one line for each request, in the format that was asked for, wherever it goes; and a log that
cannot be written holds no request up.
"""

import collections
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from load import Load

TORNADO = (r"\[([IWE]) \d{6} \d\d:\d\d:\d\d access\] (\d{3}) (\S+) (\S+) \(([0-9a-f.:]+)\) "
           r"(\d+\.\d\d)ms")


def lines_of(path):
    with open(path, encoding="latin-1") as file:
        return file.read().splitlines()


def wait_for_lines(path, count):
    deadline = time.monotonic() + harness.DEADLINE
    while not os.path.exists(path) or len(lines_of(path)) < count:
        assert time.monotonic() < deadline, f"{path} does not reach {count} lines"
        time.sleep(0.01)
    return lines_of(path)


class Formats(unittest.TestCase):
    def serve(self, access):
        """The lines for one good request with every field, one 404, one refused head."""
        ini = f"[log]\naccess = {access}\naccess_file = access.log\n"
        with harness.Daemon(["faults"], ini=ini) as daemon:
            daemon.get('/pid?a="b"', headers='Referer: http://x/"\r\nUser-Agent: a\\b\r\n')
            daemon.get("/nothing")
            with daemon.connect() as conn:
                conn.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
                conn.response()
            daemon.stop()
            lines = lines_of(f"{daemon.folder}/access.log")
        self.assertEqual(len(lines), 3, lines)
        return lines

    def test_tornado(self):
        lines = self.serve("tornado")
        found = [re.fullmatch(TORNADO, line).groups()[:5] for line in lines]
        self.assertEqual(found, [("I", "200", "GET", "/pid?a=\\x22b\\x22", "127.0.0.1"),
                                 ("W", "404", "GET", "/nothing", "127.0.0.1"),
                                 ("W", "400", "-", "-", "127.0.0.1")])

    def test_combined(self):
        lines = self.serve("combined")
        pattern = r'(\S+) - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*?)" (\d+) (\d+) "(.*)" "(.*)"'
        found = [re.fullmatch(pattern, line).groups() for line in lines]
        self.assertEqual(found[0][:3], ("127.0.0.1", "GET /pid?a=\\x22b\\x22 HTTP/1.1", "200"))
        self.assertEqual(found[0][4:], ("http://x/\\x22", "a\\x5cb"))
        self.assertEqual(found[1], ("127.0.0.1", "GET /nothing HTTP/1.1", "404", "69", "-", "-"))
        self.assertEqual(found[2][1:3], ("-", "400"))

    def test_json(self):
        first, second, third = map(json.loads, self.serve("json"))
        self.assertEqual({**first, "time": "", "duration_ms": 0, "bytes": 0}, {
            "time": "", "status": 200, "method": "GET", "uri": '/pid?a="b"', "remote_ip": "127.0.0.1",
            "bytes": 0, "duration_ms": 0, "host": "test", "referer": 'http://x/"', "user_agent": "a\\b",
            "handler": "faults"})
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual((second["status"], second["bytes"]), (404, 69))
        self.assertEqual((third["status"], third["uri"]), (400, "-"))

    def test_one_of_ones_own(self):
        ini = """[log]
access_file = access.log
access_format = $remote_addr [$time_local] "$request" $status $request_id $trace_id $handler $$ $http_x_y
[application]
middleware = request_id
"""
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        with harness.Daemon(["faults", "request_id"], ini=ini) as daemon:
            daemon.get("/pid", headers="X-Y: z\r\n")
            answer = daemon.get("/nothing", headers=f"traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n")
            daemon.get("/pid", headers=f"traceparent: 00-{trace.upper()}-00f067aa0ba902b7-01\r\n")
            with daemon.connect() as conn:
                conn.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
                conn.response()
            daemon.stop()
            lines = lines_of(f"{daemon.folder}/access.log")
        found = [re.fullmatch(r'127\.0\.0\.1 \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*)" (\d+) (\S+) '
                              r"(\S+) (\S+) \$ (\S+)", line).groups() for line in lines]
        self.assertEqual([line[:2] + line[3:] for line in found],
                         [("GET /pid HTTP/1.1", "200", "-", "faults", "z"),
                          ("GET /nothing HTTP/1.1", "404", trace, found[1][4], "-"),
                          ("GET /pid HTTP/1.1", "200", "-", "faults", "-"),
                          ("-", "400", "-", "-", "-")])
        self.assertEqual(found[1][2], answer.header("X-Request-ID"))
        self.assertEqual(found[3][2], "-")

    def test_one_that_cannot_be(self):
        daemon = harness.Daemon(["faults"], ini="[log]\naccess_format = $remote_adr $status\n")
        try:
            done = harness.run("-t", "-c", daemon.ini_path)
            self.assertEqual(done.returncode, 78)
            self.assertIn("tornadod.ini:8: access_format: there is no $remote_adr; did you mean $remote_addr?",
                          done.stderr)
        finally:
            daemon.close()

    def test_one_in_so_many(self):
        ini = "[log]\naccess_file = access.log\naccess_sample = 10\n"
        with harness.Daemon(["faults"], ini=ini) as daemon:
            with daemon.connect() as conn:
                for _ in range(1000):
                    conn.request("GET", "/pid")
                for _ in range(50):
                    conn.request("GET", "/nothing")
            daemon.stop()
            lines = lines_of(f"{daemon.folder}/access.log")
        self.assertEqual(sum(" 404 " in line for line in lines), 50)
        self.assertAlmostEqual(sum(" 200 " in line for line in lines), 100, delta=3)

    def test_off(self):
        with harness.Daemon(["faults"], ini="[log]\naccess = off\n") as daemon:
            daemon.get("/pid")
            daemon.stop()
            self.assertNotIn("GET", daemon.log.text())

    def test_with_the_others_when_it_has_no_file(self):
        with harness.Daemon(["faults"], ini="[log]\ntarget = file\nfile = all.log\n") as daemon:
            daemon.get("/pid")
            daemon.stop()
            text = "\n".join(lines_of(f"{daemon.folder}/all.log"))
        self.assertRegex(text, TORNADO)
        self.assertIn("master] stopped after 1 requests", text)



class Levels(unittest.TestCase):
    def test_each_handler_has_its_own(self):
        ini = """[log]
access = off
level = warning
[handler:loud]
file = faults.so
mount = /loud
log_level = debug
[handler:quiet]
file = faults.so
mount = /quiet
log_level = critical
[handler:faults]
"""
        with harness.Daemon(["faults"], ini=ini) as daemon:
            for name in ("", "/loud", "/quiet"):
                self.assertEqual(daemon.get(f"{name}/log?said{name}").status, 200)
                self.assertEqual(daemon.get(f"{name}/raise?raised{name}").status, 502)
            daemon.stop()
            said = re.findall(r"(\w+)\] said(\S*)", daemon.log.text())
            raised = re.findall(r"(\w+)\] \S+ 502 GET \S*raised(\S*) ", daemon.log.text())
        self.assertEqual(said, [("loud", "/loud")])
        self.assertEqual(raised, [("faults", ""), ("loud", "/loud")])


class Ends(unittest.TestCase):
    """However a worker ends: what it has logged is there, once, and in front of the word of its end."""

    def test_crash(self):
        self.end_by("/segv", "crashed")

    def test_abort(self):
        self.end_by("/abort", "crashed")

    def test_kill(self):
        text = self.end_by("/kill", "was killed by SIGKILL")
        self.assertLess(text.index("the end is near"), text.index("was killed by SIGKILL"))

    def test_exit(self):
        self.end_by("/exit", "exited with status")

    def end_by(self, target, word):
        with harness.Daemon(["faults"], ini="[log]\naccess_file = access.log\n") as daemon:
            for round_ in range(3):
                told = len(daemon.log.lines)
                with daemon.connect() as conn:
                    for number in range(100):
                        self.assertEqual(conn.request("GET", f"/pid?{round_}.{number}").status, 200)
                    conn.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    conn.rest()
                daemon.wait_log(word, told)
            daemon.stop()
            lines = [re.fullmatch(TORNADO, line)[4] for line in lines_of(f"{daemon.folder}/access.log")]
            self.assertEqual(lines, [f"/pid?{r}.{n}" for r in range(3) for n in range(100)])
            return daemon.log.text()


class Rotation(unittest.TestCase):
    ini = "[log]\naccess_file = access.log\ntarget = file\nfile = daemon.log\n"

    def test_every_request_is_logged_once_over_twenty_rotations(self):
        with harness.Daemon(["faults"], ini=self.ini, tornadod="workers = 2") as daemon:
            path = f"{daemon.folder}/access.log"
            with Load(daemon.addresses["default"], "/pid", keep=4, fresh=2) as load:
                for number in range(20):
                    load.wait_for(100)
                    os.rename(path, f"{path}.{number}")
                    os.kill(daemon.master, signal.SIGUSR1)
                    wait_for_lines(path, 1)  # the workers have taken the new one
            self.assertEqual((load.lost, load.reused), ([], 0))
            daemon.stop()
            names = [name for name in os.listdir(daemon.folder) if name.startswith("access.log")]
            self.assertEqual(len(names), 21)
            lines = [line for name in names for line in lines_of(f"{daemon.folder}/{name}")]
        self.assertEqual(len(lines), load.complete)
        for line in lines:
            self.assertRegex(line, f"^{TORNADO}$")

    def test_both_logs_are_opened_anew(self):
        with harness.Daemon(["faults"], ini=self.ini) as daemon:
            for name in ("access.log", "daemon.log"):
                os.rename(f"{daemon.folder}/{name}", f"{daemon.folder}/{name}.1")
            os.kill(daemon.master, signal.SIGUSR1)
            wait_for_lines(f"{daemon.folder}/daemon.log", 1)
            deadline = time.monotonic() + harness.DEADLINE
            while not any("the cat ate it" in line for line in lines_of(f"{daemon.folder}/daemon.log")):
                self.assertLess(time.monotonic(), deadline)  # the worker is told a moment later
                self.assertEqual(daemon.get("/raise").status, 502)
            daemon.stop()
            text = "\n".join(lines_of(f"{daemon.folder}/daemon.log"))
            self.assertIn("logs opened anew", text)
            self.assertIn("stopped after", text)

    def test_where_that_fails_the_old_ones_go_on(self):
        with harness.Daemon(["faults"], ini=self.ini) as daemon:
            os.rename(f"{daemon.folder}/access.log", f"{daemon.folder}/old.log")
            os.mkdir(f"{daemon.folder}/access.log")  # nobody can open that, root neither
            os.kill(daemon.master, signal.SIGUSR1)
            deadline = time.monotonic() + harness.DEADLINE
            while not any("the old one goes on" in line for line in lines_of(f"{daemon.folder}/daemon.log")):
                self.assertLess(time.monotonic(), deadline)
            daemon.get("/pid")
            daemon.stop()
            self.assertEqual(len(lines_of(f"{daemon.folder}/old.log")), 1)

    def test_workers_without_rights_are_given_the_files(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        with harness.Daemon(["faults"], ini=self.ini, tornadod="workers = 1\nuser = nobody") as daemon:
            os.unlink(f"{daemon.folder}/access.log")
            os.kill(daemon.master, signal.SIGUSR1)
            wait_for_lines(f"{daemon.folder}/daemon.log", 1)
            while not os.path.exists(f"{daemon.folder}/access.log"):
                pass
            daemon.get("/pid")
            wait_for_lines(f"{daemon.folder}/access.log", 1)


class Stuck(unittest.TestCase):
    """Nothing of the log is worth a request."""

    def test_a_pipe_that_nobody_reads_and_then_one_that_nobody_has(self):
        daemon = harness.Daemon(["faults"], ini="[log]\naccess_file = fifo\n")
        path = f"{daemon.folder}/fifo"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with daemon:
            with Load(daemon.addresses["default"], "/pid?" + "x" * 4000, keep=8, fresh=0) as load:
                load.wait_for(2000)  # 8 MB, into a pipe of 64 KiB and a ring of 1 MiB
                self.assertEqual((load.lost, load.reused), ([], 0))
                daemon.wait_log(r"access\] \d+ lines of the access log dropped: what reads it is too slow")
                os.close(reader)
                load.wait_for(500)
            self.assertEqual((load.lost, load.reused), ([], 0))
            self.assertEqual(len(daemon.workers()), 1)
            self.assertEqual(daemon.stop(), 0)

    def test_standard_error_that_nobody_reads_and_then_nobody_has(self):
        """Where all lines go: those of the access log, of handlers, of the master."""
        daemon = harness.Daemon(["faults"], wrapper=["sh", "-c", 'exec "$@" 2> fifo', "sh"])
        os.mkfifo(f"{daemon.folder}/fifo")
        reader = os.open(f"{daemon.folder}/fifo", os.O_RDONLY | os.O_NONBLOCK)
        with daemon:
            with Load(daemon.addresses["default"], "/log?" + "x" * 3000, keep=8, fresh=8) as load:
                load.wait_for(2000)
                daemon.reload()
                load.wait_for(1000)
                os.close(reader)
                load.wait_for(1000)
                daemon.reload()
                load.wait_for(500)
            self.assertEqual((load.lost, load.reused), ([], 0))
            self.assertEqual(daemon.stop(), 0)

    def test_standard_error_that_is_read_late(self):
        """What was dropped is counted, to the line."""
        daemon = harness.Daemon(["faults"], ini="[log]\naccess = off\nbuffer = 64k\n",
                                wrapper=["sh", "-c", 'exec "$@" 2> fifo', "sh"])
        os.mkfifo(f"{daemon.folder}/fifo")
        reader = os.open(f"{daemon.folder}/fifo", os.O_RDONLY | os.O_NONBLOCK)
        with daemon:
            with Load(daemon.addresses["default"], "/log?" + "x" * 3000, keep=8, fresh=0) as load:
                load.wait_for(1000)
            os.set_blocking(reader, True)
            text = b""
            while b"lines lost: " not in text:
                text += os.read(reader, 65536)
            os.kill(daemon.master, signal.SIGTERM)
            while data := os.read(reader, 65536):
                text += data
            self.assertEqual(daemon.wait(), 0)
            lost = sum(map(int, re.findall(rb"log\] lines lost: (\d+)\n", text)))
            self.assertEqual(text.count(b"faults] xxx") + lost, load.complete)
            self.assertEqual((load.lost, load.reused), ([], 0))
        os.close(reader)

    def test_a_disk_that_hangs(self):
        """A write to a file cannot be told not to wait; so it is not the loop that writes."""
        delay_s = 0.5
        daemon = harness.Daemon(["faults"], ini="[log]\ntarget = file\nfile = daemon.log\n",
                                env={"ASAN_OPTIONS": "detect_leaks=0"})  # which strace is in the way of
        path = f"{daemon.folder}/daemon.log"
        daemon.command[:0] = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=write",
                              "-e", f"inject=write:delay_enter={int(delay_s * 1e6)}"]
        with daemon:
            started = time.monotonic()
            for number in range(20):
                self.assertEqual(daemon.get(f"/log?{number}").status, 200)
            self.assertLess(time.monotonic() - started, 20 * delay_s / 2)
            self.assertEqual(daemon.stop(), 0)

    def test_a_disk_with_room_again(self):
        """A file system of its own, full at first."""
        if os.geteuid() != 0:
            self.skipTest("only root can mount one")
        folder = tempfile.mkdtemp()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
            os.rmdir(folder)
            self.skipTest("mount is not allowed here")
        try:
            self.fill_and_empty(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
            os.rmdir(folder)

    def fill_and_empty(self, folder):
        with open(f"{folder}/ballast", "wb") as file:
            file.write(b"x" * (1 << 19))
        ini = f"[log]\naccess_file = {folder}/access.log\nbuffer = 64k\n"
        with harness.Daemon(["faults"], ini=ini) as daemon:
            with Load(daemon.addresses["default"], "/pid?" + "x" * 2000, keep=4, fresh=4) as load:
                daemon.wait_log(r"\d+ lines of the access log dropped: No space left on device")
                os.unlink(f"{folder}/ballast")
                size = os.stat(f"{folder}/access.log").st_size
                harness.wait_until(lambda: os.stat(f"{folder}/access.log").st_size > size, "it goes on")
            self.assertEqual((load.lost, load.reused), ([], 0))
            self.assertEqual(daemon.stop(), 0)
            told = re.findall(r"(\d+) lines of the access log dropped", daemon.log.text())
            lines = lines_of(f"{folder}/access.log")
            self.assertEqual(sum(map(int, told)) + len(lines), load.complete)
            for line in lines:
                self.assertRegex(line, f"^{TORNADO}$")

    def test_a_full_disk(self):
        with harness.Daemon(["faults"], ini="[log]\naccess_file = /dev/full\n") as daemon:
            with Load(daemon.addresses["default"], "/pid?" + "x" * 4000, keep=8, fresh=0) as load:
                load.wait_for(1000)
                daemon.wait_log(r"access\] \d+ lines of the access log dropped: No space left on device")
            self.assertEqual((load.lost, load.reused), ([], 0))
            self.assertEqual(daemon.stop(), 0)
            told = re.findall(r"(\d+) lines of the access log dropped", daemon.log.text())
            self.assertEqual(sum(map(int, told)), load.complete)  # every one is accounted for


if __name__ == "__main__":
    unittest.main()
