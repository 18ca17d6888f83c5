"""Goal: reloads and the end at full load while everything is on its way at once: uploads that spill into
files, downloads, compressed pages, event streams, jobs on threads, middleware that waits.  Nothing is
lost or cut, nothing stays behind, and what never ends is ended.
Short in `make test`; TD_LOAD_SECONDS=20 makes it long.
"""

import contextlib
import gzip
import os
import random
import signal
import threading
import time
import unittest

import harness

MIB = 1 << 20
SECONDS = int(os.environ.get("TD_LOAD_SECONDS", 3))
CLIENTS = 1 if harness.SANITIZED else 2  # of each kind
HANDLERS = ["faults", "uploads", "output", "executor", "links", "rate_limit", "streams"]
MULTIPART = "Content-Type: multipart/form-data; boundary=B\r\n"
FORM = (b'--B\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n' + bytes(2 * MIB) +
        b"\r\n--B--\r\n")
INI = """[application]
middleware = links, rate_limit
compress_response = on
static_path = files
[handler:links]
mark = a
[handler:rate_limit]
requests = 1000000
burst = 10000
[handler:uploads]
mount = /uploads
directory = /nowhere
max_body_size = 8m
[handler:executor]
mount = /jobs
[handler:streams]
max_body_size = 8m
mount = /streams
[log]
level = warning
access_file = access.log
"""


class House(harness.Daemon):
    """The daemon of these tests, with a file of 4 MiB to download and a folder for what spills."""

    def __init__(self, more="", handlers=HANDLERS, ini=INI):
        super().__init__(handlers, ini=ini, tornadod=more)
        self.temporary = f"{self.folder}/temporary"
        os.mkdir(self.temporary)
        os.mkdir(f"{self.folder}/files")
        self.file = random.Random(1).randbytes(4 * MIB)
        with open(f"{self.folder}/files/large", "wb") as file:
            file.write(self.file)
        self.write_ini(ini, f"workers = 2\nbody_temp_path = {self.temporary}\n{more}")


