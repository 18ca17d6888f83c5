"""Goal: cookies, plain and signed, pass between tornadod and Tornado in both directions, and secrets
come from where the settings say.
"""

import os
import random
import time
import unittest
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


class Secrets(unittest.TestCase):
    def daemon(self, ini, env=None, secret=None):
        """A daemon beside whose ini there is a file `secret`."""
        daemon = harness.Daemon(["cookies"], ini, env=env)
        self.addCleanup(daemon.close)
        if secret is not None:
            self.write(daemon, secret)
        return daemon

    def write(self, daemon, secret):
        with open(os.path.join(daemon.folder, "secret"), "w", encoding="ascii") as file:
            file.write(secret)

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
