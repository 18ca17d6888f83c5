"""Goal: who writes a handler gets from nothing to one that is tested and serves with the commands that
are there for that: new, run, check, routes, explain; and what they refuse they say.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from unittest import mock

import harness

TORNADOD = os.path.join(harness.BUILD, "tornadod")


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        """Whole at once, as editors do."""
        with open(self.path(name) + "~", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(self.path(name) + "~", self.path(name))

    def run_in(self, *args):
        return harness.run(*args, cwd=self.folder)

    def make(self, *args):
        env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(["make", *args], cwd=self.path("shop"), env=env, text=True, check=False,
                              capture_output=True, timeout=harness.DEADLINE)


@unittest.skipIf(harness.SANITIZED, "what authors build is not sanitized")
class New(Folder):
    def test_what_is_written_compiles_passes_and_serves(self):
        done = self.run_in("new", "shop")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.split(), ["shop/shop.c", "shop/test_shop.c", "shop/Makefile"])
        done = self.make("test", "CFLAGS=-Wall -Wextra -Wpedantic -Werror")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("100%: Checks: 2", done.stdout)
        with harness.Daemon([]) as daemon:
            done = self.make("install", f"HANDLERDIR={daemon.handlers}")
            self.assertEqual(done.returncode, 0, done.stderr)
            daemon.reload()
            self.assertEqual(daemon.get("/shop/world").body, b"Hello, world\n")

    def test_nothing_is_written_over(self):
        os.mkdir(self.path("mine"))
        self.write("mine/Makefile", "all:\n")
        done = self.run_in("new", "shop", "--dir", "mine")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "tornadod new: mine/Makefile is there already; nothing was written\n")
        self.assertEqual(os.listdir(self.path("mine")), ["Makefile"])

    def test_names_that_are_none(self):
        for name in ("Shop", "1shop", "a-b", "../x", "a/b", "", "x" * 65):
            done = self.run_in("new", name)
            self.assertEqual(done.returncode, 1)
            self.assertIn("a name is 1 to 64 lower-case letters", done.stderr)
        self.assertIn("is missing", self.run_in("new").stderr)
        self.assertEqual(os.listdir(self.folder), [])


class Runner:
    """`tornadod run` in a process of its own."""

    def __init__(self, folder, *args):
        self.notifications = harness.Notifications(os.path.join(folder, "notify"))
        self.process = subprocess.Popen(
            [TORNADOD, "run", *args, "--listen", "127.0.0.1:0"], cwd=folder,
            env={**os.environ, "NOTIFY_SOCKET": self.notifications.path}, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.log = harness.Log(self.process.stderr)
        self.notifications.wait("READY=1", self.process)
        address = harness.listening_sockets(harness.children(self.process.pid)[0])[0]
        self.port = int(address.split(":")[1], 16)

    def get(self, target):
        with harness.Connection(("127.0.0.1", self.port)) as conn:
            conn.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            return conn.response()

    def wait_served(self, target, body):
        """A reload takes a moment, and which worker answers meanwhile is chance."""
        harness.wait_until(lambda: self.get(target).body == body, f"{target} never was {body}")

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(harness.DEADLINE)
        self.log.thread.join()
        self.notifications.close()
        return status


SOURCE = """#include <tornado/tornado.h>
#include "text.h"
static void
get(td_handler *h)
{{
    td_write_text(h, TEXT);
    if (td_get_argument_bool_default(h, "raise", false))
        td_raise(h, 500, "for all to see");
}}
static const td_handler_class Get = {{.get = get}};
TD_PLUGIN(.name = "saying", .version = "1.0", .urls = TD_URLS(TD_URL("/saying", &Get)));
{}
"""


@unittest.skipIf(harness.SANITIZED, "what authors build is not sanitized")
class Run(Folder):
    def start(self, *args):
        runner = Runner(self.folder, *args)
        self.addCleanup(runner.stop, signal.SIGTERM)
        return runner

    def test_a_source_is_built_served_and_built_again(self):
        self.write("text.h", '#define TEXT "one"\n')
        self.write("saying.c", SOURCE.format(""))
        before = set(os.listdir(tempfile.gettempdir()))
        runner = self.start("saying.c")
        self.assertEqual(runner.get("/saying").body, b"one")
        self.assertIn(b"for all to see", runner.get("/saying?raise=on").body)  # debug is on
        self.write("text.h", '#define TEXT "two"\n')
        runner.wait_served("/saying", b"two")
        lines = len(runner.log.lines)
        self.write("saying.c", SOURCE.format("#error broken"))
        runner.log.wait("error: #error broken", lines)
        runner.log.wait("saying.c does not compile; the old one goes on", lines)
        self.assertEqual(runner.get("/saying").body, b"two")
        self.write("saying.c", SOURCE.format("").replace("TEXT)", '"three")'))
        runner.wait_served("/saying", b"three")
        self.assertEqual(runner.stop(), 0)
        mine = set(os.listdir(tempfile.gettempdir())) - before
        self.assertEqual([name for name in mine if name.startswith("tornadod-run-")], [])

    def test_a_shared_object_is_served_and_again_when_it_changes(self):
        def install(name):
            shutil.copy(f"{harness.BUILD}/handlers/{name}.so", self.path("it.so~"))
            os.rename(self.path("it.so~"), self.path("it.so"))
        install("hello")
        runner = self.start("it.so")
        self.assertEqual(runner.get("/hello/world").status, 200)
        install("security_headers")
        harness.wait_until(lambda: runner.get("/hello/world").status == 404, "it was not reloaded")
        self.assertEqual(runner.stop(signal.SIGTERM), 0)

    def test_what_cannot_be_run_says_so(self):
        self.write("broken.c", "int x")
        os.mkfifo(f"{self.folder}/pipe.c")
        for args, text in ((["broken.c"], "broken.c does not compile"), (["none.so"], "none.so: No such"),
                           (["none.c"], "none.c: No such"), (["pipe.c"], "pipe.c: is no file"),
                           (["it.py"], "ends in none of .c .cc"), ([], "which FILE.c")):
            done = self.run_in("run", *args)
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)

    def test_the_environment_names_the_compiler(self):
        for name, variable in (("it.c", "CC"), ("it.cc", "CXX")):
            self.write(name, "")
            with mock.patch.dict(os.environ, {variable: "/nonexistent/compiler"}):
                done = self.run_in("run", name)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"/nonexistent/compiler.*: cannot be run; {variable} names")


@unittest.skipIf(harness.SANITIZED, "what authors build is not sanitized")
class Check(Folder):
    SOURCE = """#include <tornado/tornado.h>
