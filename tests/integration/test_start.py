"""Goal: what prevents a start is one line that names its place, and the right exit status."""

import os
import re
import unittest

import harness


class Refused(unittest.TestCase):
    CASES = (  # keys of the file, more lines of it, the line that is told
        ("workers = 0", "", r"tornadod\.ini:3: workers: '0' is neither auto nor a whole number"),
        ("worker = 1", "", r"tornadod\.ini:3: 'worker' is no key of \[tornadod\]; did you mean 'workers'\?"),
        ("pid_file = none/pid", "", r"tornadod\.ini:3: pid_file /.*none/pid: No such file or directory"),
        ("workers = 1", "[log]\ntarget = file\nfile = none/log\n",
         r"tornadod\.ini:9: log file /.*/none/log: No such file or directory"),
        ("workers = 1", "[log]\naccess_file = none/log\n",
         r"tornadod\.ini:8: access_file = /.*/none/log: No such file or directory"),
        ("workers = 1", "[listen:x]\naddress = 127.0.0.1:9\napplication = none\n",
         r"tornadod\.ini:9: there is no section \[application:none\]"),
        ("workers = 1", "[handler:faults]\nhosts = (\n",
         r"tornadod\.ini:7: \[handler:faults\] hosts '\(': missing closing parenthesis"),
        ("body_temp_path = none", "", r"tornadod\.ini:3: body_temp_path: no file can be made in /.*/none: No such"),
        ("resolver_servers = 10.0.0.53, dns.test", "",
         r"tornadod\.ini:3: resolver_servers: 'dns\.test' is no address such as 10\.0\.0\.53"),
        ("resolver_override = a b c", "",
         r'tornadod\.ini:3: resolver_override: "a b c" is not NAME\[:PORT\]=HOST\[:PORT\]'),
        ("ca_certs = none", "", r"tornadod\.ini:3: ca_certs /.*/none: No such file or directory"),
        ("control_group = nosuchgroup", "",
         r"tornadod\.ini:3: control_group = nosuchgroup: there is no such group"),
        ("workers = 1", "[handler:gone]\n", r"tornadod\.ini:7: \[handler:gone\]: .*gone\.so: No such file"),
    )

    APPLICATION = (  # keys of it, of which the last is wrong, and what is told
        ("static_path = none", "static_path /.*/none: No such file or directory"),
        ("mime_types = none", "mime_types: /.*/none: No such file or directory"),
        ("default_host = a b", "default_host 'a b' is no host"),
        ("default_host_redirect = on", "default_host_redirect = on: there is no default_host"),
        ("default_handler = none", "default_handler = none: none of its handlers"),
        ("compress_response = on\ncompress_codings = deflate", "compress_codings: 'deflate' is none of"),
        ("compress_response = on\ncompress_types = */*", r"compress_types: '\*/\*' is no TYPE/SUBTYPE"),
        ("compress_response = on\ncompress_types = a/b; c=d", "compress_types: 'a/b; c=d' is no TYPE/SUB"),
        ("static_path = .\nstatic_url_prefix = /x", "static_url_prefix '/x' does not begin and end"),
        ("static_path = .\nstatic_url_prefix = /a b/", "static_url_prefix '/a b/' has what no path"),
        ("static_path = .\nstatic_default_filename = ..", r"static_default_filename '\.\.' is no path"),
        ("static_path = .\nstatic_fallback = ../x", r"static_fallback '\.\./x' is no path"),
        ("static_path = .\nstatic_cache_control = x", "static_cache_control: 'x' is no rule"),
    )

    def refused(self, pattern, *args):
        done = harness.run(*args, *harness.UNCONTROLLED)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertRegex(done.stderr, rf"^\[C [^\n]* master\] [^\n]*{pattern}[^\n]*\n$")

    def test_settings(self):
        for keys, ini, pattern in self.CASES:
            with self.subTest(pattern):
                daemon = harness.Daemon(["faults"], ini=ini, tornadod=keys)
                self.addCleanup(daemon.close)
                self.refused(pattern, "-c", daemon.ini_path)
                if "pid_file" not in keys and "[log]" not in ini:  # -t opens none of these
                    done = harness.run("-t", "-c", daemon.ini_path)
                    self.assertEqual(done.returncode, 78, done.stderr)
                    self.assertRegex(done.stderr, rf"^tornadod: [^\n]*{pattern}")

    def test_settings_of_an_application(self):
        for keys, pattern in self.APPLICATION:
            with self.subTest(pattern):
                daemon = harness.Daemon(["faults"], ini=f"[application]\n{keys}\n")
                self.addCleanup(daemon.close)
                line = 7 + len(keys.split("\n"))
                self.refused(rf"tornadod\.ini:{line}: application default: {pattern}", "-c", daemon.ini_path)

    def test_what_is_not_there(self):
        self.refused("/nonexistent.ini: No such file or directory", "-c", "/nonexistent.ini")
        self.refused("--set: handlers = /nonexistent: No such file or directory",
                     "--set", "tornadod.handlers=/nonexistent", "--set", "listen:x.address=127.0.0.1:0")

    def test_who_has_started_it_is_told_when_the_log_is_a_file(self):
        keys = "pid_file = pid"
        with harness.Daemon(["faults"], tornadod=keys) as holder:
            holder.write_ini("[log]\ntarget = file\nfile = log\n", tornadod=keys)
            done = harness.run("-c", holder.ini_path, *harness.UNCONTROLLED)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"^tornadod: \S+:3: pid_file \S+: another tornadod holds it\n$")
            with open(f"{holder.folder}/log", encoding="utf-8") as file:
                self.assertIn("another tornadod holds it", file.read())

    def test_the_command_line(self):
        for args in (["--nonsense"], ["nonsense"], ["-c"], ["--set", "nonsense"]):
            with self.subTest(args):
                done = harness.run(*args)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"^tornadod: [^\n]*\n$")


