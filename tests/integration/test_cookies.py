"""Goal: cookies, plain and signed, and XSRF tokens pass between tornadod and Tornado in both directions,
users log in as there, and secrets come from where the settings say.
"""

import os
import random
import time
import unittest
import unittest.mock
from http.cookies import SimpleCookie
from urllib.parse import quote

import harness

try:
    import tornado.httputil
    import tornado.web
except ImportError:
    tornado = None

SECRET = "It's a secret to everybody"


def cookie_of(response):
    """(name, value as a client sends it back, attributes) of the only Set-Cookie."""
    (line,) = response.all("Set-Cookie")
    pair, *attributes = line.split("; ")
    name, value = pair.split("=", 1)
    return name, value, attributes


def values():
    """ASCII without control bytes and blanks, from plain to odd."""
    chosen = random.Random(14)
    letters = [chr(c) for c in range(0x21, 0x7f) if chr(c) != "/"]
    return ["a", "a=b", "1;2,3", '"', '"quoted"', "\\", "\\073", "a\\", "2|1:0|x==",
            *("".join(chosen.choices(letters, k=12)) for _ in range(50))]


@unittest.skipIf(tornado is None, "there is no Tornado")
class Interchange(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["cookies"], f"[application]\ncookie_secret = {SECRET}\n")
        cls.daemon.start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def test_what_is_set_is_written_as_Tornado_writes_it(self):
        for value in values():
            with self.subTest(value):
                theirs = SimpleCookie()
                theirs["n"] = value
                theirs["n"].update({"path": "/x", "max-age": "60", "samesite": "Lax",
                                    "httponly": True})
                ours = self.daemon.get(f"/set/n/{quote(value)}")
                self.assertEqual(ours.all("Set-Cookie"), [theirs["n"].OutputString()])

    def test_what_is_set_is_read_by_both(self):
        for value in values():
            with self.subTest(value):
                _, sent, _ = cookie_of(self.daemon.get(f"/set/n/{quote(value)}"))
                self.assertEqual(tornado.httputil.parse_cookie(f"n={sent}"), {"n": value})
                back = self.daemon.get("/get/n", headers=f"Cookie: n={sent}\r\n")
                self.assertEqual(back.body.decode(), value)

    def test_any_line_is_read_as_Tornado_reads_it(self):
        chosen = random.Random(14)
        for _ in range(200):
            line = "a=" + "".join(chosen.choices('ab="\\;, 0127', k=20))
            with self.subTest(line):
                theirs = tornado.httputil.parse_cookie(line).get("a", "None")
                ours = self.daemon.get("/get/a", headers=f"Cookie: {line}\r\n")
                self.assertEqual(ours.body.decode("latin-1"), theirs)

    def test_what_is_signed_is_read_by_Tornado(self):
        for value in ("", "a", "x" * 1000, "\u00e9\u20ac"):
            with self.subTest(value):
                name, sent, attributes = cookie_of(
                    self.daemon.get(f"/set-signed/key/{quote(value)}"))
                text = tornado.httputil.parse_cookie(f"{name}={sent}")[name]
                self.assertEqual(tornado.web.decode_signed_value(SECRET, "key", text),
                                 value.encode())
                (expires,) = [a[8:] for a in attributes if a.startswith("expires=")]
                days = (harness.parsedate_to_datetime(expires).timestamp() - time.time()) / 86400
                self.assertAlmostEqual(days, 30, delta=0.01)

    def read(self, name, signed):
        sent = SimpleCookie({name: signed.decode()})[name].coded_value
        return self.daemon.get(f"/get-signed/{name}", headers=f"Cookie: {name}={sent}\r\n").body

    def test_what_Tornado_has_signed_is_read(self):
        for version in (1, 2):
            for value in (b"a", b"x" * 1000, bytes(range(256))):
                signed = tornado.web.create_signed_value(SECRET, "key", value, version=version)
                self.assertEqual(self.read("key", signed), value)
                self.assertEqual(self.read("other", signed), b"None")
                forged = signed[:-1] + (b"1" if signed.endswith(b"0") else b"0")
                self.assertEqual(self.read("key", forged), b"None")

    def test_what_is_too_old_or_of_another_secret_is_not(self):
        old = tornado.web.create_signed_value(SECRET, "key", b"a",
                                              clock=lambda: time.time() - 31 * 86400 - 60)
        young = tornado.web.create_signed_value(SECRET, "key", b"a",
                                                clock=lambda: time.time() - 31 * 86400 + 60)
        foreign = tornado.web.create_signed_value(SECRET + "!", "key", b"a")
        self.assertEqual(self.read("key", old), b"None")
        self.assertEqual(self.read("key", young), b"a")
        self.assertEqual(self.read("key", foreign), b"None")


def their_handler(uri="/", headers=None):
    """A handler of Tornado for a POST with these headers."""
    request = tornado.httputil.HTTPServerRequest(
        method="POST", uri=uri, headers=tornado.httputil.HTTPHeaders(headers or {}),
        connection=unittest.mock.Mock())
    return tornado.web.RequestHandler(tornado.web.Application(), request)


