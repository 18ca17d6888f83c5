"""Goal: forms and JSON reach a handler as their senders meant them: the same arguments and files as
Tornado finds, and a page of the handler's own for what is broken.
"""

import os
import random
import socket
import subprocess
import unittest
from urllib.parse import quote

import harness

try:
    from tornado.httputil import HTTPHeaders, HTTPServerRequest
    from tornado.web import Application, HTTPError, RequestHandler
except ImportError:
    RequestHandler = None

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary="
HANDLERS = {"all": "get_arguments", "query": "get_query_arguments", "body": "get_body_arguments",
            "last": "get_argument"}


class NoConnection:
    """What Tornado's request wants to know of its connection."""

    class context:
        remote_ip, protocol = "127.0.0.1", "http"

    @staticmethod
    def set_close_callback(callback):
        pass


def tornado_request(query, content_type, body):
    headers = HTTPHeaders({"Content-Type": content_type})
    request = HTTPServerRequest("POST", "/?" + query, headers=headers, body=body, host="test",
                                connection=NoConnection())
    request._parse_body()
    return request


def tornado_values(method, name, query, content_type, body):
    """(status, [value]) as Tornado has it."""
    request = tornado_request(query, content_type, body)
    try:
        values = getattr(RequestHandler(Application(), request), method)(name)
    except HTTPError as e:
        return e.status_code, []
    values = values if isinstance(values, list) else [values]
    return 200, [value.encode() for value in values]


