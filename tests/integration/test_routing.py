"""Goal: what a path, a method and headers lead to is what the guide says, and, for patterns and names,
what Tornado does with the same.
"""

import unittest
import urllib.parse

from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches

import harness

# Not "/xy": Tornado's "$" belongs to the last alternative of "/x|/y" alone.
TARGETS = ("/", "//", "/a/b.html", "/a/bxhtml", "/a/b.html/", "/n/12", "/n/12x", "/n/me", "/n/never", "/n/",
           "/n/a%20b+c", "/n/%C3%A9", "/n/a%2Fb", "/n/a/b", "/named/ab/", "/named/ab/c%25d", "/named//x",
           "/opt", "/opt/5", "/opt/", "/three/", "/three/ac", "/three/b", "/three/abc", "/three/ca",
           "/same/ab-ab", "/same/ab-ac", "/rest/", "/rest/a/b//c", "/rest/%3F%23", "/caret/x", "/caret/xy",
           "/x", "/y", "/class/a", "/class/c", "/dot/a.b/x", "/dot/axb/%25", "/dot/axb/x", "/lazy/a/b/c",
           "/lazy//", "/e-s+(c)/z", "/slash", "/slash/", "/slash//", "/X", "/nowhere")
ARGUMENTS = ((), ("x",), ("1", "2"), ("a b", "c/d"), ("\u00e9?&#%+", ""), ("a", "b", "c"))


class Tornado:
    """Its rules for the patterns of the handler."""

    def __init__(self, listing):
        rows = [line.split(" ", 2) for line in listing.decode().splitlines()]
        self.rules = [(name, int(groups), PathMatches(pattern)) for name, groups, pattern in rows]

    def find(self, target):
        """(name, [text of each group]) or None."""
        for name, _, matcher in self.rules:
            found = matcher.match(HTTPServerRequest("GET", target))
            if found is not None:
                values = found.get("path_args") or list(found.get("path_kwargs", {}).values())
                return name, ["None" if value is None else value.decode() for value in values]
        return None

    @staticmethod
    def reverse(matcher, args):
        """As text; None where it is refused."""
        try:
            return matcher.reverse(*args)
        except (AssertionError, ValueError):
            return None


