"""Goal: every example of the guide for authors compiles without a warning, is served, and does what the
guide says.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import unittest

import harness
from certificates import Certificates

FLAGS = ["-shared", "-fPIC", "-fexceptions", "-Wall", "-Wextra", "-Werror", f"-I{harness.ROOT}/lib",
         f"-L{harness.BUILD}", "-ltornado"]
HEAD = ("#include <pthread.h>\n#include <stdlib.h>\n#include <tornado/tornado.h>\n"
        "#include <unistd.h>\n")
METHOD = re.compile(r"^(\w+)\(td_handler \*h\)$", re.M)


def blocks(language):
    with open(f"{harness.ROOT}/lib/tornado/HANDLERS.md", encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.M | re.S)


def whole(source):
    """A block that is no file yet gets what a file needs; its last function is its method."""
    if "#include" not in source:
        source = HEAD + source
    if "TD_PLUGIN" not in source:
        method = METHOD.findall(source)[-1]
        groups = "".join(f"/(?<{name}>.*)" for name in
                         re.findall(r'td_path_argument\(h, "(\w+)"\)', source))
        source += (f"static const td_handler_class Example = {{.get = {method}, .post = {method}}};\n"
                   f'TD_PLUGIN(.name = "{method}", .version = "1.0",\n'
                   f'          .urls = TD_URLS(TD_URL("/{method}{groups}", &Example)));\n')
    return source


def name_of(source):
    return re.search(r'TD_PLUGIN\(\.name = "(\w+)"', source)[1]


@unittest.skipIf(harness.SANITIZED, "examples are not sanitized")
class HandlersMd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(["request_id", "security_headers", "gateway"],
                                    listeners={"default": "", "door": "protocol = doorman",
                                               "desk": "protocol = clerk"},
                                    ini="[application]\ncookie_secret = of the guide\n"
                                                "login_url = /login\nstatic_path = static\n"
                                                "[handler:album]\nfolder = .\n"
                                                "[handler:client]\nmiddleware = friends\n"
                                                "[handler:friends]\nclient = you\n")
        cls.addClassCleanup(cls.daemon.close)
        os.makedirs(f"{cls.daemon.folder}/static/css")
        with open(f"{cls.daemon.folder}/static/css/site.css", "w", encoding="ascii") as file:
            file.write("p { color: red }")
        examples = [("cc", "-std=gnu11", "c", whole(source)) for source in blocks("c")
                    if "\nmain(void)\n" not in source]  # of test_program
        examples += [("c++", "-std=c++20", "c++", source) for source in blocks("cpp")]
        for compiler, std, language, source in examples:
            target = f"{cls.daemon.handlers}/{name_of(source)}.so"
            assert not os.path.exists(target), f"two examples are called {name_of(source)}"
            done = subprocess.run([compiler, std, "-x", language, "-", *FLAGS, "-o", target],
                                  input=source, text=True, check=False, capture_output=True,
                                  timeout=harness.DEADLINE)
            assert done.returncode == 0, source + done.stderr
            os.chmod(target, 0o755)
        cls.daemon.start()

    def test_tests_pass(self):
        """What the guide tests is what it has built; the blocks of tests are marked as C, not c."""
        for number, source in enumerate(blocks("C")):
            program = f"{self.daemon.folder}/test_{number}"
            done = subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", f"-I{harness.ROOT}/lib", "-x",
                                   "c", "-", "-o", program, f"-L{harness.BUILD}",
                                   f"-Wl,-rpath,{harness.BUILD}", "-ltornado-test", "-ltornado",
                                   "-lcheck", "-lsubunit", "-lrt", "-lm"], input=source, text=True,
                                  check=False, capture_output=True, timeout=harness.DEADLINE)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = subprocess.run([program], cwd=self.daemon.handlers, text=True, check=False,
                                  capture_output=True, timeout=harness.DEADLINE)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertRegex(done.stdout, r"100%: Checks: [1-9]")

    def uploaded(self):
        body = (b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n'
                b"Content-Type: image/png\r\n\r\nabc\r\n--x--\r\n")
        with self.daemon.connect() as conn:
            conn.send(b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n"
                      b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" % len(body) + body)
            return conn.response().body

    def kept_photo(self):
        """Larger than body_spill; where it is kept, the daemon's folder, is its current directory."""
        photo = bytes(3 << 20)
        body = (b'--x\r\nContent-Disposition: form-data; name="number"\r\n\r\n7\r\n'
                b'--x\r\nContent-Disposition: form-data; name="photo"; filename="../a"\r\n\r\n' +
                photo + b"\r\n--x--\r\n")
        self.assertIn(b"multipart/form-data", self.daemon.get("/album").body)
        with self.daemon.connect() as conn:
            response = conn.request("POST", "/album",
                                    "Content-Type: multipart/form-data; boundary=x\r\n", body)
        with open(f"{self.daemon.folder}/7.jpeg", "rb") as file:
            self.assertEqual(file.read(), photo)
        return response.body

    def ordered(self):
        with self.daemon.connect() as conn:
            body = b'{"items": ["tea", "cake"]}'
            conn.send(b"POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n"
                      b"Content-Type: application/json\r\n\r\n" % len(body) + body)
            return conn.response().body

    def items(self):
        for number, body, wanted in (
                (7, b'{"name": "tea", "count": 3}', (201, b'{"number": 7, "name": "tea", "count": 3}')),
                (0, b"{}", (404, None)), (1000000, b"{}", (404, None)), (7, b"{", (400, None)),
                (7, b'{"count": 3}', (422, b'{"status": 422, "error": "name: 1 to 80 bytes of text"}')),
                (7, b'{"name": "tea", "count": "3"}',
                 (422, b'{"status": 422, "error": "count: a number, 0 or more"}'))):
            with self.daemon.connect() as conn:
                answer = conn.request("PUT", f"/items/{number}", "Content-Type: application/json\r\n", body)
            self.assertEqual((answer.status, answer.body), (wanted[0], wanted[1] or answer.body))
            self.assertEqual(answer.header("Content-Type"), "application/json; charset=UTF-8")

    def streamed(self, method, target, body):
        with self.daemon.connect() as conn:
            return conn.request(method, target, "Content-Type: text/plain\r\n", body).body

    def logged_in(self):
        """From the page that wants a user, by the form, back to it."""
        self.assertEqual(self.daemon.get("/").header("Location"), "/login?next=%2F")
        form = self.daemon.get("/login")
        token = re.search(r'name="_xsrf" value="([^"]+)"', form.body.decode())[1]
        with self.daemon.connect() as conn:
            body = f"name=jack&_xsrf={token}"
            conn.send(f"POST /login HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n"
                      "Content-Type: application/x-www-form-urlencoded\r\n"
                      f"Cookie: {form.header('Set-Cookie')}\r\n\r\n{body}".encode())
            answer = conn.response()
        self.assertEqual(answer.header("Location"), "/")
        user = answer.header("Set-Cookie").split(";")[0]
        return self.daemon.get("/", headers=f"Cookie: {user}\r\n").body

    def styled(self):
        """The style sheet that the page has a link to, and how long it is good."""
        url = re.search(r'href="(/static/css/site.css\?v=[0-9a-f]{32})"',
                        self.daemon.get("/styled").body.decode())[1]
        sheet = self.daemon.get(url)
        return sheet.body, sheet.header("Cache-Control")

    def fingered(self):
        """Beside a server on a unix socket, and without one."""
        self.assertEqual(self.daemon.get("/finger").status, 502)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{self.daemon.folder}/finger.sock")
            os.chmod(f"{self.daemon.folder}/finger.sock", 0o777)
            server.listen()
            with self.daemon.connect() as conn:
                conn.send(b"GET /finger HTTP/1.1\r\nHost: test\r\n\r\n")
                server.settimeout(harness.DEADLINE)
                peer = server.accept()[0]
                with peer, peer.makefile("rb") as asked:
                    self.assertEqual(asked.read(), b"jack\r\n")
                    peer.sendall(b"Jack is out.\n")
                return conn.response().body

    def prices(self):
        """Of a shop on a unix socket that knows one of two."""
        with socket.socket(socket.AF_UNIX) as shop:
            shop.bind(f"{self.daemon.folder}/shop.sock")
            os.chmod(f"{self.daemon.folder}/shop.sock", 0o777)
            shop.listen()
            shop.settimeout(harness.DEADLINE)
            with self.daemon.connect() as conn:
                conn.send(b"GET /prices HTTP/1.1\r\nHost: test\r\n\r\n")
                for _ in range(2):
                    peer = shop.accept()[0]
                    with peer, peer.makefile("rb") as asked:
                        line = asked.readline()
                        while asked.readline() != b"\r\n":
                            pass
                        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3" if b"tea" in line
                                     else b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n")
                return conn.response().body

    def film(self):
        """Of a server on a unix socket."""
        with socket.socket(socket.AF_UNIX) as films:
            films.bind(f"{self.daemon.folder}/films.sock")
            os.chmod(f"{self.daemon.folder}/films.sock", 0o777)
            films.listen()
            films.settimeout(harness.DEADLINE)
            with self.daemon.connect() as conn:
                conn.send(b"GET /film HTTP/1.1\r\nHost: test\r\n\r\n")
                with films.accept()[0] as peer:
                    self.assertIn(b"GET /jaws ", peer.recv(4096))
                    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1000000))
                return conn.response().body

    def asked(self, target, name, talk):
        """The answer to a handler that asks a server on a unix socket of that name, which talks."""
        path = f"{self.daemon.folder}/{name}.sock"
        with socket.socket(socket.AF_UNIX) as server, self.daemon.connect() as conn:
            server.bind(path)
            os.chmod(path, 0o777)
            server.listen()
            server.settimeout(harness.DEADLINE)
            conn.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            with server.accept()[0] as peer:
                peer.settimeout(harness.DEADLINE)
                talk(peer)
            return conn.response().body

    def with_tls(self):
        """Both ways to it, by servers that a CA of ours stands for."""
        certificates = Certificates()
        self.addCleanup(certificates.close)
        shutil.copy(certificates.ca, f"{self.daemon.folder}/our-ca.pem")

        def secure(peer, name):
            return certificates.server(name, host=f"{name}.internal").wrap_socket(peer, server_side=True)

        def vault(peer):
            with secure(peer, "vault") as inside:
                self.assertIn(b"\r\nHost: vault.internal\r\n", inside.recv(4096))
                inside.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42")

        def mail(peer):
            self.assertEqual(peer.recv(100), b"STLS\r\n")
            peer.sendall(b"+OK\r\n")
            with secure(peer, "mail") as inside:
                self.assertEqual(inside.recv(100), b"STAT\r\n")
                inside.sendall(b"+OK 2 320\r\n")

        return self.asked("/secret", "vault", vault), self.asked("/mailbox", "mail", mail)

    def prophecy(self):
        """Of a server that goes on with a protocol of its own, of which the first line is there at once."""
        def delphi(peer):
            self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: oracle\r\n", peer.recv(4096))
            peer.sendall(b"HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: oracle\r\n\r\nA great")
            self.assertEqual(peer.recv(100), b"Shall I?\n")
            peer.sendall(b" empire will fall.\n")
            self.assertEqual(peer.recv(1), b"")

        return self.asked("/oracle", "delphi", delphi)

    def shops(self):
        """Every answer of the example of routes."""
        for target, headers, answer in (
                ("/shops/north/goods", "", (200, None, b"shop north has cheese")),
                ("/shops/north/goods", "Accept: application/json\r\n",
                 (200, None, b'{"shop": "north", "has": "cheese"}')),
                ("/shops/north/goods/", "", (301, "/shops/north/goods", b"")),
                ("/market/north/goods?a=b", "", (301, "/shops/north/goods?a=b", b"")),
                ("/prices/cheese", "", (410, None, b"<html><title>410: Gone</title><body>410: Gone</body></html>")),
                ("/nowhere", "X-Client: you\r\n", (404, None, b"404: ask the grocer"))):  # past the guard of /
            response = self.daemon.get(target, headers=headers)
            self.assertEqual((response.status, response.header("Location"), response.body), answer)
        with self.daemon.connect() as conn:
            conn.send(b"POST /shops/north/goods HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
            response = conn.response()
        self.assertEqual((response.status, response.header("Location")), (303, "/shops/north/goods"))

    def echoed(self):
        with self.daemon.connect() as conn:
            conn.send(b"GET /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
                      b"one\ntwo\n")
            self.assertEqual(conn.response().status, 101)
            while conn.received.count(b"\n") < 2:
                conn.received += conn.socket.recv(100)
            return conn.received

    def test_it_does_what_the_guide_says(self):
        rows = b"".join(b"row %d\n" % i for i in range(100000))
        lines = b"".join(b"line %d\n" % i for i in range(1000))
        count = b'{"upstream": "http://127.0.0.1:9000", "asked": %d}'
        cases = {
            "/greet/J%C3%BCrg": "Hello, J\u00fcrg\n".encode(),
            "/search?q=x&images=on": b"page 1 of x by newest, with images\n",
            "/slow": b"done\n", "/render": b"rendered, at most two at a time\n", "/later": b"later\n", "/sum": b"5050\n", "/total": b"500500\n", "/rot13": b"hello", "/stream": lines,
            "/rows": rows, "/choose_theme": b"It was none.\n",
            "/come_back": b"Hello again, stranger\n", "/count": count % 1, "/hit": b"1\n", "/pack": b"sent\n",
            "/results?q=%3Cb%3E": b"<p>Nothing found for &lt;b&gt;; <a href=\"/results?q=%3Cb%3E\" "
                                  b"title=\"&lt;b&gt;\">again</a>?</p>",
            "/whoami": b"127.0.0.1, at http://test/whoami\n",
            "/traced": b"order-17 of no trace\n",
            "/shout?name=jack": b'{"hello": "jack!", "length": 4}',
            "/squares": b'{"title": "squares", "rows": [{"n": 1, "square": 1}, {"n": 2, "square": 4}, '
                        b'{"n": 3, "square": 9}]}',
            "/good_morning": b"Good morning\n", "/note": b"the seventeenth version\n", "/whisper": b"PSST!\n",
            "/countdown": b"".join(b"event: tick\ndata: %d\n\n" % i for i in (3, 2, 1)),
        }
        for target, body in cases.items():
            with self.subTest(target):
                response = self.daemon.get(target)
                self.assertEqual((response.status, response.body), (200, body))
        for wanted, language, text in (("fr-CH, en;q=0.5", "fr", b"Bonjour\n"),
                                       ("pt;q=0.9, en;q=0.5", "pt-BR", b"Bom dia\n"),
                                       ("da", "en", b"Good morning\n")):
            answer = self.daemon.get("/good_morning", headers=f"Accept-Language: {wanted}\r\n")
            self.assertEqual((answer.header("Content-Language"), answer.header("Vary"), answer.body),
                             (language, "Accept-Language", text))
        news = self.daemon.get("/news?by=date")
        self.assertEqual((news.body, news.header("Last-Modified")),
                         (b'Nothing new; <a href="/news?by=date&amp;before=27%20January">older</a>',
                          "Sun, 27 Jan 2013 18:43:20 GMT"))
        known = "If-Modified-Since: Sun, 27 Jan 2013 18:43:20 GMT\r\n"
        self.assertEqual(self.daemon.get("/news", headers=known).status, 304)
        self.assertEqual(self.uploaded(), b"3 bytes of image/png\n")
        with self.daemon.connect() as conn:
            form = "Content-Type: application/x-www-form-urlencoded\r\n"
            self.assertEqual(conn.request("POST", "/submit?x=1", form, b"a=+1&b%26=2").body,
                             b"a:  1\nb&: 2\n")
        self.assertEqual(self.kept_photo(), b"Photo 7 is kept: 3145728 bytes.\n")
        self.assertEqual(self.logged_in(), b"Welcome, jack")
        self.assertEqual(self.daemon.get("/client").status, 403)
        friend = self.daemon.get("/client", headers="X-Client: you\r\n")
        self.assertEqual(friend.body, b"for you\n")
        self.assertRegex(friend.header("Server-Timing"), r"\Aapp;dur=\d+\.\d{3}\Z")
        self.shops()
        self.assertEqual(self.ordered(), b"tea\ncake\n")
        self.items()
        self.assertEqual(self.fingered(), b"Jack is out.\n")
        self.assertEqual(self.prices(), b"3\n404 None\n")
        self.assertEqual(self.film(), bytes(1000000))
        self.assertEqual(self.with_tls(), (b"42", b"+OK 2 320\r\n"))
        self.assertEqual(self.prophecy(), b"A great empire will fall.\n")
        letter = self.daemon.get("/letter?number=7")
        self.assertEqual(letter.body, b'{"status": 404, "error": "there is no letter 7"}')
        self.assertEqual(letter.header("Cache-Control"), "private, no-store")
        self.assertEqual(self.daemon.get("/letter").body,
                         b'{"status": 400, "error": "Missing argument number"}')
        self.assertEqual(self.echoed(), b"one\ntwo\n")
        self.assertTrue(self.daemon.get("/numbers").body.endswith(b"# EOF\n"))
        self.assertIn(b'\nparcels_total{handler="parcels"} 1\n', self.daemon.get("/numbers").body)
        self.daemon.get("/mail")
        for office, sent in ((b"north", b"1"), (b"south", b"0")):
            self.assertIn(b'\nletters_total{handler="mailbag",office="%s"} %s\n' % (office, sent),
                          self.daemon.get("/numbers").body)
        self.assertEqual(self.streamed("POST", "/sorted", b"b\na\nb\n"), b"a\nb\n")
        with self.daemon.connect("door") as conn:
            conn.send(b"Jack\n")
            while conn.received.count(b"\n") < 2:
                conn.received += conn.socket.recv(100)
            self.assertEqual(conn.received, b"Who are you?\nHello, Jack\n")
        with self.daemon.connect("desk") as conn:
            conn.send(rows)
            conn.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(conn.socket.recv(100), b"100000 lines\n")
            self.assertEqual(conn.socket.recv(1), b"")
        self.assertEqual(self.daemon.get("/relay").status, 502)
        self.daemon.wait_log("upstream: connecting to 127.0.0.1:[0-9]+: Connection refused")
        self.assertEqual(self.styled(), (b"p { color: red }", "max-age=315360000"))
        self.assertEqual(self.streamed("PUT", "/checksum", b"foobar"), b"85944171f73967e8\n")
        self.assertEqual(self.streamed("POST", "/lines", rows), b"100000 lines\n")
        for target in ("/docs/no-such-file", "/download/no-such-file", "/fonts/no-such-file"):
            self.assertEqual(self.daemon.get(target).status, 404)
        self.assertEqual(self.daemon.get("/search").status, 400)
        self.assertEqual(self.daemon.get("/shout?name=" + 21 * "x").status, 500)
        self.daemon.wait_log("shout.*nobody caught std::length_error: what a name")
        names = sorted(os.listdir(self.daemon.handlers))
        self.assertEqual(len(names), len(cases) + 33, f"an example that is not asked: {names}")

    def test_what_it_names_is_there(self):
        headers = ""
        for path in glob.glob(f"{harness.ROOT}/lib/tornado/*.h"):
            with open(path, encoding="utf-8") as file:
                headers += file.read()
        with open(f"{harness.ROOT}/lib/tornado/HANDLERS.md", encoding="utf-8") as file:
            names = set(re.findall(r"\b(?:td|TD)_\w+\b", file.read()))
        self.assertGreater(len(names), 100)
        self.assertEqual([name for name in sorted(names) if not re.search(rf"\b{name}\b", headers)], [])

    def test_its_table_of_contents_is_its_sections(self):
        with open(f"{harness.ROOT}/lib/tornado/HANDLERS.md", encoding="utf-8") as file:
            text = file.read()
        sections = re.findall(r"^## (.*)$", text, re.M)
        listed = re.findall(r"^\| \[(.*)\]\(#(.*)\) \|", text, re.M)
        self.assertEqual([name for name, _ in listed], sections)
        for name, anchor in listed:
            self.assertEqual(anchor, re.sub(r"[^a-z0-9 -]", "", name.lower()).replace(" ", "-"))

    def test_its_settings_are_settings(self):
        for ini in blocks("ini"):
            if "[handler:" in ini:
                self.daemon.write_ini(ini)
                done = harness.run("-t", "-c", self.daemon.ini_path)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
