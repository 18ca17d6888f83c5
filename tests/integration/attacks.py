"""Clients that make a worker toil: what they send, what the worker is set up with, how they go on.

    folder = attacks.make_files(...)
    with harness.Daemon(["attacks"], ini=attacks.ini(folder), ...) as daemon:
        with attacks.Attacker(daemon.addresses["default"], attack, folder):
            ...

Each attack comes under the limits as they are by default (`/`) or as far up as they go (`/raised`).
"""

import contextlib
import dataclasses
import gzip
import os
import signal
import socket

LIMITS = """max_header_size = 256k
max_cookie_size = 128k
"""
ENTRIES = 10000  # of the directory that is listed
NEW_BYTES = 64 << 20  # of the file whose version nobody knows yet


def ini(folder):
    """Sections for a daemon with the handler "attacks", installed as "raised", too."""
    return f"""
[handler:attacks]
directory = {folder}/uploads
decompress_request = on
[handler:raised]
mount = /raised
directory = {folder}/uploads
decompress_request = on
max_body_size = 64m
max_fields = 1000000
max_parts = 1000000
max_form_memory = 64m
max_part_header_size = 1m
max_json_memory = 1g
[application:default]
compress_response = on
static_path = {folder}/static
static_listing = on
static_listing_max = {ENTRIES}
static_cache_time = 0
static_max_ranges = 64
[log]
level = error
access = off
"""


def make_files(folder):
    for name in ("uploads", "static", "static/many"):
        os.mkdir(f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", 0o777)
    for i in range(ENTRIES):
        with open(f"{folder}/static/many/entry number {i}", "wb"):
            pass
    with open(f"{folder}/static/new", "wb") as file:
        file.truncate(NEW_BYTES)


@dataclasses.dataclass(frozen=True)
class Attack:
    request: bytes
    statuses: tuple  # those that the daemon may answer with
    touches: str = ""  # a file that is another one each time


def get(target, headers=""):
    return (f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").encode()


def post(target, kind, body, headers=""):
    return (f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n").encode() + body


def multipart(parts):
    return b"".join(b"--x\r\n" + part for part in parts) + b"--x--\r\n"


URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
PART = b'Content-Disposition: form-data; name="f"\r\n\r\n\r\n'
UPLOAD = b'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n'


def zip_bomb(target, size):
    return post(target, "application/octet-stream", gzip.compress(bytes(size)),
                "Content-Encoding: gzip\r\n")


def make():
    """{name: Attack}; a function, as they take 200 MiB."""
    return {
        "fields": Attack(post("/form", URLENCODED, b"f&" * (1 << 19)), (413,)),
        "ampersands": Attack(post("/form", URLENCODED, b"&" * (1 << 20)), (200,)),
        "fields-raised": Attack(post("/raised/form", URLENCODED, b"f=%41&" * 10**6), (200,)),
        "ampersands-raised": Attack(post("/raised/form", URLENCODED, b"&" * (16 << 20)), (200,)),
        "quotes": Attack(get("/cookie", 'Cookie: c="' + '"' * 65536 + "\r\n"), (200,)),
        "cookies": Attack(get("/cookie", "Cookie: " + "a;" * 32768 + "\r\n"), (200,)),
        "parts": Attack(post("/form", MULTIPART, multipart([PART] * 20000)), (413,)),
        "parts-raised": Attack(post("/raised/form", MULTIPART, multipart([PART] * 10**6)), (200,)),
        "part-header": Attack(post("/form", MULTIPART, b"--x\r\n" + b"a: b\r\n" * 170000), (413,)),
        "part-header-raised": Attack(
            post("/raised/form", MULTIPART, b"--x\r\n" + b"a: b\r\n" * 170000), (413, 400)),
        "part-lines-raised": Attack(
            post("/raised/form", MULTIPART, multipart([b"a: b\r\n" * 170000 + PART] * 8)), (200,)),
        "part-line-raised": Attack(
            post("/raised/form", MULTIPART,
                 multipart([PART.replace(b'"f"', b'"f"' + b";a=b" * 260000)])), (400,)),
        "zip-bomb": Attack(zip_bomb("/body", 64 << 20), (413,)),
        "zip-bomb-raised": Attack(zip_bomb("/raised/body", 60 << 20), (200,)),
        "ranges": Attack(get("/static/new", "Range: bytes=" + "0-0," * 10000 + "0-1\r\n"),
                         (200,)),
        "json-depth": Attack(post("/json", "application/json", b"[" * (1 << 20)), (413,)),
        "json-size": Attack(post("/json", "application/json", b"[" + b"0," * 500000 + b"0]"),
                            (200,)),
        "json-raised": Attack(
            post("/raised/json", "application/json", b"[" + b"{}," * 10**6 + b"0]"), (200, 413)),
        "listing": Attack(get("/static/many/"), (200,)),
        "page": Attack(get("/page", "Accept-Encoding: gzip\r\n"), (200,)),
        "save": Attack(post("/raised/save", MULTIPART,
                            multipart([UPLOAD + bytes(32 << 20) + b"\r\n"])), (200,)),
        "hash": Attack(get("/url"), (200,), "static/new"),
    }


class Attacker:
    """A process that sends an attack again and again; use in `with`.  Its counts are in `done`."""

    def __init__(self, address, attack, folder):
        self.address, self.attack = address, attack
        self.touched = os.path.join(folder, attack.touches) if attack.touches else None

    def __enter__(self):
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self.settle()
                while True:
                    self.once()
            os._exit(1)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)

    def settle(self):
        """In the new process, before it begins."""

    def once(self):
        """Send it and return the status of the answer; 0 when none came."""
        if self.touched:
            os.utime(self.touched)
        room = bytearray(1 << 18)
        answer = b""
        with socket.create_connection(self.address, timeout=60) as conn:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                conn.sendall(self.attack.request)
            with contextlib.suppress(ConnectionResetError):
                while size := conn.recv_into(room):
                    if len(answer) < 12:
                        answer += room[:size]
        return int(answer[9:12] or 0)
