"""Goal: who writes handlers is kept from harm: the headers compile without a warning wherever they may
be included, what would corrupt does not compile, misuse is refused under the handler's name, and
C++ is a first-class guest.
"""

import glob
import itertools
import json
import os
import shutil
import subprocess
import unittest

import harness

HANDLER = """
#include <tornado/tornado.h>
struct settings { const char *text; int64_t number, size, time; bool on; };
static void
get(td_handler *h)
{
    const td_str text = TD_STR("text");
    td_write_json(h, TD_JSON("a", "b"), TD_JSON("c", text), TD_JSON("d", 1.5), TD_JSON("e", 7),
                  TD_JSON("f", (bool)true), TD_JSON("g", (size_t)1));
    td_writef(h, "%.*s", TD_STR_FMT(text));
    td_write_text(h, td_strerror(TD_ECLOSED));
    td_set_cookie(h, "a", "b", &TD_COOKIE(.max_age = 3600, .secure = true));
    td_set_cookie(h, "a", "b", &TD_COOKIE());
}
static int
load(td_instance *instance, void **state_out, td_err *err)
{
    *state_out = td_instance_shared(instance, "hits");
    return td_err_set(err, TD_ECONFIG, "no");
}
static const td_handler_class Get = {.get = get, .flags = TD_CANCEL_ON_CLOSE};
TD_PLUGIN(.name = "all", .version = "1.0",
          .urls = TD_URLS(TD_URL("/a", &Get), TD_URL("/b/(.*)", &Get, .name = "b")),
          .options = TD_OPTIONS(struct settings, TD_OPT_STRING(struct settings, text, "x", "A text."),
                                TD_OPT_INT(struct settings, number, "1", 0, 3, "A number."),
                                TD_OPT_SIZE(struct settings, size, "1k", 0, 4096, "A size."),
                                TD_OPT_TIME(struct settings, time, "1s", 0, 4096, "A time."),
                                TD_OPT_BOOL(struct settings, on, "on", "A switch.")),
          .shared = TD_SHARED({"hits", 64}), .load = load);
"""

C = [["gcc", "-x", "c", f"-std={std}"] for std in ("c11", "gnu11", "c17", "c2x")]
CXX = [["g++", "-x", "c++", f"-std={std}"] for std in ("c++20", "gnu++20", "c++23")]
CLANG = [["clang", "-x", "c", "-std=c11"], ["clang++", "-x", "c++", "-std=c++20"]]
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Wshadow", "-Wconversion", "-Werror", "-fsyntax-only"]


def compiled(compiler, source, *flags):
    return subprocess.run([*compiler, "-fexceptions", f"-I{harness.ROOT}/lib", *flags, "-"],
                          input=source, capture_output=True, text=True, check=False,
                          timeout=harness.DEADLINE)


class Headers(unittest.TestCase):
    def test_no_compiler_has_anything_to_say(self):
        for compiler in C + CXX + CLANG:
            if shutil.which(compiler[0]) is None:
                continue
            with self.subTest(" ".join(compiler)):
                done = compiled(compiler, HANDLER, *STRICT)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_each_stands_alone_and_within_extern_c(self):
        names = [os.path.basename(path)[:-2] for path in glob.glob(f"{harness.ROOT}/lib/tornado/*.h")]
        for compiler, name in itertools.product((C[0], CXX[0]), names):
            with self.subTest(f"{name}.h as {compiler[-1]}"):
                include = f"#include <tornado/{name}.h>\nextern int not_empty;\n"
                if compiler in CXX:
                    include = 'extern "C" {\n' + include + "}\n"
                done = compiled(compiler, include, *STRICT)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_would_corrupt_does_not_compile(self):
        option = ("struct s {{ {0} field; }};\n"
                  "const td_option list[] = {{TD_OPT_{1}(struct s, field, \"1\", {2}\"help\")}};\n")
        cases = [option.format("int", "INT", "0, 9, "), option.format("int", "TIME", "0, 9, "),
                 option.format("int64_t", "BOOL", ""), option.format("int64_t", "STRING", ""),
                 option.format("char *", "STRING", ""), option.format("const char *", "SIZE", "0, 9, "),
                 "td_str of(const char *text); td_str of(const char *text) { return TD_STR(text); }\n"]
        good = option.format("int64_t", "INT", "0, 9, ")
        for compiler in (C[0], CXX[0]):
            done = compiled(compiler, "#include <tornado/tornado.h>\n" + good, "-fsyntax-only")
            self.assertEqual(done.returncode, 0, done.stderr)
            for case in cases:
                with self.subTest(case):
                    done = compiled(compiler, "#include <tornado/tornado.h>\n" + case, "-fsyntax-only")
                    self.assertNotEqual(done.returncode, 0)


