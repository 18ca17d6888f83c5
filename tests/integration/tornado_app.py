"""The twin of tests/handlers/tornado.c: a Tornado that does the same, by the same script.

Run as a program with the directory of its static files; it listens on ports of 127.0.0.1 that the
kernel picks, prints them as one line of JSON, {application: port}, and serves until its standard
input ends.
"""

import json
import logging
import sys
import threading

from tornado import gen
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import (Application, ErrorHandler, HTTPError, RedirectHandler, RequestHandler,
                         addslash, authenticated, removeslash, stream_request_body, url)

SECRET = "It's a secret to everybody"


def cookie_attribute(text):
    """The arguments of set_cookie that mean "Path=/x" and its like."""
    name, _, value = (text or "").partition("=")
    return {"": {}, "Secure": {"secure": True}, "HttpOnly": {"httponly": True},
            "Domain": {"domain": value}, "Path": {"path": value}, "Max-Age": {"max_age": value},
            "SameSite": {"samesite": value}}[name]


class Script(RequestHandler):
    """Runs the steps of the query; one that Tornado refuses writes "!"."""

    async def run(self, name):
        for step in self.get_query_arguments(name):
            verb, *words = step.split("|")
            try:
                done = getattr(self, "do_" + verb)(*words)
                if done is not None:
                    await done
            except (ValueError, RuntimeError, TypeError, AssertionError):
                self.write("!")

    # ---- the response

    def do_write(self, text=""):
        self.write(text)

    def do_write_many(self, text, count):
        for _ in range(int(count)):
            self.write(text)

    def do_write_json(self, key, value):
        self.write({key: value})

    def do_flush(self):
        return self.flush()

    def do_finish(self, text=None):
        self.finish(text)

    def do_status(self, status, reason=None):
        self.set_status(int(status), reason)

    def do_get_status(self):
        self.write(str(self.get_status()))

    def do_set_header(self, name, value=""):
        self.set_header(name, value)

    def do_add_header(self, name, value=""):
        self.add_header(name, value)

    def do_clear_header(self, name):
        self.clear_header(name)

    def do_clear(self):
        self.clear()

    def do_redirect(self, target, status=None):
        self.redirect(target, status=int(status) if status else None)

    def do_send_error(self, status):
        self.send_error(int(status))

    def do_raise(self, status, message=None):
        raise HTTPError(int(status), message)

    def do_wait(self):
        return gen.sleep(0)

    # ---- cookies

    def do_set_cookie(self, name, value="", attribute=None):
        self.set_cookie(name, value, **cookie_attribute(attribute))

    def do_clear_cookie(self, name, attribute=None):
        self.clear_cookie(name, **cookie_attribute(attribute))

    def do_clear_all_cookies(self):
        self.clear_all_cookies()

    def do_get_cookie(self, name):
        self.write(str(self.get_cookie(name)))

    def do_get_signed_cookie(self, name, days="31"):
        self.write(self.get_secure_cookie(name, max_age_days=float(days)) or "None")

    # ---- the request

    def write_values(self, values):
        self.write(str(len(values)) + "".join(f"[{value}]" for value in values))

    def do_argument(self, name=""):
        self.write(str(self.get_argument(name, None)))

    def do_unstripped(self, name=""):
        self.write(str(self.get_argument(name, None, strip=False)))

    def do_body_unstripped(self, name=""):
        self.write(str(self.get_body_argument(name, None, strip=False)))

    def do_pairs(self):
        for name, values in self.request.arguments.items():
            for value in values:
                self.write(f"[{name}=".encode() + value + b"]")

    def do_required_argument(self, name=""):
        self.write(self.get_argument(name))

    def do_query_argument(self, name=""):
        self.write(str(self.get_query_argument(name, None)))

    def do_body_argument(self, name=""):
        self.write(str(self.get_body_argument(name, None)))

    def do_arguments(self, name=""):
        self.write_values(self.get_arguments(name))

    def do_query_arguments(self, name=""):
        self.write_values(self.get_query_arguments(name))

    def do_body_arguments(self, name=""):
        self.write_values(self.get_body_arguments(name))

    def do_files(self, name):
        for file in self.request.files.get(name, []):
            self.write(f"[{file.filename} {file.content_type} ".encode() + file.body + b"]")

    def do_body(self):
        self.write(self.request.body)

    def do_request_header(self, name):
        value = self.request.headers.get(name)
        self.write("None" if value is None else value.encode("latin-1"))

    def do_request(self):
        r = self.request
        self.write(f"{r.method} {r.path} {r.version} {r.host} {r.host_name} {r.remote_ip} "
                   f"{r.protocol} {r.full_url()}")

    def do_xsrf_token(self):
        self.write(self.xsrf_token)

    def do_reverse_url(self, name, *args):
        try:
            self.write(self.reverse_url(name, *args))
        except (AssertionError, KeyError, ValueError):
            self.write("None")