class Routing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["routing"])
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.tornado = Tornado(cls.daemon.get("/patterns").body)

    def ask(self, method, target, headers=""):
        with self.daemon.connect() as conn:
            conn.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
            return conn.response(head=method == "HEAD")

    def test_patterns_match_what_they_match_in_tornado(self):
        groups = {name: count for name, count, _ in self.tornado.rules}
        for target in TARGETS:
            with self.subTest(target):
                expected = self.tornado.find(target)
                count = groups[expected[0]] if expected else 0
                answer = self.ask("GET", f"/m{target}?groups={count}")
                if expected is None:
                    self.assertEqual(answer.status, 404)
                else:
                    self.assertEqual(answer.body.decode().split("\n"), [expected[0], *expected[1]])

    def test_names_lead_to_the_paths_that_they_lead_to_in_tornado(self):
        for name, _, matcher in self.tornado.rules:
            for args in ARGUMENTS:
                with self.subTest((name, args)):
                    expected = self.tornado.reverse(matcher, args)
                    query = urllib.parse.urlencode([("name", name)] + [("arg", arg) for arg in args])
                    path = self.ask("GET", f"/reverse?{query}").body.decode()
                    if name in self.TOO_CLEVER:
                        self.assertEqual(path, "")
                    elif name != "escaped" or path == "":  # where Tornado counts "\\(" as a group
                        self.assertEqual(path, "/m" + expected if expected is not None else "")

    # What Tornado makes a path of that the pattern would not match, or not always.
    TOO_CLEVER = ("three", "either", "class", "slash", "same")

    CASES = (  # method, target, headers, status, body or Location (None: whatever), Allow, Vary
        ("GET", "/item/5?groups=1", "", 200, "item-get\n5", None, None),
        ("PUT", "/item/5?groups=1", "", 200, "item-put\n5", None, None),
        ("POST", "/item/5", "", 405, None, "GET, HEAD, PUT, OPTIONS", None),
        ("OPTIONS", "/item/5", "", 204, "", "GET, HEAD, PUT, OPTIONS", None),
        ("HEAD", "/item/5", "", 200, "", None, None),
        ("GET", "/v", "Accept: application/vnd.test.v2+json\r\n", 200, "v2", None, "Accept"),
        ("GET", "/v", "Accept: */*\r\n", 200, "v1", None, "Accept"),
        ("GET", "/v", "", 200, "v1", None, "Accept"),
        ("GET", "/api/3/list?groups=1", "", 200, "list\n3", None, None),
        ("GET", "/api/3/one/4?groups=2", "", 200, "one\n3\n4", None, None),
        ("PUT", "/api/3/one/4", "", 405, None, "GET, HEAD, POST, OPTIONS", None),
        ("HEAD", "/plain", "", 405, None, "GET", None),
        ("OPTIONS", "/plain", "", 405, None, "GET", None),
        ("GET", "/removed", "", 200, "removed", None, None),
        ("GET", "/removed//?a=b", "", 301, "/removed?a=b", None, None),
        ("POST", "/removed/", "", 404, None, None, None),
        ("GET", "/added", "", 301, "/added/", None, None),
        ("POST", "/added/", "", 200, "added", None, None),
        ("GET", "/moved/a%20b?c=d", "", 301, "/to/a%20b?c=d", None, None),
        ("GET", "/moved/%0d%0aSet-Cookie:x", "", 301, "/to/%0D%0ASet-Cookie%3Ax", None, None),
        ("POST", "/moved/a", "", 405, None, "GET, HEAD, OPTIONS", None),
        ("POST", "/moved-all//a", "", 308, "https://example.org/a", None, None),
        ("GET", "/moved-all/.evil.example", "", 404, None, None, None),
        ("PUT", "/gone/x", "", 410, None, None, None),
        ("GET", "/nowhere", "", 404, "lost in the woods", None, None),
        ("POST", "/nowhere", "", 404, None, None, None),
    )

    def test_methods_and_headers_choose(self):
        for method, target, headers, status, said, allow, vary in self.CASES:
            with self.subTest((method, target, headers)):
                answer = self.ask(method, target, headers)
                self.assertEqual(answer.status, status)
                self.assertEqual((answer.header("Allow"), answer.header("Vary")), (allow, vary))
                if said is not None:
                    self.assertEqual(answer.header("Location") or answer.body.decode(), said)

    def test_headers_choose_on_a_kept_connection_too(self):
        wanted = [("Accept: x.vnd.test.v2\r\n", b"v2"), ("Accept: x.vnd.test.v2\r\n", b"v2"),
                  ("Accept: x.vnd.test.v3\r\n", b"v1"), ("", b"v1"), ("Accept: x.vnd.test.v2\r\n", b"v2")]
        with self.daemon.connect() as conn:
            for headers, body in wanted:
                conn.send(f"GET /v HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
                self.assertEqual(conn.response().body, body)

    def test_names_of_nested_routes_and_of_instances(self):
        cases = {"api.one&arg=1&arg=2": "/api/1/one/2", "routing:api.list&arg=7": "/api/7/list",
                 "routing:me": "/m/n/me", "other:me": "", "one&arg=1&arg=2": ""}
        for query, path in cases.items():
            self.assertEqual(self.ask("GET", f"/reverse?name={query}").body.decode(), path)

    def test_routes_are_printed_with_what_they_want(self):
        done = harness.run("routes", "-c", self.daemon.ini_path)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in (r"/item/(\d+)  routing (GET, HEAD)", r"/v  routing (Accept: .*vnd\.test\.v2.*)",
                     r"/api/(\d)/one/(\d+)  routing (GET, HEAD, POST)", "/m/n/me  routing", "/.*  routing"):
            self.assertIn(line + "\n", done.stdout)


class Hosts(unittest.TestCase):
    INI = "[application]\ndefault_host = www.example.org\n{}[handler:routing]\nhosts = www\\.example\\.org\n"

    def ask(self, daemon, host, target):
        with daemon.connect() as conn:
            conn.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return conn.response()

    def test_strangers_are_served_or_sent_on(self):
        for more, status, location in (("", 200, None),
                                       ("default_host_redirect = on\n", 301,
                                        "http://www.example.org/m/n/me?x")):
            with self.subTest(more), harness.Daemon(["routing"], ini=self.INI.format(more)) as daemon:
                answer = self.ask(daemon, "10.1.2.3:80", "/m/n/me?x")
                self.assertEqual((answer.status, answer.header("Location")), (status, location))
                self.assertEqual(self.ask(daemon, "WWW.example.org:80", "/m/n/me").body, b"me")

    def test_what_makes_no_sense_is_refused(self):
        cases = {
            "default_host_redirect = on": "there is no default_host",
            "default_host = a/b": "default_host 'a/b' is no host",
            "default_host = a\ndefault_host_redirect = on": "'a' is in the hosts of no handler",
            "default_handler = settings": "default_handler = settings: none of its handlers",
        }
        for line, pattern in cases.items():
            with self.subTest(line):
                daemon = harness.Daemon(["routing"], ini=f"[application]\n{line}\n")
                self.addCleanup(daemon.close)
                done = harness.run("-t", "-c", daemon.ini_path)
                self.assertEqual(done.returncode, 78, done.stderr)
                self.assertRegex(done.stderr, pattern)

    def test_two_default_handlers_want_a_setting(self):
        two = "[handler:routing]\n[handler:again]\nfile = routing.so\nmount = /again\n"
        daemon = harness.Daemon(["routing"], ini=two)
        self.addCleanup(daemon.close)
        done = harness.run("-t", "-c", daemon.ini_path)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"routing.so \(handler \w+\) .* have a default_handler")
        with harness.Daemon(["routing"], ini="[application]\ndefault_handler = again\n" + two) as daemon:
            self.assertEqual(daemon.get("/nowhere").body, b"lost in the woods")
            self.assertEqual(daemon.get("/reverse?name=again:me").body, b"/again/m/n/me")
            self.assertEqual(daemon.get("/again/reverse?name=routing:me").body, b"/m/n/me")
            self.assertEqual(daemon.get("/again/reverse?name=me").body, b"/again/m/n/me")


if __name__ == "__main__":
    unittest.main()