@unittest.skipIf(tornado is None, "there is no Tornado")
class Xsrf(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["cookies"], "[application]\nxsrf_cookies = on\n"
                                                 f"cookie_secret = {SECRET}\n")
        cls.daemon.start()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.__exit__(None, None, None)

    def send(self, method, target, headers, body=b""):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with self.daemon.connect() as conn:
            conn.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{lines}"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return conn.response()

    def test_our_token_satisfies_Tornado_and_us(self):
        response = self.daemon.get("/token")
        token = response.body.decode()
        self.assertEqual(response.all("Set-Cookie"), [f"_xsrf={token}; Path=/"])
        cookie = f"_xsrf={token}"
        again = self.daemon.get("/token", headers=f"Cookie: {cookie}\r\n")
        self.assertEqual(again.all("Set-Cookie"), [])
        self.assertNotEqual(again.body.decode(), token)  # another mask
        for text in (token, again.body.decode()):
            their_handler(f"/?_xsrf={quote(text)}", {"Cookie": cookie}).check_xsrf_cookie()
            for name in ("X-Xsrftoken", "X-Csrftoken"):
                done = self.send("POST", "/token", {"Cookie": cookie, name: text})
                self.assertEqual((done.status, done.body), (200, b"done"))
            done = self.send("POST", f"/token?_xsrf={quote(text)}", {"Cookie": cookie})
            self.assertEqual(done.status, 200)
            done = self.send("POST", "/token", {
                "Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"},
                f"a=b&_xsrf={quote(text)}".encode())
            self.assertEqual(done.status, 200)

    def test_a_token_of_Tornado_satisfies_us(self):
        for version in (1, 2):
            theirs = their_handler()
            theirs.application.settings["xsrf_cookie_version"] = version
            token = theirs.xsrf_token.decode()
            done = self.send("POST", "/token", {"Cookie": f"_xsrf={token}", "X-Xsrftoken": token})
            self.assertEqual(done.status, 200)
            ours = self.daemon.get("/token", headers=f"Cookie: _xsrf={token}\r\n")
            self.assertEqual(ours.all("Set-Cookie"), [])
            their_handler(f"/?_xsrf={quote(ours.body.decode())}",
                          {"Cookie": f"_xsrf={token}"}).check_xsrf_cookie()

    def test_both_agree_on_what_is_refused(self):
        good = their_handler().xsrf_token.decode()
        other = their_handler().xsrf_token.decode()
        texts = [None, "", good, other, good[:-11], good + "|", "2|", "2|||", "3|a|b|1", "a", "ab",
                 "zz", "2|00000000||1", "2|zzzzzzzz|ab|1", "2|00000000|ab|x", "2|00000000|ab|1",
                 "2|00000000|abc|1", "02|ab", "99999999999999999999|a", "|", "1|ab"]
        for cookie in texts:
            for sent in texts:
                with self.subTest(cookie=cookie, sent=sent):
                    headers = {} if cookie is None else {"Cookie": f"_xsrf={cookie}"}
                    if sent is not None:
                        headers["X-Xsrftoken"] = sent
                    try:
                        their_handler("/", headers).check_xsrf_cookie()
                        theirs = 200
                    except tornado.web.HTTPError as e:
                        theirs = e.status_code
                    self.assertEqual(self.send("POST", "/token", headers).status, theirs)

    def test_which_methods_and_handlers_are_checked(self):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            self.assertEqual(self.send(method, "/token", {}).status, 403)
        self.assertEqual(self.daemon.get("/token").status, 200)
        self.assertEqual(self.send("OPTIONS", "/token", {}).status, 204)
        self.assertEqual(self.send("POST", "/hook", {}).status, 200)
        self.assertEqual(self.send("POST", "/nowhere", {}).status, 404)
        self.daemon.wait_log("Token: 403 POST /token .*: '_xsrf' argument missing from POST")

    def test_the_form(self):
        token = self.daemon.get("/token").body.decode()
        form = self.daemon.get("/form", headers=f"Cookie: _xsrf={token}\r\n").body.decode()
        self.assertRegex(form, r'^<input type="hidden" name="_xsrf" value="2\|[0-9a-f]{8}\|'
                               r'[0-9a-f]{32}\|[0-9]+"/>$')


class XsrfCookie(unittest.TestCase):
    def test_the_settings_say_what_it_is_like(self):
        with harness.Daemon(["cookies"], "[application]\ncookie_secret = x\nxsrf_cookies = on\nxsrf_cookie_samesite = strict\n"
                                         "xsrf_cookie_httponly = on\n") as daemon:
            self.assertRegex(daemon.get("/token").header("Set-Cookie"),
                             r"^_xsrf=2\|\S+; HttpOnly; Path=/; SameSite=Strict$")


