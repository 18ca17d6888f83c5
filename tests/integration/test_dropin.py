"""Goal: a handler that is dropped in, replaced or taken away is served or gone by itself; one that is no
good changes nothing."""

import os
import shutil
import time
import unittest

import harness

WATCHED = "workers = 2\nhandlers_watch = on"


class DropIn(unittest.TestCase):
    def next_generation(self, daemon, change):
        """The log lines from the change to the generation that it brought."""
        lines, before = len(daemon.log.lines), daemon.workers()
        change()
        daemon.wait_log(r"generation \d+ serves", lines)
        daemon.wait_replaced(before)
        return daemon.log.lines[lines:]

    def test_a_handler_comes_changes_and_goes(self):
        with harness.Daemon(["faults"], tornadod=WATCHED) as daemon:
            self.assertEqual(daemon.get("/hello/world").status, 404)
            lines = self.next_generation(daemon, lambda: daemon.install("hello"))
            self.assertRegex("\n".join(lines), "hello.so has changed")
            self.assertEqual(daemon.get("/hello/world").status, 200)
            self.next_generation(daemon, lambda: daemon.install("classic", as_name="hello"))
            self.assertEqual(daemon.get("/hello/world").status, 404)
            self.assertEqual(daemon.get("/index/1/2").status, 200)
            self.next_generation(daemon, lambda: os.unlink(f"{daemon.handlers}/hello.so"))
            self.assertEqual(daemon.get("/index/1/2").status, 404)
            self.assertEqual(daemon.get("/pid").status, 200)

    def test_one_that_is_written_slowly_counts_when_it_is_whole(self):
        with harness.Daemon(["faults"], tornadod=WATCHED) as daemon:
            with open(f"{harness.BUILD}/handlers/hello.so", "rb") as file:
                code = file.read()
            lines = len(daemon.log.lines)

            def write_slowly():
                with open(f"{daemon.handlers}/hello.so", "wb", buffering=0) as file:
                    os.chmod(file.name, 0o755)
                    for at in range(0, len(code), len(code) // 8):
                        file.write(code[at:at + len(code) // 8])
                        time.sleep(0.05)  # longer than the moment, all in all

            self.next_generation(daemon, write_slowly)
            self.assertEqual(daemon.get("/hello/world").status, 200)
            said = "\n".join(daemon.log.lines[lines:])
            self.assertNotIn("reload failed", said)
            self.assertEqual(said.count("reloading"), 1)

    def test_several_changes_at_once_are_one(self):
        with harness.Daemon(["faults"], tornadod=WATCHED) as daemon:
            lines = self.next_generation(daemon, lambda: [daemon.install(name)
                                                          for name in ("hello", "classic")])
            self.assertEqual("\n".join(lines).count("reloading"), 1)
            self.assertEqual(daemon.get("/hello/world").status, 200)
            self.assertEqual(daemon.get("/index/1/2").status, 200)

    def test_one_that_is_no_good_changes_nothing(self):
        with harness.Daemon(["hello"], tornadod=WATCHED) as daemon:
            lines = len(daemon.log.lines)
            with open(f"{daemon.handlers}/broken.so.new", "wb") as file:
                file.write(b"\x7fELF and so on")
            os.chmod(f"{daemon.handlers}/broken.so.new", 0o755)
            os.rename(f"{daemon.handlers}/broken.so.new", f"{daemon.handlers}/broken.so")
            daemon.wait_log("reload failed.*broken.so", lines)
            self.assertEqual(daemon.get("/hello/world").status, 200)
            os.unlink(f"{daemon.handlers}/broken.so")
            daemon.wait_log(r"generation \d+ serves", lines)

    def test_it_can_be_switched_off_and_on(self):
        with harness.Daemon(["hello"], tornadod="workers = 1\nhandlers_watch = off") as daemon:
            daemon.install("classic")
            daemon.write_ini(tornadod=WATCHED)
            daemon.reload()
            self.assertEqual(daemon.get("/index/1/2").status, 200)
            self.assertNotIn("has changed", daemon.log.text())
            self.next_generation(daemon, lambda: shutil.move(f"{daemon.handlers}/classic.so",
                                                             f"{daemon.folder}/classic.so"))
            self.assertEqual(daemon.get("/index/1/2").status, 404)


if __name__ == "__main__":
    unittest.main()
