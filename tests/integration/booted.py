"""A systemd of its own, booted by boot.sh in namespaces, with tornadod installed as the manual says.

    with Machine() as machine:
        machine.write("/etc/tornadod/tornadod.ini", "...")
        machine.systemctl("start", "tornadod")

Its network is that of this process, which enters a new one first: ports are free, nobody else is there.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
BOOT = os.path.join(harness.ROOT, "tests/integration/boot.sh")


def require():
    """SkipTest where this machine cannot do it at all."""
    if harness.SANITIZED:
        raise unittest.SkipTest("an installation is not sanitized")
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root boots a systemd")
    if not os.path.exists("/lib/systemd/systemd"):
        raise unittest.SkipTest("systemd is not installed")


def leave_network():
    """Until the module is done: a network of our own, with nothing but its loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise unittest.SkipTest(f"no network of its own: {os.strerror(ctypes.get_errno())}")
    unittest.addModuleCleanup(os.close, before)
    unittest.addModuleCleanup(libc.setns, before, CLONE_NEWNET)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


class Machine:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-booted-")  # boot.sh removes it
        self.console = tempfile.TemporaryFile()
        self.process = None
        self.init = 0

    def __enter__(self):
        try:
            subprocess.run(["make", "install", f"DESTDIR={self.folder}/install", "PREFIX=/usr"], check=True,
                           cwd=harness.ROOT, stdout=subprocess.DEVNULL)
            self._boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(harness.DEADLINE)
        shutil.rmtree(self.folder, ignore_errors=True)  # where it did not get so far
        self.console.close()

    def _boot(self):
        self.process = subprocess.Popen(["/bin/sh", BOOT, self.folder], stdin=subprocess.PIPE,
                                        stdout=self.console, stderr=subprocess.STDOUT)
        harness.wait_until(self._has_begun, "systemd does not begin")
        self.wait(lambda: self.run("systemctl", "is-system-running", "--wait").stdout == "running\n",
                  "systemd does not boot")

    def said(self):
        return os.pread(self.console.fileno(), 65536, 0).decode(errors="replace")

    def _has_begun(self):
        if self.process.poll() is not None:
            reason = re.search(r"^cannot: (.*)", self.said(), re.M)
            if reason is not None:
                raise unittest.SkipTest(reason[1])
            raise AssertionError(self.said())
        with contextlib.suppress(IndexError, OSError):
            unshare = harness.children(self.process.pid)[0]
            self.init = harness.children(unshare)[0]
            return os.path.exists(f"/proc/{self.init}/root/run/systemd/private")
        return False

    # ---- from outside

    def path(self, path):
        """What the machine calls `path`, seen from here."""
        return f"/proc/{self.init}/root{path}"

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, path):
        with open(self.path(path), encoding="utf-8") as file:
            return file.read()

    def wait(self, condition, what):
        """harness.wait_until, with what the machine has to say when it is in vain."""
        try:
            harness.wait_until(condition, what)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.said()}\n{self.journal()}") from e

    # ---- inside

    def run(self, *command):
        return subprocess.run(["/usr/bin/nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--pid",
                               "--cgroup", "--root", "--wd", *command], stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"},
                              capture_output=True, text=True, check=False, timeout=2 * harness.DEADLINE)

    def must(self, *command):
        """The output of a command that succeeds."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def systemctl(self, *args):
        return self.must("systemctl", *args)

    def show(self, unit, name):
        """A property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).rstrip("\n")

    def master(self, unit="tornadod"):
        """Its pid as the machine counts."""
        return int(self.show(unit, "MainPID"))

    def journal(self, unit=None):
        """Its last lines."""
        words = ["--unit", unit] if unit is not None else []
        return self.run("journalctl", "--no-pager", "--output=short-precise", "--lines=100", *words).stdout

    def entries(self, unit):
        """(priority, text) of what a unit has logged."""
        lines = self.must("journalctl", "--no-pager", "--output=json", f"_SYSTEMD_UNIT={unit}").splitlines()
        found = [json.loads(line) for line in lines]
        return [(int(entry.get("PRIORITY", -1)), entry.get("MESSAGE")) for entry in found]
