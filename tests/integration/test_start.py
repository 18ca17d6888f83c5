"""Goal: what prevents a start is one line that names its place, and the right exit status."""

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
        ("workers = 1", "[handler:gone]\n", r"tornadod\.ini:7: \[handler:gone\]: .*gone\.so: No such file"),
    )

    def refused(self, pattern, *args):
        done = harness.run(*args)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertRegex(done.stderr, rf"^\[C [^\n]* master\] [^\n]*{pattern}[^\n]*\n$")

    def test_settings(self):
        for keys, ini, pattern in self.CASES:
            with self.subTest(pattern):
                daemon = harness.Daemon(["faults"], ini=ini, tornadod=keys)
                self.addCleanup(daemon.close)
                self.refused(pattern, "-c", daemon.ini_path)

    def test_what_is_not_there(self):
        self.refused("/nonexistent.ini: No such file or directory", "-c", "/nonexistent.ini")
        self.refused("--set: handlers = /nonexistent: No such file or directory",
                     "--set", "tornadod.handlers=/nonexistent", "--set", "listen:x.address=127.0.0.1:0")

    def test_the_command_line(self):
        for args in (["--nonsense"], ["nonsense"], ["-c"], ["--set", "nonsense"]):
            with self.subTest(args):
                done = harness.run(*args)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"^tornadod: [^\n]*\n$")


if __name__ == "__main__":
    unittest.main()