static int hits;
static void
get(td_handler *h)
{
    td_writef(h, "%d", ++hits);
}
static const td_handler_class Get = {.get = get};
TD_PLUGIN(.name = "counting", .version = "1.0", .urls = TD_URLS(TD_URL("/", &Get)));
"""

    def check(self, path):
        done = harness.run("check", path)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_every_bundled_handler_is_good(self):
        for name in os.listdir(f"{harness.BUILD}/handlers"):
            if not name.endswith(".so"):
                continue
            status, text = self.check(f"{harness.BUILD}/handlers/{name}")
            self.assertEqual(status, 0, text)
            self.assertRegex(text, r"^\S+: handler \w+ 1\.0, built for ABI 1\.0\n(  \S.*\n)+$")

    def test_what_it_has_is_listed(self):
        built = f"{harness.BUILD}/tests/handlers"
        for path, line in ((f"{harness.BUILD}/handlers/hello.so", r"route    /hello/\(\?<name>\[\^/\]\+\), called greet"),
                           (f"{harness.BUILD}/handlers/status.so",
                            r"setting  allow = 127\.0\.0\.0/8, ::1 \(text\): Addresses and networks"),
                           (f"{harness.BUILD}/handlers/request_id.so", "middleware"),
                           (f"{built}/metrics.so", r"metric   level \(gauge\): "),
                           (f"{built}/lines.so", "protocol of its own")):
            status, text = self.check(path)
            self.assertLess(status, 78, text)
            self.assertRegex(text, f"(?m)^  {line}")

    def test_a_pattern_that_is_none(self):
        path = f"{harness.BUILD}/tests/handlers/bad_pattern.so"
        status, text = self.check(path)
        self.assertEqual(status, 78, text)
        self.assertIn("pattern", text)

    def test_what_would_be_refused(self):
        for name, text in (("undefined_symbol", "nobody has td_there_is_no_such_call, which it needs"),
                           ("private_symbol", "uses td_clock_ns, which is the daemon's own"),
                           ("abi_too_new", "was built for ABI 2.0; this tornadod has 1."),
                           ("no_descriptor", "has no symbol tornado_plugin: it is not a handler")):
            path = f"{harness.BUILD}/tests/handlers/{name}.so"
            status, said = self.check(path)
            self.assertEqual(status, 78, said)
            self.assertIn(f"{path}: {text}", said)
        self.write("empty.so", "")
        for path, text in ((__file__, "is not a shared object"), ("/no/such.so", "No such file"),
                           (self.folder, "is a directory"), ("/dev/null", "is no file"),
                           (self.path("empty.so"), "is empty")):
            status, said = self.check(path)
            self.assertEqual((status, text in said), (78, True), said)

    def test_what_may_do_harm(self):
        target = self.path("counting.so")
        cases = ((["-g", "-fexceptions"], ["hits can be written to"]),
                 (["-g"], ["hits can be written to", "was compiled without -fexceptions"]),
                 (["-fno-asynchronous-unwind-tables"],
                  ["hits can be written to", "get has no unwind information"]))
        for flags, texts in cases:
            subprocess.run(["gcc", "-x", "c", "-", "-shared", "-fPIC", *flags, "-o", target,
                            f"-I{harness.ROOT}/lib", f"-L{harness.BUILD}", "-ltornado"],
                           input=self.SOURCE, text=True, check=True, timeout=harness.DEADLINE)
            status, said = self.check(target)
            warnings = [line for line in said.splitlines() if ": warning: " in line]
            self.assertEqual((status, len(warnings)), (1, len(texts)), said)
            for text in texts:
                self.assertIn(f"warning: {text}", said)
        subprocess.run(["strip", target], check=True)
        status, said = self.check(target)
        self.assertEqual(status, 0)
        self.assertIn("it is stripped", said)


@unittest.skipIf(harness.SANITIZED, "the same program")
class Completion(Folder):
    """daemon/tornadod.bash, asked as bash asks it."""

    SCRIPT = """source {root}/daemon/tornadod.bash