class Misuse(unittest.TestCase):
    def test_each_function_refuses_and_names_the_handler(self):
        with harness.Daemon(["misuse"]) as daemon:
            workers = daemon.workers()
            self.assertEqual(daemon.get("/misuse/x").body, b"done")
            daemon.wait_log("misuse.*: td_asynchronous: the response has ended")
            self.assertEqual(daemon.get("/raise").status, 500)
            self.assertEqual(daemon.get("/defer").body, b"done")
            daemon.wait_log(r"worker 0 misuse\] .*too late")
            self.assertEqual(daemon.workers(), workers)
        self.assertEqual([line for line in daemon.log.lines if "NOT REFUSED" in line], [])
        named = [line for line in daemon.log.lines if "worker 0 misuse]" in line]
        self.assertGreater(len(named), 150)


@unittest.skipIf(harness.SANITIZED, "what is compiled here is not sanitized")
class RefusedAtLoad(unittest.TestCase):
    """Slips that would else be a 404 or a silence at three in the morning."""

    CASES = [
        ('{.get = get}', 'TD_URL("users", &C)', "'users': it matches no path: they begin with '/'"),
        ('{.get = get}', 'TD_URL_MOUNT("api", TD_URLS(TD_URL("/users", &C)))', "begin with '/'"),
        ('{.put = get, .data_received = data}', 'TD_URL("/a", &C)', "wants TD_STREAM_BODY in .flags"),
        ('{.get = get}', 'TD_URL("/a", &C, .methods = "GET POST")', "'GET POST' is none (GET, POST"),
        ('{.get = get}', 'TD_URL("/a", &C, .headers = TD_HEADERS({"Accept", "*"}))', "Accept: '*': "),
        ('{.get = get}', 'TD_URL("/a/(.*)", &td_static_class)', "is no TD_STATIC(.root = "),
        ('{.get = get}', 'TD_URL("/a/(.*)", &td_static_class, .initialize_arg = '
         'TD_STATIC(.root = "files"))', "is no TD_STATIC(.root = "),
        ('{.get = get}', 'TD_URL("/a", &td_static_class, .initialize_arg = TD_STATIC(.root = "/tmp"))',
         "no group says which file is meant"),
        ('{.get = get}', 'TD_URL("/a/(.*)", &td_static_class, .initialize_arg = '
         'TD_STATIC(.root = "/tmp", .cache_control = "no-cache"))', "no-cache"),
    ]
    SOURCE = """
#include <tornado/tornado.h>
void get(td_handler *h) { td_write_text(h, ""); }
void data(td_handler *h, td_str piece) { td_write(h, piece); }
const td_handler_class C = CLASS;
TD_PLUGIN(.name = "slip", .urls = TD_URLS(ROUTE));
"""

    def test_each_says_what_to_do(self):
        daemon = harness.Daemon([])
        self.addCleanup(daemon.close)
        for klass, route, said in self.CASES:
            with self.subTest(said):
                source = self.SOURCE.replace("CLASS", klass).replace("ROUTE", route)
                done = compiled(C[1], source, "-shared", "-fPIC", f"-L{harness.BUILD}", "-ltornado",
                                "-o", f"{daemon.handlers}/slip.so")
                self.assertEqual(done.returncode, 0, done.stderr)
                os.chmod(f"{daemon.handlers}/slip.so", 0o755)
                done = harness.run("-t", "-c", daemon.ini_path)
                self.assertEqual(done.returncode, 78, done.stderr)
                self.assertIn("slip.so: route 1, ", done.stderr)
                self.assertIn(said, done.stderr)