class Served(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ini = "[handler:forms]\nmax_fields = 2000\nmax_json_memory = 16m\n"
        cls.daemon = harness.Daemon(["forms"], ini=ini)
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.addClassCleanup(cls.daemon.stop)

    def setUp(self):
        self.conn = self.daemon.connect()
        self.addCleanup(self.conn.close)

    def lines(self, response):
        self.assertEqual(response.status, 200, response)
        return [bytes.fromhex(line.decode()) for line in response.body.splitlines()]

    def post(self, target, content_type, body, headers=""):
        return self.conn.request("POST", target, f"Content-Type: {content_type}\r\n{headers}", body)

    def values(self, kind, name, query, content_type, body):
        response = self.post(f"/{kind}/{quote(name, safe='')}?{query}", content_type, body)
        if response.status != 200:
            return response.status, []
        return 200, self.lines(response)


class Urlencoded(Served):
    @unittest.skipIf(RequestHandler is None, "Tornado is not installed")
    def test_arguments_are_those_that_tornado_finds(self):
        pieces = ["a", "b", "a", "=", "=", "&", "&", "+", "%20", "%", "%4", "%zz", "%26", "%3D",
                  "%C3%A9", "%00", "%1f", "%09", "%0A", "%C2%A0", "%E3%80%80", "%ff", ";", "?", "/", "x", "1"]
        source = random.Random(20)
        for number in range(300):
            query, body = ("".join(source.choices(pieces, k=source.randrange(20)))
                           for _ in range(2))
            for kind, method in HANDLERS.items():
                for name in ("a", "b", ""):
                    form = name, query, URLENCODED, body.encode()
                    if kind == "last" and tornado_values("get_arguments", *form)[0] == 400:
                        continue  # Tornado refuses them all for one that is not UTF-8
                    with self.subTest(number, query=query, body=body, method=method, name=name):
                        self.assertEqual(self.values(kind, *form), tornado_values(method, *form))

    def test_any_method_may_bring_a_form(self):
        for method in ("GET", "POST", "DELETE"):
            response = self.conn.request(method, "/all/a", f"Content-Type: {URLENCODED}\r\n",
                                         b"a=x")
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

    def test_who_makes_many_mistakes_keeps_nobody_elses_out_of_the_log(self):
        broken = (b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
                  b"Connection: close\r\nContent-Length: 4\r\n\r\njunk")

        def send(source):
            with socket.create_connection(self.daemon.addresses["default"],
                                          harness.DEADLINE, (source, 0)) as conn:
                conn.sendall(broken)
                while conn.recv(65536):
                    pass

        seen = len(self.daemon.log.lines)
        for _ in range(50):
            send("127.0.0.7")
        send("127.0.0.8")
        self.daemon.wait_log(r"\(127\.0\.0\.8\): form: it has no end", seen)
        told = [line for line in self.daemon.log.lines[seen:] if "(127.0.0.7): form: " in line]
        self.assertLess(len(told), 10)


def random_part(source):
    """A part without its delimiter."""
    # Not with a backslash at the end: there Tornado 6.2 stumbles.
    name = source.choice(["a", "b", "\u00e9", 'q"x', "a b;c"])
    escaped = name.replace('"', '\\"')
    more, kind = source.choice([
        ("", ""), ("", "Content-Type: text/plain\r\n"), ('; filename=""', ""),
        ('; filename="f.txt"', ""),
        ("; filename=f", "X-Other: y\r\nContent-Type: image/png; x=y\r\n"),
        ('; filename="\u00e9;x.txt"', ""), ("; filename*=utf-8''%c3%a9.txt", "")])
    body = b"".join(source.choices([b"\r\n", b"--", b"B", b"\r\n--Bx", b"\0", b"x", b"\xc3\xa9",
                                    b"-", b"%20", b"+"], k=source.randrange(8)))
    return (f'Content-Disposition: form-data; name="{escaped}"{more}\r\n{kind}\r\n'.encode() +
            body + b"x\r\n")


class Multipart(Served):
    @unittest.skipIf(RequestHandler is None, "Tornado is not installed")
    def test_fields_and_files_are_those_that_tornado_finds(self):
        source = random.Random(21)
        for number in range(100):
            body = b"".join(b"--B\r\n" + random_part(source) for _ in range(source.randrange(5)))
            body += b"--B--\r\n"
            request = tornado_request("", MULTIPART + "B", body)
            for name in ("a", "b", "\u00e9", 'q"x', "a b;c"):
                with self.subTest(number, body=body, name=name):
                    form = name, "", MULTIPART + "B", body
                    self.assertEqual(self.values("body", *form),
                                     tornado_values("get_body_arguments", *form))
                    target = "/files/" + quote(name, safe="")
                    found = self.lines(self.post(target, MULTIPART + "B", body))
                    wanted = [part for file in request.files.get(name, [])
                              for part in (file.filename.encode(), file.content_type.encode(),
                                           file.body)]
                    self.assertEqual(found, wanted)

    def test_a_form_as_curl_sends_it(self):
        path = os.path.join(self.daemon.folder, "upload.bin")
        data = bytes(range(256)) * 1000
        with open(path, "wb") as file:
            file.write(data)
        ip, port = self.daemon.addresses["default"]
        for target, wanted in (("files/f", [b"upload.bin", b"application/octet-stream", data]),
                               ("all/a", [b"one two"])):
            done = subprocess.run(["curl", "-sS", "-F", "a=one two", "-F", f"f=@{path}",
                                   f"http://{ip}:{port}/{target}"], capture_output=True, check=True)
            self.assertEqual([bytes.fromhex(line.decode()) for line in done.stdout.split()], wanted)

    def test_a_form_that_is_refused_gets_the_page_of_the_handler(self):
        part = b'--B\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
        refused = [(part, 400), (part * 101 + b"--B--", 413),
                   (b"--B\r\nX: " + b"x" * 10240 + b"\r\n\r\n", 413),
                   (b"--B\r\n\r\n\r\n--B--", 400)]
        for body, status in refused:
            response = self.post("/count", MULTIPART + "B", body)
            self.assertEqual((response.status, response.body),
                             (status, f"page of the handler: {status}".encode()))
        self.assertEqual(self.post("/count", MULTIPART + "B", part * 100 + b"--B--").body, b"100")
        self.daemon.log.wait("forms] /count: 4.. POST /count .*: form: ")


class Json(Served):
    def test_members_come_in_order(self):
        body = b'{"b": [1], "a": {"x": null}, "\\u00e9": "\\u0000", "a b": 1}'
        response = self.post("/json", "application/json", body)
        self.assertEqual(response.body, b"62\n7\n61\n6\nc3a9\n0\n612062\n1\n")

    def test_what_is_refused_gets_the_page_of_the_handler(self):
        for body, status in ((b"{", 400), (b"", 400), (b"[" * 65 + b"]" * 65, 413),
                             (b"[" + b"{}," * 300000 + b"{}]", 413), (b"[" * 1000000, 413)):
            response = self.post("/json", "application/json", body)
            self.assertEqual((response.status, response.body),
                             (status, f"page of the handler: {status}".encode()))
        self.daemon.log.wait("forms] /json: 4.. POST /json .*: json: ")
        self.assertEqual(self.post("/json", "application/json", b"{}").status, 200)


if __name__ == "__main__":
    unittest.main()