compopt() {{ :; }}
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_tornadod {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

    def complete(self, *words):
        script = self.SCRIPT.format(root=harness.ROOT, program=f"{harness.BUILD}/tornadod")
        done = subprocess.run(["bash", "-c", script, "bash", "tornadod", *words], cwd=self.folder,
                              capture_output=True, text=True, check=True, timeout=harness.DEADLINE)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_what_there_is_is_offered(self):
        self.write("shop.so", "")
        cases = (
            (("re",), ["reload", "reopen"]), (("--con",), ["--config"]), (("help", "ex"), ["explain"]),
            (("explain", "D"), ["DELETE"]), (("explain", "GET", "--l"), ["--listener"]),
            (("run", "--list"), ["--listen"]), (("check", "sh"), ["shop.so"]), (("-c", "sh"), ["shop.so"]),
            (("-c", "x.ini", "sta"), ["status"]), (("--set", "tornadod.workers"), ["tornadod.workers="]),
            (("handlers", ""), ["release"]), (("nonsense", ""), []), (("nonsense", "--x"), []))
        for words, offered in cases:
            with self.subTest(words):
                self.assertEqual(self.complete(*words), offered)

    def test_every_command_is_offered(self):
        with open(f"{harness.ROOT}/daemon/commands/commands.def", encoding="ascii") as file:
            commands = re.findall(r"^COMMAND\((\w+),", file.read(), re.M)
        self.assertEqual(self.complete(""), commands)


class Explain(unittest.TestCase):
    INI = ("[application]\nmiddleware = request_id\nmax_body_size = 2m\n"
           "[handler:hello]\nmount = /api\nmax_fields = 7\n"
           "[handler:shop]\nfile = hello.so\nmount = /shop\nhosts = shop\\.example\n")

    def setUp(self):
        self.daemon = harness.Daemon(["hello", "request_id"], ini=self.INI)
        self.addCleanup(self.daemon.close)

    def explain(self, *args, status=0):
        done = harness.run("explain", *args, "-c", self.daemon.ini_path)
        self.assertEqual((done.returncode, done.stderr == ""), (status, status == 0), done.stderr)
        return done.stdout if status == 0 else done.stderr

    def test_who_answers_and_within_which_limits(self):
        text = self.explain("GET", "http://example.org/api/hello/world")
        ini = re.escape(self.daemon.ini_path)
        for line in (rf"  listener     default, 127\.0\.0\.1:0; {ini}:\d+", "  application  default",
                     rf"  handler      hello \(hello\.so; {ini}:\d+\)", "  mount        /api",
                     r"  route        /hello/\(\?<name>\[\^/\]\+\), called greet",
                     "  methods      GET, HEAD, OPTIONS", "  arguments    name = world",
                     "  middleware   request_id", rf"    max_body_size = 2m ; {ini}:\d+",
                     rf"    max_fields = 7 ; {ini}:\d+", "    max_headers = 256 ; default"):
            self.assertRegex(text, f"(?m)^{line}$")

    def test_why_nobody_answers(self):
        for args, answer in ((("GET", "/hello/world"), "404: no route matches"),
                             (("GET", "/api/helo"), "404: no route matches\n"
                              "  nearest      /api/hello of hello: 'o' does not fit\n"
                              "               /api/hello/"),
                             (("GET", "/API/hello/x/"), "404: no route matches\n"
                              "  nearest      /api/hello/(?<name>[^/]+) of hello: it has no slash at its end; "
                              "upper and lower case differ"),
                             (("GET", "/shop/hello/x"), "404: no route matches\n"
                              "  nearest      /shop/hello/(?<name>[^/]+) of shop: it is for hosts shop\\.example"),
                             (("PUT", "/api/hello/x"), "501: no route of the application has PUT"),
                             (("GET", "/%zz"), "400: request target"),
                             (("GET", "/shop/hello/%ff", "--header", "Host: shop.example"),
                              "400: an argument in the path is not UTF-8")):
            self.assertIn(f"  answer       {answer}", self.explain(*args))

    def test_a_host_beside_a_path(self):
        text = self.explain("GET", "/shop/hello/x", "--header", "host: shop.example")
        self.assertRegex(text, r"(?m)^  handler      shop \(hello\.so")

    def test_questions_that_are_none(self):
        self.assertIn("wants METHOD and URL", self.explain("GET", status=1))
        self.assertIn("neither a path nor an http URL", self.explain("GET", "ftp://x", status=1))
        self.assertIn("there is no [listen:none]", self.explain("GET", "/", "--listener", "none", status=1))
        self.daemon.install("undefined_symbol")
        self.assertIn("undefined symbol", self.explain("GET", "/", status=78))


if __name__ == "__main__":
    unittest.main()
