"""Goal: whoever crosses a limit is told of in the log, by the name of the setting that is the limit."""

import os
import re
import unittest

import harness
from attacks import MULTIPART, PART, UPLOAD, URLENCODED, multipart, post

CHUNKED = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOWLY = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"


def get(target, headers=""):
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


def big(size, kind="text/plain", target="/body"):
    return post(target, kind, b"x" * size)


def many(count, request):
    """What makes that many connections, each with the request; none of them is read from."""
    def crossing(daemon):
        conns = [daemon.connect() for _ in range(count)]
        for conn in conns:
            conn.send(request)
        return conns
    return crossing


def one(request):
    return many(1, request)


# The limit: what it is set to, and what crosses it, given the daemon; it returns its connections.
CROSSED = {
    "max_request_line": ("64", one(get("/" + "x" * 64))),
    "max_header_size": ("256", one(get("/small", "X: " + "x" * 256 + "\r\n"))),
    "max_headers": ("2", one(get("/small", "X: x\r\n" * 2))),
    "header_timeout": ("50ms", one(b"GET /small HTT")),
    "max_connections": ("1", many(2, get("/h/wait?ms=500"))),
    "max_connections_per_address": ("1", many(2, get("/h/wait?ms=500"))),
    "body_timeout": ("50ms", one(SLOWLY)),
    "request_timeout": ("50ms", one(get("/h/wait?ms=60000"))),
    "max_body_size": ("10", one(big(11))),
    "max_trailer_size": ("10", one(CHUNKED + b"0\r\nName: 0123456789\r\n")),
    "max_fields": ("2", one(post("/form", URLENCODED, b"a=1&b=2&c=3"))),
    "max_form_memory": ("1024", one(post("/form", URLENCODED, b"f=" + b"x" * 1024))),
    "max_parts": ("2", one(post("/form", MULTIPART, multipart([PART] * 3)))),
    "max_part_header_size": ("256", one(post("/form", MULTIPART, b"--x\r\nA: " + b"a" * 300))),
    "max_json_depth": ("2", one(post("/json", "application/json", b"[[[]]]"))),
    "max_json_memory": ("4096", one(post("/json", "application/json", b"[" + b"{}," * 999 + b"0]"))),
    "max_cookie_size": ("8", one(get("/cookie", "Cookie: c=0123456789\r\n"))),
    "max_response_buffer": ("1m", one(get("/page"))),
    "memory": ("1m", one(get("/page"))),
    "max_coroutines": ("1", many(2, get("/h/wait?ms=500"))),
    "body_disk": ("64k", one(big(100000))),
    "static_max_ranges": ("1", one(get("/static/file", "Range: bytes=0-0,2-2,4-4\r\n"))),
    "static_listing_max": ("1", one(get("/static/"))),
    "max_compressors": ("0", one(get("/h/stream?n=3&size=3000", "Accept-Encoding: gzip\r\n"))),
}

RATES = {"body_min_rate": "1g", "send_min_rate": "1g", "max_response_buffer": "64m"}

# The same limits where the peer gets there by another way.
OTHER_WAYS = {
    "max_body_size": ("10", one(CHUNKED + b"b\r\n")),
    "max_headers": ("2", one(CHUNKED + b"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n")),
    "max_form_memory": ("1024", one(post("/form", MULTIPART, multipart([PART + b"x" * 1500 + b"\r\n"])))),
}

MORE = {  # settings without which they are not reached
    "body_disk": {"body_spill": "1", "body_temp_path": "."},
    "max_compressors": {"compress_response": "on"},
    "static_listing_max": {"static_listing": "on"},
}

# Those that tell nobody, and why.
UNTOLD = {
    "keepalive_timeout": "an idle connection is closed: nothing is lost",
    "max_pipelined": "the rest has its turn later",
    "max_requests_per_connection": "the client is told Connection: close",
    "body_spill": "the body goes to a file instead",
    "decompress_request": "is a switch",
    "write_high_water": "the handler waits",
    "executor_queue": "the handler is told",
    "max_subprocesses": "the handler is told, and td_subprocess logs its name: tests/unit/test_process.c",
    "resolver_cache": "the oldest is forgotten",
    "resolver_pending": "the handler is told",
    "max_worker_requests": "no peer's: the master says why it replaces the worker",
    "static_cache_memory": "files are kept open instead",
    "buffer": "lines are counted: tests/unit/test_logqueue.c",
}


def settings():
    """The settings that are limits, as options.def says."""
    with open(f"{harness.ROOT}/lib/base/options.def", encoding="utf-8") as file:
        rows = re.findall(r'^(TD_[A-Z]+)\(\w+, "(\w+)",(.*?)\)$', file.read(), re.M | re.S)
    return {key for macro, key, text in rows
            if macro == "TD_LIMIT" or re.search(r'[Bb]eyond[\s"]+it\b|Requests after which', text)}


class Limits(unittest.TestCase):
    @staticmethod
    def ini(more):
        """The settings where they may stand."""
        texts = {"tornadod": "workers = 1\n", "application:default": "static_path = static\n"}
        for key, value in more.items():
            section = "application:default" if re.match("static_|compress_", key) else "tornadod"
            texts[section] += f"{key} = {value}\n"
        return texts.pop("tornadod"), "".join(f"[{name}]\n{text}" for name, text in texts.items())

    def test_every_limit_is_here(self):
        self.assertEqual(sorted({*CROSSED, *RATES, *UNTOLD} - settings()), [], "are no limits any more")
        self.assertEqual(sorted(settings() - {*CROSSED, *RATES, *UNTOLD}), [], "nobody has tried to cross them")

    def daemon(self, more):
        tornadod, ini = self.ini(more)
        daemon = harness.Daemon(["attacks", "hostile", "streams"], tornadod=tornadod,
                                ini=f"{ini}[handler:hostile]\nmount = /h\n[handler:streams]\nmount = /s\n")
        os.mkdir(f"{daemon.folder}/static")
        for name in ("file", "other"):
            with open(f"{daemon.folder}/static/{name}", "w", encoding="ascii") as file:
                file.write("hello, world")
        return daemon

    def crosses(self, daemon, crossing, *keys):
        conns = crossing(daemon)
        for key in keys:
            daemon.wait_log(rf"\b{key}\b")
        for conn in conns:
            conn.close()

    def test_who_crosses_one_is_told_of_by_its_name(self):
        for key, (value, crossing) in [*CROSSED.items(), *OTHER_WAYS.items()]:
            with self.subTest(key), self.daemon({key: value, **MORE.get(key, {})}) as daemon:
                self.crosses(daemon, crossing, key)

    def test_who_is_too_slow_too(self):
        """Rates are judged after ten seconds, so all at once."""
        def crossing(daemon):
            conns = one(b"POST /s/pull HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")(daemon)
            return conns + one(get("/page"))(daemon)

        with self.daemon(RATES) as daemon:
            self.crosses(daemon, crossing, "body_min_rate", "send_min_rate")


if __name__ == "__main__":
    unittest.main()