class Client(threading.Thread):
    """Does one thing again and again, on one connection as long as it is kept; counts what goes wrong."""

    def __init__(self, house, ask):
        super().__init__()
        self.house, self.ask = house, ask
        self.stopping = threading.Event()
        self.done, self.wrong = 0, []
        self.connection = None

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.connection is None:
                    self.connection = self.house.connect()
                response = self.ask(self.house, self.connection)
                self.done += 1
                if response.header("Connection") == "close" or self.ask is events:
                    self.drop()
            except (OSError, AssertionError) as e:
                self.wrong.append((time.monotonic(), f"{self.ask.__name__}: {e!r}"))
                self.drop()
        self.drop()

    def drop(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def upload(_, conn):
    response = conn.request("POST", "/uploads/count", MULTIPART, FORM)
    assert (response.status, response.body) == (200, b"0 1\n"), response
    return response


def stream_up(_, conn):
    response = conn.request("POST", "/streams/pull", "", FORM)
    assert response.status == 200, response
    return response


def download(house, conn):
    response = conn.request("GET", "/static/large")
    assert (response.status, response.body) == (200, house.file), response
    return response


def page(_, conn):
    response = conn.request("GET", "/whole?lines=1000", "Accept-Encoding: gzip\r\n")
    assert response.status == 200 and gzip.decompress(response.body).count(b"\n") == 1000, response
    return response


def job(_, conn):
    response = conn.request("GET", "/jobs/run?ms=3")
    assert (response.status, response.body) == (200, b"0"), response
    return response


def wait(_, conn):
    response = conn.request("GET", "/pid", "X-Do: wait\r\n")
    assert response.status == 200, response
    return response


def events(_, conn):
    """A stream that only its worker ends; what has begun is whole."""
    response = conn.request("GET", "/events?count=1000000&sleep=5&type=text/event-stream")
    assert response.status == 200 and response.body.endswith(b"\n\n"), response
    return response


KINDS = [upload, stream_up, download, page, job, wait, events]


def temporary_files(pid):
    """How many files without a name the process has open in the folder for what spills."""
    found = 0
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found += "/temporary/" in os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


class FullHouse(unittest.TestCase):
    @contextlib.contextmanager
    def everything(self, house):
        clients = [Client(house, ask) for ask in KINDS for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield clients
        finally:
            for client in clients:
                client.stopping.set()

    def complaints(self, house):
        """Lines of the log but the one that tests run as root, and those of a machine that is busy elsewhere."""
        return [line for line in house.log.text().split("\n")
                if line and "running as root" not in line and "(slow_callback)" not in line]

    def test_reloads_lose_nothing_and_leave_nothing(self):
        with House() as house:
            with self.everything(house) as clients:
                harness.wait_until(lambda: all(client.done or client.ask is events for client in clients),
                           "not all are served")
                before = harness.descriptors(house.master)
                for _ in range(SECONDS):
                    house.reload()
                    time.sleep(1)
            house.reload()  # what ends the last streams
            for client in clients:
                client.join()
            self.assertEqual([wrong for client in clients for wrong in client.wrong], [])
            for client in clients:
                self.assertGreater(client.done, 0, client.ask.__name__)
            harness.wait_until(lambda: len(house.workers()) == 2, "the old workers stay, or their zombies")
            self.assertEqual(harness.descriptors(house.master), before)
            for worker in house.workers():
                harness.wait_until(lambda worker=worker: temporary_files(worker) == 0, "a file is kept")
            self.assertEqual(os.listdir(house.temporary), [])
            self.assertEqual(self.complaints(house), [])

    def test_the_end_answers_what_has_been_asked(self):
        with House() as house:
            with self.everything(house) as clients:
                harness.wait_until(lambda: all(client.done or client.ask is events for client in clients),
                           "not all are served")
                began = time.monotonic()
                os.kill(house.master, signal.SIGTERM)
                for client in clients:
                    client.stopping.set()
            self.assertEqual(house.wait(), 0)
            self.assertLess(time.monotonic() - began, 20)
            for client in clients:
                client.join()
            cut = [wrong for client in clients for wrong in client.wrong
                   if "ConnectionRefused" not in wrong and "ConnectionReset" not in wrong]
            self.assertEqual(cut, [])
            self.assertEqual(os.listdir(house.temporary), [])
            self.assertEqual(self.complaints(house), [])

    def test_what_never_ends_is_ended(self):
        with House("drain_timeout = 500ms\n") as house, contextlib.ExitStack() as stack:
            with open(f"{house.folder}/files/huge", "wb") as file:
                file.truncate(1 << 30)
            before = sum(map(threads, house.workers()))
            unfinished = MULTIPART + f"Content-Length: {1 << 22}\r\n"
            for method, target, headers, body in (
                    ("POST", "/uploads/count", unfinished, FORM[:2 * MIB]),
                    ("POST", "/streams/pull", unfinished, FORM[:MIB]),
                    ("GET", "/static/huge", "", b""),
                    ("GET", "/flood", "", b""),
                    ("GET", "/whole?lines=600000", "", b""),
                    ("GET", "/events?count=0", "", b""),
                    ("GET", "/jobs/run?ms=60000", "", b""),
                    ("GET", "/pid", "X-Do: wait long\r\n", b"")):
                conn = stack.enter_context(house.connect())
                conn.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + body)
            workers = house.workers()
            harness.wait_until(lambda: sum(map(temporary_files, workers)) == 1, "no file")
            harness.wait_until(lambda: sum(map(threads, workers)) > before, "no job")
            house.reload()
            harness.wait_until(lambda: not set(workers) & set(house.workers()), "the old workers stay")
            self.assertEqual(os.listdir(house.temporary), [])
            house.wait_log("the time to drain is over: [0-9]+ connections closed")
            house.wait_log("1 jobs of executors still run and are left behind")
            self.assertEqual(house.get("/pid").status, 200)


if __name__ == "__main__":
    unittest.main()