class Do(Script):
    async def prepare(self):
        await self.run("prepare")

    async def perform(self):
        await self.run("do")

    get = head = post = put = delete = patch = options = perform


class Page(Script):
    async def prepare(self):
        await self.run("prepare")

    async def get(self):
        await self.run("do")

    post = get

    def write_error(self, status_code, **kwargs):
        self.write(f"error {status_code}: ")
        for step in self.get_query_arguments("error"):
            verb, *words = step.split("|")
            getattr(self, "do_" + verb)(*words)


@stream_request_body
class Stream(Script):
    async def prepare(self):
        await self.run("prepare")

    async def data_received(self, data):
        await self.run("data")

    async def get(self):
        await self.run("do")

    post = put = get


class Tagged(Script):
    async def get(self):
        await self.run("do")

    head = post = put = delete = get

    def compute_etag(self):
        return self.get_query_argument("etag", None)


class Prepared(Script):
    async def prepare(self):
        await self.run("prepare")


@stream_request_body
class PreparedStream(Prepared):
    def data_received(self, data):
        pass


class Defaults(Script):
    def set_default_headers(self):
        self.set_header("X-Default", "1")
        self.set_header("Content-Type", "text/plain")

    async def prepare(self):
        await self.run("prepare")

    async def get(self):
        await self.run("do")


class DefaultsPage(Defaults):
    def write_error(self, status_code, **kwargs):
        self.write(f"error {status_code}: ")


class Groups(RequestHandler):
    def get(self, *args, **kwargs):
        values = args or kwargs.values()
        self.write(" ".join(["groups", *(str(value) for value in values)]))


class Get(RequestHandler):
    def get(self):
        self.write("reply")


class Post(RequestHandler):
    def post(self):
        self.write("reply")


class Removed(RequestHandler):
    @removeslash
    def get(self):
        self.write("reply")


class Added(RequestHandler):
    @addslash
    def get(self):
        self.write("reply")


class Private(RequestHandler):
    def get_current_user(self):
        return self.get_query_argument("user", None)

    @authenticated
    def get(self):
        self.write("reply")

    post = get


def routes():
    return [
        url("/do", Do), url("/page", Page), url("/defaults", Defaults),
        url("/defaults-page", DefaultsPage), url("/stream", Stream),
        url("/tagged", Tagged), url("/prepared", Prepared), url("/prepared-stream", PreparedStream),
        url("/group/(.*)", Groups, name="group"), url("/two/([^/]*)/([^/]*)", Groups, name="two"),
        url("/named/(?P<a>[^/]*)/(?P<b>.*)", Groups, name="named"), url("/optional/(.+)?", Groups),
        url("//double", Get), url("/get", Get), url("/post", Post), url("/nothing", RequestHandler),
        url("/removed/?", Removed), url("/added/?", Added), url("/private", Private),
        url("/moved", RedirectHandler, {"url": "/dst"}),
        url("/moved-query", RedirectHandler, {"url": "/dst?foo=bar"}),
        url("/found", RedirectHandler, {"url": "/dst", "permanent": False}),
        url("/swap/(.*?)/(.*?)/(.*)", RedirectHandler, {"url": "/swapped/{1}/{0}/{2}"}),
        url("/refused", ErrorHandler, {"status_code": 417}),
    ]


def applications(static_path):
    """{name: (application, arguments of its HTTPServer)}"""
    def make(**settings):
        return Application(routes(), cookie_secret=SECRET, login_url="/login", **settings)

    return {
        "plain": (make(), {}),
        "xsrf": (make(xsrf_cookies=True), {}),
        "gzip": (make(compress_response=True, static_path=static_path),
                 {"decompress_request": True}),
        "static": (make(static_path=static_path,
                        static_handler_args={"default_filename": "index.html"}),
                   {"xheaders": True, "trusted_downstream": ["5.5.5.5"]}),
        "login": (Application(routes(), login_url="http://example.com/login"),
                  {"no_keep_alive": True}),
    }


def main():
    logging.disable(logging.CRITICAL)
    ports = {}
    for name, (application, arguments) in applications(sys.argv[1]).items():
        sock, ports[name] = bind_unused_port()
        HTTPServer(application, max_body_size=1048576, **arguments).add_socket(sock)
    print(json.dumps(ports), flush=True)
    loop = IOLoop.current()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.add_callback(loop.stop)),
                     daemon=True).start()
    loop.start()


if __name__ == "__main__":
    main()
