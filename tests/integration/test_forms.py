"""Goal: forms reach a handler as their senders meant them: the same arguments as Tornado finds, a
page of the handler's own for one that is broken, and time linear in its size.
"""

import random
import unittest
from urllib.parse import quote

import harness

try:
    from tornado.httputil import HTTPHeaders, HTTPServerRequest
    from tornado.web import Application, HTTPError, RequestHandler
except ImportError:
    RequestHandler = None

URLENCODED = "application/x-www-form-urlencoded"
HANDLERS = {"all": "get_arguments", "query": "get_query_arguments", "body": "get_body_arguments",
            "last": "get_argument"}


class NoConnection:
    """What Tornado's request wants to know of its connection."""

    class context:
        remote_ip, protocol = "127.0.0.1", "http"

    @staticmethod
    def set_close_callback(callback):
        pass


def tornado_values(method, name, query, content_type, body):
    """(status, [value]) as Tornado has it."""
    request = HTTPServerRequest("POST", "/?" + query, headers=HTTPHeaders({"Content-Type": content_type}),
                                body=body, host="test", connection=NoConnection())
    request._parse_body()
    try:
        values = getattr(RequestHandler(Application(), request), method)(name)
    except HTTPError as e:
        return e.status_code, []
    values = values if isinstance(values, list) else [values]
    return 200, [value.encode() for value in values]


class Served(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["forms"], ini="[handler:forms]\nmax_fields = 2000\n")
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.addClassCleanup(cls.daemon.stop)

    def setUp(self):
        self.conn = self.daemon.connect()
        self.addCleanup(self.conn.close)

    def post(self, target, content_type, body, headers=""):
        return self.conn.request("POST", target, f"Content-Type: {content_type}\r\n{headers}", body)

    def values(self, kind, name, query, content_type, body):
        response = self.post(f"/{kind}/{quote(name, safe='')}?{query}", content_type, body)
        if response.status != 200:
            return response.status, []
        return 200, [bytes.fromhex(line.decode()) for line in response.body.splitlines()]


class Urlencoded(Served):
    @unittest.skipIf(RequestHandler is None, "Tornado is not installed")
    def test_arguments_are_those_that_tornado_finds(self):
        pieces = ["a", "b", "a", "=", "=", "&", "&", "+", "%20", "%", "%4", "%zz", "%26", "%3D", "%C3%A9",
                  "%00", "%1f", "%09", "%0A", "%C2%A0", "%E3%80%80", "%ff", ";", "?", "/", "x", "1"]
        source = random.Random(20)
        for number in range(300):
            query, body = ("".join(source.choices(pieces, k=source.randrange(20))) for _ in range(2))
            for kind, method in HANDLERS.items():
                for name in ("a", "b", ""):
                    form = name, query, URLENCODED, body.encode()
                    if kind == "last" and tornado_values("get_arguments", *form)[0] == 400:
                        continue  # Tornado refuses them all for one that is not UTF-8
                    with self.subTest(number, query=query, body=body, method=method, name=name):
                        self.assertEqual(self.values(kind, *form), tornado_values(method, *form))

    def test_any_method_may_bring_a_form(self):
        for method in ("GET", "POST", "DELETE"):
            response = self.conn.request(method, "/all/a", f"Content-Type: {URLENCODED}\r\n", b"a=x")
            self.assertEqual(response.body, b"78\n")

    def test_a_form_in_chunks(self):
        self.conn.send(f"POST /all/a HTTP/1.1\r\nHost: x\r\nContent-Type: {URLENCODED}\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n".encode())
        for byte in b"a=x&a=y":
            self.conn.send(b"1\r\n%c\r\n" % byte)
        self.conn.send(b"0\r\n\r\n")
        self.assertEqual(self.conn.response().body, b"78\n79\n")

    def test_a_form_that_is_refused_gets_the_page_of_the_handler(self):
        refused = [(b"&f" * 2001, "", 413), (b"f", "Content-Encoding: gzip\r\n", 400)]
        for body, headers, status in refused:
            response = self.post("/count", URLENCODED, body, headers)
            self.assertEqual((response.status, response.body),
                             (status, f"page of the handler: {status}".encode()))
        self.daemon.log.wait("forms] /count: 4.. POST /count .*: form: ")
        self.assertEqual(self.post("/count", URLENCODED, b"f&" * 2000).body, b"2000")


if __name__ == "__main__":
    unittest.main()
