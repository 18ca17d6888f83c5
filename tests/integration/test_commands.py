"""Goal: a command of the command line does what it says, and one that is not there is named."""

import os
import subprocess
import unittest

import harness


class Commands(unittest.TestCase):
    def test_help_lists_them_all(self):
        done = harness.run("help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\n  help +list the commands")
        self.assertEqual(harness.run("--help").stdout, done.stdout)

    def test_each_has_a_help_of_its_own(self):
        listed = harness.run("help").stdout.split("of its own:\n\n")[1].splitlines()
        for name in [line.split()[0] for line in listed]:
            with self.subTest(name):
                done = harness.run(name, "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(done.stdout, f"^Usage: tornadod {name} ")
                self.assertEqual(harness.run("help", name).stdout, done.stdout)

    def test_the_nearest_one_is_told(self):
        done = harness.run("halp")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "tornadod: halp is no command; did you mean help?\n")
        self.assertIn("see tornadod help", harness.run("nonsense").stderr)

    def test_what_could_not_be_printed_is_no_success(self):
        with harness.Daemon(["hello"]) as daemon:
            here = [f"--set=tornadod.handlers={daemon.handlers}", f"--set=tornadod.control={daemon.control}"]
            for words in (["help"], ["--version"], ["-T"], ["status", *here], ["top", "--once", *here],
                          ["handlers", *here], ["routes", *here], ["explain", "GET", "/", *here]):
                with self.subTest(words[0]), open("/dev/full", "w", encoding="ascii") as full:
                    done = subprocess.run([os.path.join(harness.BUILD, "tornadod"), *words], stdout=full, text=True,
                                          stderr=subprocess.PIPE, check=False, timeout=harness.DEADLINE)
                    self.assertEqual((done.returncode, done.stderr),
                                     (1, "tornadod: stdout: No space left on device\n"))

    def test_who_reads_no_more_is_no_failure(self):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w", encoding="ascii") as pipe:
            done = subprocess.run([os.path.join(harness.BUILD, "tornadod"), "help"], stdout=pipe, check=False,
                                  stderr=subprocess.PIPE, text=True, timeout=harness.DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
