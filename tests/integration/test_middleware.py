"""Goal: middleware stands around handlers as the ini says, what is wrong in that is told with its line,
and each of ours does what its first lines promise.
"""

import base64
import hashlib
import os
import subprocess
import tempfile
import time
import unittest

import harness

TWO = """
[application]
middleware = one, two
[handler:one]
file = links.so
mark = 1
[handler:two]
file = links.so
mark = 2
"""


def basic(name, password):
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode() + "\r\n"


def crypt_hash(password, method="sha512crypt"):
    option = {"sha512crypt": "-6", "sha256crypt": "-5"}[method]
    done = subprocess.run(["openssl", "passwd", option, password], capture_output=True, text=True,
                          check=True)
    return done.stdout.strip()


def checked(ini, handlers=("links", "hello")):
    """What tornadod -t says of these settings."""
    daemon = harness.Daemon(handlers, ini=ini)
    try:
        return harness.run("-t", "-c", daemon.ini_path)
    finally:
        daemon.close()


class Chains(unittest.TestCase):
    def test_all_that_is_answered_has_the_chain_in_its_order(self):
        cases = [("GET", "/pid", 200), ("GET", "/nothing", 404), ("POST", "/pid", 501),
                 ("OPTIONS", "/pid", 204), ("OPTIONS", "*", 200), ("BREW", "/pid", 501),
                 ("GET", "/raise", 502), ("GET", "/static/a.txt", 200), ("GET", "/static/b", 404),
                 ("GET", "/static/../x", 403), ("HEAD", "/pid", 200)]
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with open(f"{folder}/a.txt", "w", encoding="ascii") as file:
                file.write("static")
            ini = TWO.replace("middleware =", f"static_path = {folder}\nmiddleware =")
            with harness.Daemon(["links", "faults"], ini=ini) as daemon, daemon.connect() as conn:
                for method, target, status in cases:
                    with self.subTest(f"{method} {target}"):
                        response = conn.request(method, target)
                        self.assertEqual(response.status, status)
                        self.assertEqual(response.all("X-Mark"), ["2", "1"])
                response = conn.request("GET", "/static/a.txt")
                again = conn.request("GET", "/static/a.txt",
                                     f"If-None-Match: {response.header('Etag')}\r\n")
                self.assertEqual((again.status, again.all("X-Mark")), (304, ["2", "1"]))

    def test_what_links_do(self):
        cases = {"refuse": (403, b"403"), "answer": (200, b"mine"), "forget": (500, b"500"),
                 "wait": (200, b""), "wait after": (200, b""), "twice": (200, b"")}
        with harness.Daemon(["links", "faults"], ini=TWO) as daemon, daemon.connect() as conn:
            for what, (status, text) in cases.items():
                with self.subTest(what):
                    response = conn.request("GET", "/pid", f"X-Do: {what}\r\n")
                    self.assertEqual(response.status, status)
                    self.assertIn(text, response.body)
            daemon.wait_log(r"worker 0 one\] .*: the middleware returned without td_next")
            daemon.wait_log(r"worker 0 two\] .*: td_next: called twice")

    def test_a_link_that_waits_too_long(self):
        ini = TWO.replace("middleware =", "request_timeout = 50ms\nmiddleware =")
        with harness.Daemon(["links", "faults"], ini=ini) as daemon:
            self.assertEqual(daemon.get("/pid", headers="X-Do: wait long\r\n").status, 504)
            daemon.wait_log(r"worker 0 one\] /pid: 504 .*request_timeout has passed")
            self.assertEqual(daemon.get("/slow?ms=60000").status, 504)
            daemon.wait_log(r"worker 0 faults\] /slow: 504")
            daemon.wait_log(r"link 1: 504")

    def test_exceptions_and_raises_of_cxx_end_at_the_innermost_link(self):
        with harness.Daemon(["links", "cxx"], ini=TWO) as daemon:
            for target, status in (("/below", 502), ("/let-go", 500), ("/handle", 200),
                                   ("/long", 504), ("/fails", 500), ("/finishes", 200)):
                with self.subTest(target):
                    lines = len(daemon.log.lines)
                    response = daemon.get(target)
                    self.assertEqual((response.status, response.all("X-Mark")), (status, ["2", "1"]))
                    daemon.wait_log(f"two\\] link 2: {status}", lines)
                    daemon.wait_log(f"one\\] link 1: {status}", lines)
            daemon.wait_log("cxx.*nobody caught std::runtime_error: disk full")
            daemon.wait_log("~waiting")

    def test_a_mount_has_its_own_and_guards_what_is_not_there(self):
        ini = ("[handler:hello]\nmount = /admin\nmiddleware = links\n")
        with harness.Daemon(["links", "hello", "faults"], ini=ini) as daemon:
            marks = {target: daemon.get(target).all("X-Mark") for target in
                     ("/admin/hello/x", "/admin/nothing", "/admin", "/administrator", "/pid", "/no")}
        self.assertEqual(marks, {"/admin/hello/x": ["plain"], "/admin/nothing": ["plain"],
                                 "/admin": ["plain"], "/administrator": [], "/pid": [], "/no": []})

    def test_a_file_that_nobody_names_is_harmless(self):
        bundled = ["request_id", "security_headers", "cors", "basic_auth", "bearer", "rate_limit",
                   "maintenance", "links", "hello"]
        with harness.Daemon(bundled) as daemon:
            response = daemon.get("/hello/x")
            self.assertEqual(response.status, 200)
            self.assertEqual({name for name, _ in response.headers} -
                             {"Server", "Content-Type", "Date", "Etag", "Content-Length"}, set())

    def test_a_crash_names_the_link(self):
        with harness.Daemon(["links", "faults"], ini=TWO) as daemon:
            for what in ("crash", "crash after"):
                lines = len(daemon.log.lines)
                with daemon.connect() as conn:
                    conn.send(f"GET /pid HTTP/1.1\r\nHost: x\r\nX-Do: {what}\r\n\r\n".encode())
                    conn.rest() if what == "crash" else None
                    line = daemon.wait_log(r"crashed: SIGSEGV", lines)
                name = "one" if what == "crash" else "two"
                self.assertRegex(line, rf"handler {name} \(links.so\), its middleware, request \d+ "
                                       r'"GET /pid HTTP/1.1"')
            with daemon.connect() as conn:
                conn.send(b"GET /segv HTTP/1.1\r\nHost: x\r\n\r\n")
                line = daemon.wait_log(r"crashed: SIGSEGV.*route /segv")
                self.assertIn("handler faults", line)

    def test_a_name_that_cannot_be_one_is_told_with_its_line(self):
        cases = [
            ("[application]\nmiddleware = link\n",
             r"tornadod.ini:\d+: middleware: there is no handler 'link'; did you mean 'links'\?"),
            ("[application:default]\nmiddleware = nobody\n",
             r"tornadod.ini:\d+: middleware: there is no handler 'nobody'\n"),
            ("[handler:hello]\nmiddleware = hello\n",
             r"tornadod.ini:\d+: middleware: 'hello' \(hello.so\) is no middleware"),
            ("[application]\nmiddleware = links, links\n",
             r"tornadod.ini:\d+: middleware: 'links' would be run twice"),
            ("[application]\nmiddleware = links\n[handler:hello]\nmiddleware = links\n",
             r"tornadod.ini:\d+: middleware: 'links' would be run twice"),
            ("[application]\nmiddleware = links\n[handler:links]\nenabled = off\n",
             r"tornadod.ini:\d+: middleware: 'links' is switched off"),
        ]
        for ini, pattern in cases:
            with self.subTest(ini):
                done = checked(ini)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, pattern)
        self.assertEqual(checked("[application]\nmiddleware = links\n").returncode, 0)

    def test_a_reload_that_breaks_the_chain_keeps_the_old_one(self):
        with harness.Daemon(["links", "hello"], ini="[application]\nmiddleware = links\n") as daemon:
            daemon.write_ini("[application]\nmiddleware = linked\n")
            os.kill(daemon.master, harness.signal.SIGHUP)
            daemon.wait_log("there is no handler 'linked'")
            self.assertEqual(daemon.get("/hello/x").all("X-Mark"), ["plain"])