class Telling(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["telling"], ini="[application]\nmiddleware = telling\n")
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()

    def test_error_pages_may_say_why(self):
        for query, why in [("", "Missing argument n"), ("?n=9", '9 is "taken"'), ("?n=1", "Gone")]:
            with self.subTest(query):
                self.assertEqual(json.loads(self.daemon.get(f"/number{query}").body)["why"], why)

    def test_a_body_that_was_refused_while_it_came_is_no_success(self):
        with self.daemon.connect() as conn:
            conn.send(b"PUT /swallow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"b\r\n01234567890\r\n0\r\n\r\n")
            self.assertEqual(conn.response().status, 413)
        self.daemon.wait_log("/swallow ended with 413")

    def test_a_stream_that_waits_for_something_else_ends_with_its_worker(self):
        with harness.Daemon(["telling"], tornadod="workers = 1\ndrain_timeout = 1d") as daemon:
            with daemon.connect() as conn:
                conn.send(b"GET /listen HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertIn(b"text/event-stream", conn.socket.recv(4096))
                daemon.reload()
                daemon.wait_log("listening has ended")


class Cxx(unittest.TestCase):
    def test_options_are_given_as_in_c(self):
        with harness.Daemon(["options"]) as daemon:
            for name in ("one", "two"): # the options of a call are those of this call
                os.mkdir(f"{daemon.folder}/{name}")
                with open(f"{daemon.folder}/{name}/file.txt", "w", encoding="ascii") as file:
                    file.write(name)
                self.assertEqual(daemon.get(f"/any?root={daemon.folder}/{name}").body, name.encode())
            self.assertEqual(daemon.get("/was/here").header("Location"), "/here")
            self.assertEqual(daemon.get("/gone").status, 410)
            self.assertEqual(daemon.get("/proc/comm").body, b"")
            self.assertEqual(daemon.get("/none").body, b"1\n")
            self.assertEqual(daemon.get("/fetch").body, b"1\n")
            self.assertIn(b"id: 2\ndata: tick\n", daemon.get("/ticks").body)

    def test_raising_and_throwing_unwind(self):
        with harness.Daemon(["cxx"]) as daemon:
            self.assertEqual(daemon.get("/below").status, 502)
            for depth in range(3):
                daemon.wait_log(f"cxx.*~depth {depth}")
            self.assertEqual(daemon.get("/let-go").status, 500)
            daemon.wait_log("cxx.*nobody caught std::runtime_error: disk full")
            self.assertEqual(daemon.get("/handle").body, b'{"what": "handled", "on": true, '
                             b'"pi": 3.5, "count": 3, "path": "/handle"}')
            self.assertEqual(daemon.get("/long").status, 504)
            daemon.wait_log("~waiting")
            self.assertEqual(daemon.get("/fails").status, 500)
            daemon.wait_log("nobody caught std::out_of_range: in a callback")
            self.assertEqual(daemon.get("/finishes").body, b"from a lambda")
        self.assertNotIn("outside a request", daemon.log.text())

    def test_each_instance_and_each_file_has_its_own(self):
        ini = "[handler:second]\nfile = cxx.so\nmount = /second\ngreeting = Servus\n[handler:cxx]\n"
        with harness.Daemon(["cxx", "cxx_other"], ini=ini) as daemon:
            for number in (1, 2):
                self.assertEqual(daemon.get("/remember?name=a").body,
                                 b'{"greeting": "Hi", "seen": %d, "hits": %d}' % (number, number))
            self.assertEqual(daemon.get("/second/remember?name=b").body,
                             b'{"greeting": "Servus", "seen": 1, "hits": 1}')
            self.assertEqual(daemon.get("/other").body, b"other 7")
            daemon.reload()
            self.assertEqual(daemon.get("/remember?name=c").body,
                             b'{"greeting": "Hi", "seen": 1, "hits": 3}')
        self.assertNotIn("the name 'remember'", daemon.log.text())


if __name__ == "__main__":
    unittest.main()
