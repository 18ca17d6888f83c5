"""Goal: a command of the command line does what it says, and one that is not there is named."""

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


if __name__ == "__main__":
    unittest.main()
