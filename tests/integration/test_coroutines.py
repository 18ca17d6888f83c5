"""Goal: coroutines hold in C++ frames, on other machines, under valgrind, and before a debugger."""

import glob
import os
import resource
import shutil
import subprocess
import tempfile
import unittest

from harness import BUILD, ROOT, SANITIZED

FLAGS = ["-O2", "-g", "-fexceptions", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
         "-Ilib", "-I."]
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if SANITIZED else []
LIBS = os.environ.get("TD_LIBS", "").split()  # what libtornado.a needs, from the Makefile
ARCHIVE = os.path.join(BUILD, "libtornado.a")
SWITCH = ["lib/io/switch.S", "lib/io/switch_catch.c", "lib/io/switch_ucontext.c"]


def have(*programs):
    missing = [name for name in programs if shutil.which(name) is None]
    return unittest.skipIf(missing, f"{', '.join(missing)} not installed")


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.program = os.path.join(self.folder, "program")

    def run_all(self, command, **options):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", **options)
        self.assertEqual(done.returncode, 0, f"{' '.join(command)}\n{done.stdout}")
        return done.stdout

    def build(self, compiler, *arguments):
        self.run_all([compiler, *FLAGS, "-o", self.program, *arguments])


class Cxx(Programs):
    @have("g++")
    def test_frames_of_cxx_are_left_as_cxx_expects(self):
        self.build("g++", "-std=gnu++20", *SANITIZE, "tests/integration/cxx_frames.cc", ARCHIVE,
                   *LIBS)
        output = self.run_all([self.program])
        self.assertIn("all good", output)
        self.assertIn("nobody caught (anonymous namespace)::own_error: disk full", output)
        self.assertIn("nobody caught int", output)


class OtherMachines(Programs):
    def check(self, compiler, *flags, run=()):
        self.build(compiler, "-std=gnu11", *flags, "tests/integration/switch_bare.c", *SWITCH,
                   "-lm")
        self.assertIn(" cases, 0 failed", self.run_all([*run, self.program]))

    def test_switch_without_a_library(self):
        self.check("cc")

    def test_switch_by_ucontext(self):
        self.check("cc", "-DTD_SWITCH_UCONTEXT")

    @have("aarch64-linux-gnu-gcc", "qemu-aarch64")
    def test_switch_on_aarch64(self):
        self.check("aarch64-linux-gnu-gcc", "-static", run=["qemu-aarch64"])
        self.check("aarch64-linux-gnu-gcc", "-static", "-DTD_SWITCH_UCONTEXT", run=["qemu-aarch64"])

    def test_coroutines_by_ucontext(self):
        sources = [path for pattern in ("lib/io/*.[cS]", "lib/base/*.c")
                   for path in glob.glob(pattern, root_dir=ROOT)]
        self.build("cc", "-std=gnu11", "-DTD_SWITCH_UCONTEXT", "-DTD_VERSION=\"\"",
                   "tests/unit/test_coroutine.c", *sources, "-lcheck", "-lsubunit", "-lrt", *LIBS)
        self.assertIn("100%: Checks:", self.run_all([self.program]))


@unittest.skipIf(SANITIZED, "valgrind does not run sanitized programs")
class Valgrind(Programs):
    @have("valgrind")
    def test_nothing_is_lost_or_wrong(self):
        for suite in "wait", "future":
            self.build("cc", "-std=gnu11", f"tests/unit/test_{suite}.c", ARCHIVE, "-lcheck",
                       "-lsubunit", "-lrt", *LIBS)
            output = self.run_all(["valgrind", "-q", "--leak-check=full", "--error-exitcode=9",
                                   self.program], env={**os.environ, "CK_FORK": "no"})
            self.assertIn("100%: Checks:", output)
            self.assertNotIn("==", output)


@have("gdb")
@unittest.skipIf(SANITIZED, "once is enough")
class Gdb(Programs):
    wanted = [
        r"coroutine 0x[0-9a-f]+: greeter instance 3 route 2 request 41",
        r"  #0  0x[0-9a-f]+ in td_coroutine_wait at lib/io/coroutine.c:\d+",
        r"  #3  0x[0-9a-f]+ in wait_at_depth at tests/integration/waiting_coroutines.c:\d+",
        r"  #4  0x[0-9a-f]+ in wait_three_deep at tests/integration/waiting_coroutines.c:\d+",
        r"  #1  0x[0-9a-f]+ in td_sleep at lib/io/wait.c:\d+",
        r"  #2  0x[0-9a-f]+ in sleep_long at tests/integration/waiting_coroutines.c:\d+",
        r"2 coroutines wait",
    ]

    def setUp(self):
        super().setUp()
        self.build("cc", "-std=gnu11", "tests/integration/waiting_coroutines.c", ARCHIVE, *LIBS)

    def gdb(self, *commands, files=()):
        arguments = [argument for command in commands for argument in ("-ex", command)]
        return self.run_all(["gdb", "-nx", "-batch", "-ex", "source lib/io/tornado-gdb.py",
                             *arguments, self.program, *files])

    def check_coroutines(self, output):
        for line in self.wanted:
            self.assertRegex(output, line)

    def test_coroutines_of_a_process(self):
        output = self.gdb("break here", "run", "tornado coroutines", "tornado coroutines full",
                          "bt")
        self.check_coroutines(output)
        self.assertRegex(output, r"depth = 2\n")
        self.assertRegex(output, r"#1 .* in main ")  # gdb's own view is as it was

    def test_a_backtrace_inside_of_a_coroutine_ends_with_it(self):
        output = self.gdb("break wait_at_depth if depth == 1", "run", "bt")
        self.assertRegex(output, r"#5  .*td_switch_enter \(\) at lib/io/switch.S:\d+\n")
        self.assertNotRegex(output, r"#6 |corrupt")

    def test_coroutines_of_a_core(self):
        with open("/proc/sys/kernel/core_pattern") as pattern:
            if pattern.read().strip() != "core":
                self.skipTest("cores go elsewhere")
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        subprocess.run([self.program, "abort"], cwd=self.folder, check=False,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)))
        cores = glob.glob(os.path.join(self.folder, "core*"))
        if not cores:
            self.skipTest("no core was written")
        self.check_coroutines(self.gdb("tornado coroutines", files=cores))


if __name__ == "__main__":
    unittest.main()
