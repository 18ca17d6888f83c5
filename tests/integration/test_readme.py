"""Goal: the handler of the README is built and served by following it word for word."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import harness

# Between the README's own words: wait until the daemon has said that it is ready (again).
WAIT = f"""
/usr/bin/python3 -c '
import socket, sys
ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, int(sys.argv[1]))
ready.settimeout({harness.DEADLINE})
while "READY=1" not in ready.recv(65536).decode().split():
    pass
' $READY
"""

# A network of its own, so that port 8888 is free.
LONELY = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execvp(sys.argv[1], sys.argv[1:])
"""


def section(title):
    with open(f"{harness.ROOT}/README.md", encoding="utf-8") as file:
        return re.search(rf"^## {title}\n(.*?)^## ", file.read(), re.M | re.S)[1]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def can_be_lonely():
    return subprocess.run([*LONELY, "true"], capture_output=True, check=False).returncode == 0


@unittest.skipIf(harness.SANITIZED, "an installation is not sanitized")
class Readme(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="tornadod-readme-")
        self.addCleanup(shutil.rmtree, self.home)

    @unittest.skipUnless(can_be_lonely(), "needs a network namespace")
    def test_a_handler_in_five_minutes(self):
        text = section("A handler in five minutes")
        (source,) = blocks(text, "c")
        install, build, ask, again = blocks(text, "sh")
        script = "\n".join([
            "set -e", install,
            f"cat > greet.c <<'END'\n{source}END\n", build, WAIT, ask, again, WAIT, ask,
            "kill $!", "wait $!", "echo ended $?"])

        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(ready.close)
        ready.bind(f"{self.home}/ready")
        env = {**os.environ, "HOME": self.home, "NOTIFY_SOCKET": f"{self.home}/ready",
               "READY": str(ready.fileno())}
        done = subprocess.run([*LONELY, "/usr/bin/python3", "-c", LOOPBACK_UP, "sh", "-c", script],
                              cwd=harness.ROOT, env=env, pass_fds=[ready.fileno()],
                              capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, said)
        self.assertRegex(done.stdout, r"Hello, world\n")
        self.assertRegex(done.stdout, r"Goodbye, world\n")
        self.assertEqual(done.stdout.count('{"after": "one second", "waited_ms": 1000}'), 2, said)
        self.assertIn("ended 0", done.stdout, said)

    def test_every_file_that_is_named_exists(self):
        with open(f"{harness.ROOT}/README.md", encoding="utf-8") as file:
            links = re.findall(r"\]\(([^)#]+)\)", file.read())
        self.assertTrue(links)
        missing = [link for link in links if not link.startswith("http") and
                   not os.path.exists(f"{harness.ROOT}/{link}")]
        self.assertEqual(missing, [])

    def test_the_settings_at_a_glance_are_settings(self):
        (ini,) = blocks(section("Configuration at a glance"), "ini")
        ini = re.sub(r"^(handlers|user) = .*$", "", ini, flags=re.M)
        ini = ini.replace("[tornadod]\n", f"[tornadod]\nhandlers = {self.home}\n")
        ini = ini.replace("/etc/tornadod/users", f"{self.home}/users") # tornadod -t looks into it
        with open(f"{self.home}/users", "w", encoding="ascii") as file:
            file.write("jack:$6$salt$hash\n")
        shutil.copy(f"{harness.BUILD}/handlers/hello.so", f"{self.home}/greet.so")
        for name in ("request_id", "security_headers", "rate_limit", "basic_auth", "gateway"):
            shutil.copy(f"{harness.BUILD}/handlers/{name}.so", self.home)
        path = f"{self.home}/tornadod.ini"
        with open(path, "w", encoding="utf-8") as file:
            file.write(ini)
        done = harness.run("-t", "-c", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