class Users(unittest.TestCase):
    def ask(self, daemon, target, headers="", method="GET"):
        with daemon.connect() as conn:
            conn.send(f"{method} {target} HTTP/1.1\r\nHost: here:81\r\n{headers}\r\n".encode())
            return conn.response(method == "HEAD")

    def daemon(self, login_url):
        return harness.Daemon(["cookies"], f"[application]\ncookie_secret = x\n{login_url}\n")

    def test_who_is_nobody_is_sent_to_log_in(self):
        with self.daemon("login_url = /login") as daemon:
            for method in ("GET", "HEAD"):
                answer = self.ask(daemon, "/private?a=b%20c&d", method=method)
                self.assertEqual((answer.status, answer.header("Location")),
                                 (302, "/login?next=%2Fprivate%3Fa%3Db%2520c%26d"))
            self.assertEqual(self.ask(daemon, "/private", "Content-Length: 0\r\n", "POST").status, 403)
            self.assertEqual(self.ask(daemon, "/private", method="OPTIONS").status, 204)
            user = cookie_of(daemon.get("/set-signed/user/jack"))[1]
            answer = self.ask(daemon, "/private", f"Cookie: user={user}\r\n")
            self.assertEqual((answer.status, answer.body), (200, b"Hello, jack"))

    def test_a_login_page_elsewhere_is_told_the_whole_url(self):
        with self.daemon("login_url = https://login.example/in") as daemon:
            self.assertEqual(self.ask(daemon, "/private").header("Location"),
                             "https://login.example/in?next=http%3A%2F%2Fhere%3A81%2Fprivate")

    def test_a_login_page_with_arguments_is_left_as_it_is(self):
        with self.daemon("login_url = /login?from=us") as daemon:
            self.assertEqual(self.ask(daemon, "/private").header("Location"), "/login?from=us")

    def test_without_a_login_page_the_handler_fails(self):
        with self.daemon("") as daemon:
            self.assertEqual(self.ask(daemon, "/private").status, 500)
            daemon.wait_log(r"there is no login_url in \[application:default\]")


class Secrets(unittest.TestCase):
    def daemon(self, ini, env=None, secret=None, tornadod="workers = 1"):
        """A daemon beside whose ini there is a file `secret`."""
        daemon = harness.Daemon(["cookies"], ini, env=env, tornadod=tornadod)
        self.addCleanup(daemon.close)
        if secret is not None:
            self.write(daemon, secret)
        return daemon

    def write(self, daemon, secret):
        path = os.path.join(daemon.folder, "secret")
        with open(path, "w", encoding="ascii") as file:
            file.write(secret)
        os.chmod(path, 0o600)

    def sign(self, daemon):
        _, value, _ = cookie_of(daemon.get("/set-signed/key/value"))
        return value

    def read(self, daemon, value):
        return daemon.get("/get-signed/key", headers=f"Cookie: key={value}\r\n").body

    def test_a_new_secret_takes_over_with_a_reload(self):
        with self.daemon("[application]\ncookie_secret_file = secret\n", secret="1:first\n") as daemon:
            first = self.sign(daemon)
            self.assertTrue(first.startswith('"2|1:1|'), first)
            self.write(daemon, "2:second\n1:first\n")
            daemon.reload()
            second = self.sign(daemon)
            self.assertTrue(second.startswith('"2|1:2|'), second)
            self.assertEqual(self.read(daemon, first), b"value")
            self.assertEqual(self.read(daemon, second), b"value")
            self.write(daemon, "2:second\n")
            daemon.reload()
            self.assertEqual(self.read(daemon, first), b"None")
            self.assertEqual(self.read(daemon, second), b"value")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_workers_without_the_right_to_read_it_have_it(self):
        with self.daemon("[application]\ncookie_secret_file = secret\n", secret="hush",
                         tornadod="workers = 1\nuser = nobody") as daemon:
            self.assertEqual(self.read(daemon, self.sign(daemon)), b"value")
            daemon.reload()
            self.assertEqual(self.read(daemon, self.sign(daemon)), b"value")

    def test_the_environment(self):
        ini = "[application]\ncookie_secret = ${MY_SECRET}\n"
        with self.daemon(ini, env={"MY_SECRET": "hush"}) as daemon:
            self.assertEqual(self.read(daemon, self.sign(daemon)), b"value")

    def test_without_a_secret_handlers_fail_and_say_why(self):
        with self.daemon("") as daemon:
            self.assertEqual(daemon.get("/get-signed/key").status, 500)
            daemon.wait_log(r"GetSigned: 500 GET /get-signed/key .*: td_get_signed_cookie: there "
                            r"is no cookie_secret_file in \[application:default\]")

    def test_the_settings_are_printed_without_it(self):
        daemon = self.daemon("[application]\ncookie_secret = hush-hush\n")
        done = harness.run("-c", daemon.ini_path, "-T")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("\n;cookie_secret = (not shown) ; ", done.stdout)
        self.assertNotIn("hush", done.stdout)

    def test_a_bad_file_refuses_the_start(self):
        daemon = self.daemon("[application]\ncookie_secret_file = secret\n", secret="a\nb\n")
        done = harness.run("-c", daemon.ini_path)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"tornadod.ini:\d+: cookie_secret_file: .*/secret: line 1 is "
                                      r"not VERSION:SECRET")


if __name__ == "__main__":
    unittest.main()
