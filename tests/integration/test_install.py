"""Goal: what `make install` leaves is complete, hardened, exports what the headers say and no more,
and is all that a handler author needs; the README's handler is built and served word for word.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness

PREFIX = "/usr"
FILES = """
    usr/sbin/tornadod
    usr/lib/libtornado.so
    usr/lib/libtornado.so.1
    usr/lib/libtornado-test.so
    usr/lib/libtornado-test.so.1
    usr/lib/pkgconfig/tornado.pc
    usr/lib/pkgconfig/tornado-test.pc
    usr/lib/tornadod/handlers/hello.so
    usr/lib/tornadod/handlers/classic.so
    usr/lib/tornadod/handlers/basic_auth.so
    usr/lib/tornadod/handlers/bearer.so
    usr/lib/tornadod/handlers/cors.so
    usr/lib/tornadod/handlers/gateway.so
    usr/lib/tornadod/handlers/maintenance.so
    usr/lib/tornadod/handlers/rate_limit.so
    usr/lib/tornadod/handlers/request_id.so
    usr/lib/tornadod/handlers/security_headers.so
    usr/lib/tornadod/handlers/status.so
    usr/lib/systemd/system/tornadod.service
    usr/lib/sysusers.d/tornadod.conf
    usr/lib/tmpfiles.d/tornadod.conf
    usr/include/tornado/tornado.h
    usr/share/man/man8/tornadod.8
    usr/share/man/man5/tornadod.ini.5
    usr/share/doc/tornadod/LICENSE
    usr/share/doc/tornadod/README.md
    usr/share/bash-completion/completions/tornadod
    usr/share/gdb/auto-load/usr/lib/libtornado.so.1-gdb.py
    etc/tornadod/tornadod.ini
    etc/logrotate.d/tornadod
""".split()


def output(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


@unittest.skipIf(harness.SANITIZED, "an installation is not sanitized")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="tornadod-install-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        output("make", "install", f"DESTDIR={cls.root}", f"PREFIX={PREFIX}", cwd=harness.ROOT)
        cls.binaries = [f"{cls.root}/{name}" for name in FILES
                        if name.endswith((".so", ".so.1", "sbin/tornadod"))]

    def test_every_file_is_there(self):
        missing = [name for name in FILES if not os.path.exists(f"{self.root}/{name}")]
        self.assertEqual(missing, [])

    def test_no_placeholder_and_no_build_directory_is_left(self):
        for name in FILES:
            with open(f"{self.root}/{name}", "rb") as file:
                text = file.read()
            if not name.endswith((".so", ".so.1", "/tornadod", ".md")):
                self.assertNotRegex(text, rb"@[A-Z]+@", name)
                self.assertNotIn(harness.ROOT.encode(), text, name)

    def test_a_second_installation_keeps_the_settings(self):
        path = f"{self.root}/etc/tornadod/tornadod.ini"
        with open(path, "a", encoding="utf-8") as file:
            file.write("# mine\n")
        output("make", "install", f"DESTDIR={self.root}", f"PREFIX={PREFIX}", cwd=harness.ROOT)
        with open(path, encoding="utf-8") as file:
            self.assertIn("# mine", file.read())

    def test_hardened(self):
        """Position independent, full RELRO, bound at start, no executable stack, no text relocations."""
        for path in self.binaries:
            headers = output("readelf", "-lW", path)
            dynamic = output("readelf", "-dW", path)
            self.assertIn("GNU_RELRO", headers, path)
            self.assertRegex(headers, r"GNU_STACK .* RW ", path)
            self.assertRegex(dynamic, r"BIND_NOW|\(FLAGS_1\).*NOW", path)
            self.assertNotIn("TEXTREL", dynamic, path)
            self.assertIn("DYN (", output("readelf", "-hW", path), path)
        for name in ("usr/sbin/tornadod", "usr/lib/libtornado.so.1"):
            symbols = output("nm", "-D", "--undefined-only", f"{self.root}/{name}")
            self.assertIn("__stack_chk_fail", symbols, name)
            self.assertIn("_chk@", symbols, name)  # fortified

    @unittest.skipUnless(shutil.which("hardening-check"), "there is no hardening-check")
    def test_hardening_check_agrees(self):
        for path in self.binaries:
            is_handler = "/handlers/" in path
            # A handler may have nothing to protect: neither arrays nor calls that can be fortified.
            leave_out = ["--nofortify", "--nostackprotector"] if is_handler else []
            done = subprocess.run(["hardening-check", "--nocfprotection",
                                   *leave_out, path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def exported(self, version):
        """Names that the library defines with that symbol version."""
        rows = output("nm", "-D", "--defined-only", f"{self.root}/usr/lib/libtornado.so.1")
        return set(re.findall(rf" [A-Z] (\w+)@@{re.escape(version)}$", rows, re.M))

    def declared(self, mark, *folders):
        headers = [f"{harness.ROOT}/lib/{folder}/{name}" for folder in folders
                   for name in os.listdir(f"{harness.ROOT}/lib/{folder}") if name.endswith(".h")]
        return set(output("awk", "-v", f"mark={mark}", "-f", "lib/symbols.awk", *headers,
                          cwd=harness.ROOT).replace(";", "").split())

    def test_public_symbols_are_those_of_the_public_headers(self):
        self.assertEqual(self.exported("TORNADO_1.0"), self.declared("TD_API", "tornado"))

    def test_private_symbols_are_those_of_the_other_headers(self):
        self.assertEqual(self.exported("TORNADO_PRIVATE"),
                         self.declared("TD_PRIVATE", "tornado", "base", "io", "http", "web"))

    def test_nothing_else_is_exported(self):
        rows = output("nm", "-D", "--defined-only", f"{self.root}/usr/lib/libtornado.so.1")
        others = [row for row in rows.splitlines() if "@@TORNADO_" not in row and
                  not re.search(r" A TORNADO_", row)]
        self.assertEqual(others, [])

    def test_manual_pages_are_well_formed(self):
        if shutil.which("man") is None:
            self.skipTest("there is no man")
        for page in ("man8/tornadod.8", "man5/tornadod.ini.5"):
            done = subprocess.run(["man", "--warnings", "-l", f"{self.root}/usr/share/man/{page}"],
                                  env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
                                  capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)

    def test_uninstall_leaves_the_settings_alone(self):
        root = tempfile.mkdtemp(prefix="tornadod-uninstall-")
        self.addCleanup(shutil.rmtree, root)
        for target in ("install", "uninstall"):
            output("make", target, f"DESTDIR={root}", f"PREFIX={PREFIX}", cwd=harness.ROOT)
        left = [name for _, _, names in os.walk(root) for name in names]
        self.assertCountEqual(left, ["tornadod.ini", "tornadod"])  # and that of logrotate


if __name__ == "__main__":
    unittest.main()