class Manual(unittest.TestCase):
    """The examples of tornadod.ini(5) are good, but for the paths and users of another machine."""

    def examples(self):
        with open(f"{harness.ROOT}/conf/tornadod.ini.5", encoding="utf-8") as file:
            blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", file.read(), re.M | re.S)
        return [block for block in blocks if re.search(r"^\[", block, re.M)]

    def test_they_are_good(self):
        self.assertEqual(len(self.examples()), 3)
        for text in self.examples():
            with self.subTest(text):
                daemon = harness.Daemon(["hello", "request_id", "security_headers", "rate_limit",
                                         "maintenance", "basic_auth"], ini=" ")
                self.addCleanup(daemon.close)
                daemon.install("faults", "upload")
                text = re.sub(r"^(user|include) = .*\n", "", text, flags=re.M)
                text = re.sub(r"/(srv/www|var/lib/tornadod)\b", ".", text)
                text = text.replace("/etc/tornadod/secret", "secret")
                text = text.replace("/etc/tornadod/users", f"{daemon.folder}/users")
                with open(f"{daemon.folder}/users", "w", encoding="utf-8") as file:
                    file.write("jack:$6$saltsalt$" + "x" * 86 + "\n")
                with open(f"{daemon.folder}/secret", "w", encoding="utf-8") as file:
                    file.write("0123456789abcdef0123456789abcdef\n")
                with open(daemon.ini_path, "w", encoding="utf-8") as file:
                    file.write(f"[tornadod]\nhandlers = {daemon.handlers}\n{text}")
                os.chmod(f"{daemon.folder}/secret", 0o600)
                done = harness.run("-t", "-c", daemon.ini_path)
                self.assertEqual(done.returncode, 0, done.stderr)


class Unserved(unittest.TestCase):
    def test_who_has_a_section_that_nobody_can_reach_is_warned(self):
        def test(ini):
            daemon = harness.Daemon(["hello", "faults", "request_id"], ini=ini)
            self.addCleanup(daemon.close)
            done = harness.run("-t", "-c", daemon.ini_path)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stderr
        self.assertRegex(test("[handler:hello]\napplication = shop\n[application:shop]\n"),
                         r"^\[W [^\n]* hello\] \S+tornadod\.ini:8: no listener serves application shop, so "
                         r"nobody reaches this handler\n$")
        self.assertEqual(test("[handler:hello]\n[handler:request_id]\naccept = all\n"), "")
        self.assertEqual(test("[listen:x]\naddress = 127.0.0.1:0\napplication = shop\n[handler:hello]\n"
                              "application = shop\n[application:shop]\n"), "")


class Debug(unittest.TestCase):
    WARNING = r"debug is on in \[application:default\], and \[listen:l\] .* is not for this machine"

    def test_who_may_see_the_log_is_told(self):
        for ip, debug, told in (("127.0.0.1", "on", False), ("0.0.0.0", "on", True),
                                ("0.0.0.0", "off", False)):
            with self.subTest((ip, debug)):
                ini = f"[listen:l]\naddress = {ip}:0\n[application]\ndebug = {debug}\n"
                with harness.Daemon(["faults"], ini=ini, listeners={}) as daemon:
                    daemon.wait_log("generation 1 serves")
                    daemon.reload()
                    found = re.findall(self.WARNING, daemon.log.text())
                    self.assertEqual(len(found), 2 if told else 0)

    def test_pages_say_what_the_log_says(self):
        with harness.Daemon(["faults"], ini="[application]\ndebug = on\n") as daemon:
            self.assertRegex(daemon.get("/raise").body, b"^[45][0-9]{2}: [A-Z][^\n]*\n\n[^\n]+\n$")


if __name__ == "__main__":
    unittest.main()