class Bundled(unittest.TestCase):
    def file(self, text):
        file = tempfile.NamedTemporaryFile("w", delete=False, encoding="utf-8")
        self.addCleanup(os.unlink, file.name)
        with file:
            file.write(text)
        os.chmod(file.name, 0o644)
        return file.name

    def daemon(self, name, options="", handlers=("hello",), tornadod="workers = 1", more=""):
        ini = f"[application]\nmiddleware = {name}\n[handler:{name}]\n{options}\n{more}"
        return harness.Daemon([name, *handlers], ini=ini, tornadod=tornadod)

    def test_request_id(self):
        ini = "[application]\nmiddleware = request_id\n"
        believing = harness.Daemon(["request_id", "hello"], ini=ini,
                                   listeners={"default": "trusted_downstream = 127.0.0.0/8"})
        with believing as daemon, daemon.connect() as conn:
            made = [conn.request("GET", target).header("X-Request-ID")
                    for target in ("/hello/x", "/nothing")]
            self.assertRegex(made[0], r"\A[0-9a-f]{32}\Z")
            self.assertNotEqual(*made)
            for given, taken in (("abc-1", True), ("a" * 128, True), ("a" * 129, False),
                                 ("two words", False), ("<b>", False), ("", False)):
                told = conn.request("GET", "/hello/x", f"X-Request-ID: {given}\r\n")
                self.assertEqual(told.header("X-Request-ID") == given, taken, given)
        for accept, taken in (("", False), ("accept = all", True), ("accept = off", False)):
            with self.subTest(accept), self.daemon("request_id", accept,
                                                                 ("hello", "faults")) as daemon:
                told = daemon.get("/hello/x", headers="X-Request-ID: mine\r\n").header("X-Request-ID")
                self.assertEqual(told == "mine", taken)
                told = daemon.get("/raise").header("X-Request-ID")
                daemon.wait_log(rf"502 GET /raise \(127.0.0.1, id {told}\)")
        with self.daemon("request_id", "accept = off\nheader = X-Id") as daemon:
            told = daemon.get("/hello/x", headers="X-Id: mine\r\n").all("X-Id")
            self.assertRegex(told[0], r"\A[0-9a-f]{32}\Z")

    def test_security_headers(self):
        with self.daemon("security_headers", "hsts = 1d\nreferrer_policy =") as daemon:
            for target in ("/hello/x", "/nothing"):
                response = daemon.get(target)
                self.assertEqual(response.header("X-Content-Type-Options"), "nosniff")
                self.assertEqual(response.header("X-Frame-Options"), "SAMEORIGIN")
                for absent in ("Strict-Transport-Security", "Referrer-Policy",
                               "Content-Security-Policy"):
                    self.assertIsNone(response.header(absent))

    def test_cors(self):
        options = "origins = https://a.example, https://*.b.example\ncredentials = on\nexpose = X-A\n"
        preflight = "Access-Control-Request-Method: PUT\r\n"
        with self.daemon("cors", options) as daemon, daemon.connect() as conn:
            for origin, allowed in (("https://a.example", True), ("https://x.b.example", True),
                                    ("https://x.y.b.example", True), ("https://b.example", False),
                                    ("http://a.example", False), ("https://a.example.evil", False),
                                    ("https://evil/.b.example", False), ("null", False),
                                    ("https://evil.example#.b.example", False)):
                with self.subTest(origin):
                    for target in ("/hello/x", "/nothing"):
                        told = conn.request("GET", target, f"Origin: {origin}\r\n")
                        wanted = origin if allowed else None
                        self.assertEqual(told.header("Access-Control-Allow-Origin"), wanted)
                        self.assertEqual(told.header("Access-Control-Allow-Credentials"),
                                         "true" if allowed else None)
                        self.assertEqual(told.header("Vary"), "Origin")
                    told = conn.request("OPTIONS", "/hello/x", f"Origin: {origin}\r\n{preflight}")
                    self.assertEqual((told.status, told.body), (204, b""))
                    self.assertEqual(told.header("Access-Control-Allow-Origin"), wanted)
                    self.assertEqual(told.header("Access-Control-Max-Age"),
                                     "600" if allowed else None)
                    self.assertIn("Origin", told.header("Vary"))
            self.assertEqual(conn.request("OPTIONS", "/hello/x").header("Allow"),
                             "GET, HEAD, OPTIONS")
            self.assertEqual(conn.request("GET", "/hello/x").header("Vary"), "Origin")
        with self.daemon("cors", "origins = *") as daemon:
            told = daemon.get("/hello/x", headers="Origin: https://x\r\n")
            self.assertEqual(told.header("Access-Control-Allow-Origin"), "*")
            self.assertIsNone(told.header("Vary"))

    def refused(self, name, options, pattern):
        """By -t, too, which loads nothing."""
        daemon = self.daemon(name, options)
        done = harness.run("-t", "-c", daemon.ini_path)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, pattern)
        try:
            with self.assertRaisesRegex(AssertionError, pattern):
                daemon.start()
        finally:
            daemon.close()

    def test_options_that_cannot_be(self):
        cases = [("cors", "origins = *\ncredentials = on", "every site could act as the user"),
                 ("cors", "origins = https://a.example/", r"tornadod\.ini:10: handler cors .*is no origin"),
                 ("cors", "origins = https://a*.example", "a star stands for a subdomain"),
                 ("cors", "origins = https://A.example", "'https://A.example': browsers send it in lower case"),
                 ("cors", "origins = https://*.a.example:443", "without :443 or :80"),
                 ("cors", "methods = GET POST", "methods = GET POST: is no list of names with commas"),
                 ("cors", "headers = X-A, X:B", "headers = X-A, X:B: is no list of names"),
                 ("cors", "expose = X-A;X-B", "expose = X-A;X-B: is no list of names"),
                 ("basic_auth", "users = /nowhere", "users = /nowhere: No such file"),
                 ("basic_auth", f"users = {self.file('jack')}", ":1: is not NAME:HASH"),
                 ("basic_auth", f"users = {self.file('jack:secret')}", ":1: the hash of 'jack'"),
                 ("basic_auth", f"users = {self.file('# none')}", "there is none in it"),
                 ("request_id", "header = a b", "header = a b: is no name of a header"),
                 ("request_id", "accept = on", "accept = on: it is proxies, all or off"),
                 ("rate_limit", "header = X:", "header = X:: is no name of a header"),
                 ("bearer", f"tokens = {self.file('a:12')}", ":1: is not NAME:SHA256"),
                 ("bearer", "tokens = relative", "has to begin with a slash"),
                 ("maintenance", "allow = 10.0.0.0/33", "allow: '10.0.0.0/33' is no address"),
                 ("maintenance", "allow = 10.0.0.0/+8", r"allow: '10.0.0.0/\+8' is no address"),
                 ("maintenance", "allow = 1.2.3.4/0",
                  "allow: '1.2.3.4/0': the network is 0.0.0.0/0, the address alone 1.2.3.4"),
                 ("maintenance", "allow = ::1, fd00::1/8",
                  "allow: 'fd00::1/8': the network is fd00::/8, the address alone fd00::1"),
                 ("maintenance", "page = /nowhere", "page = /nowhere: No such file")]
        for name, options, pattern in cases:
            with self.subTest(f"{name} {options}"):
                self.refused(name, options, pattern)

    def test_basic_auth(self):
        users = self.file(f"# ours\njack:{crypt_hash('s3cret:x')}\n"
                          f"jill:{crypt_hash('hill', 'sha256crypt')}:0:more\n")
        with self.daemon("basic_auth", f"users = {users}\nrealm = here") as daemon:
            with daemon.connect() as conn:
                cases = [("", 401), (basic("jack", "s3cret:x"), 200), (basic("jill", "hill"), 200),
                         (basic("jack", "hill"), 401), (basic("nobody", "hill"), 401),
                         (basic("jack", ""), 401), (basic("", ""), 401),
                         (basic("jack", "s3cret:x"), 200), ("Authorization: Basic\r\n", 401),
                         ("Authorization: Basic ====\r\n", 401),
                         ("Authorization: Basic amFjaw==\r\n", 401),
                         ("Authorization: Basic !!!!\r\n", 401),
                         (f"Authorization: Basic {'A' * 2000}\r\n", 401),
                         ("Authorization: Basic amFjawA6aGlsbA==\r\n", 401),
                         ("Authorization: Bearer x\r\n", 401)]
                for headers, status in cases:
                    with self.subTest(headers):
                        told = conn.request("GET", "/hello/x", headers)
                        self.assertEqual(told.status, status)
                        self.assertEqual(told.header("WWW-Authenticate"), None if status == 200 else
                                         'Basic realm="here", charset="UTF-8"')
                self.assertEqual(conn.request("GET", "/nothing").status, 401)
                self.assertEqual(conn.request("GET", "/nothing", basic("jill", "hill")).status, 404)
            daemon.wait_log(r"basic_auth\] /hello.*: 401 .*: wrong name or password")
            started = time.monotonic()
            with daemon.connect() as conn:
                for _ in range(200):
                    conn.request("GET", "/hello/x", basic("jack", "s3cret:x"))
            self.assertLess(time.monotonic() - started, 200 * 0.002)

    def test_basic_auth_without_users_lets_nobody_in(self):
        with self.daemon("basic_auth") as daemon:
            self.assertEqual(daemon.get("/hello/x", headers=basic("a", "b")).status, 500)
            daemon.wait_log("users is not set")

    def test_many_guesses_do_not_hold_the_others_up(self):
        users = self.file(f"jack:{crypt_hash('right')}\n")
        with self.daemon("basic_auth", f"users = {users}") as daemon:
            guesses = [daemon.connect() for _ in range(80)]
            for number, conn in enumerate(guesses):
                conn.send(f"GET /hello/x HTTP/1.1\r\nHost: x\r\n{basic('jack', number)}\r\n".encode())
            started = time.monotonic()
            self.assertEqual(daemon.get("/hello/x").status, 401)
            first = time.monotonic() - started
            statuses = {conn.response().status for conn in guesses}
            self.assertLess(first, max(0.1, (time.monotonic() - started) / 2))
            self.assertLessEqual(statuses, {401, 503})
            for conn in guesses:
                conn.close()

    def test_bearer(self):
        tokens = self.file("".join(f"{name}:{hashlib.sha256(token.encode()).hexdigest()}\n"
                                   for name, token in (("robot", "r2d2"), ("other", "c3po"))))
        with self.daemon("bearer", f"tokens = {tokens}") as daemon, daemon.connect() as conn:
            for value, status in ((None, 401), ("Bearer r2d2", 200), ("bearer  c3po", 200),
                                  ("Bearer r2d", 401), ("Bearer ", 401), ("Basic r2d2", 401),
                                  ("Bearer " + "x" * 5000, 401)):
                with self.subTest(value):
                    told = conn.request("GET", "/hello/x",
                                        f"Authorization: {value}\r\n" if value else "")
                    self.assertEqual(told.status, status)
                    if status == 401:
                        self.assertIn('Bearer realm="restricted"', told.header("WWW-Authenticate"))

    def test_rate_limit_is_shared_and_survives_a_reload(self):
        options = "requests = 1\nperiod = 1h\nburst = 10\n"
        with self.daemon("rate_limit", options, handlers=["faults"],
                         tornadod="workers = 2") as daemon:
            told, pids = [], set()
            for _ in range(10):
                told.append(daemon.get("/pid"))
                pids.add(told[-1].body)
            self.assertEqual([r.status for r in told], [200] * 10)
            self.assertEqual([r.header("RateLimit-Remaining") for r in told],
                             [str(9 - i) for i in range(10)])
            for _ in range(4): # whichever worker it is
                over = daemon.get("/pid")
                self.assertEqual(over.status, 429)
                self.assertEqual(over.header("RateLimit-Remaining"), "0")
                self.assertTrue(3500 < int(over.header("Retry-After")) <= 3600)
            daemon.reload()
            self.assertEqual(daemon.get("/pid").status, 429)
            self.assertEqual(daemon.get("/nothing").status, 429)

    def test_rate_limit_refills_and_counts_keys(self):
        options = "requests = 50\nperiod = 1s\nburst = 1\nheader = X-Key\n"
        with self.daemon("rate_limit", options) as daemon, daemon.connect() as conn:
            for key in ("a", "b", "c"):
                self.assertEqual(conn.request("GET", "/hello/x", f"X-Key: {key}\r\n").status, 200)
            deadline = time.monotonic() + harness.DEADLINE
            while conn.request("GET", "/hello/x", "X-Key: a\r\n").status != 200:
                self.assertLess(time.monotonic(), deadline)
            for number in range(2000): # more keys than one set has places: no matter
                self.assertEqual(conn.request("GET", "/hello/x", f"X-Key: {number}\r\n").status, 200)

    def test_maintenance(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            switch = f"{folder}/on"
            page = self.file("<h1>soon</h1>")
            options = f"switch_file = {switch}\npage = {page}\nretry_after = 90s\n"
            with self.daemon("maintenance", options) as daemon:
                self.assertEqual(daemon.get("/hello/x").status, 200)
                with open(switch, "w", encoding="ascii"):
                    pass
                deadline = time.monotonic() + harness.DEADLINE
                while (told := daemon.get("/hello/x")).status != 503:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                self.assertEqual((told.body, told.header("Retry-After")), (b"<h1>soon</h1>", "90"))
                self.assertEqual(daemon.get("/nothing").status, 503)
                daemon.write_ini(f"[application]\nmiddleware = maintenance\n[handler:maintenance]\n"
                                 f"{options}allow = ::1, 127.0.0.0/8\n")
                daemon.reload()
                self.assertEqual(daemon.get("/hello/x").status, 200)


if __name__ == "__main__":
    unittest.main()
