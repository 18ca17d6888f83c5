"""Goal: reload after reload, and request after request of every sort, the master and its workers have as many
descriptors and as much memory as before.
Short in `make test`; TD_FAULTS=long takes a hundred reloads and a million requests.
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness
from harness import descriptors, resident_kb

LONG = os.environ.get("TD_FAULTS") == "long"
RELOADS = 100 if LONG else 20
REQUESTS = 1000000 if LONG else 30000
SLACK_KB = 512  # that the C library may take or leave

FORM = b'--B\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n%b\r\n--B--\r\n'
SORTS = (
    (b"GET", b"/pid", b"", b""),
    (b"HEAD", b"/pid", b"", b""),
    (b"GET", b"/nowhere?a=b&c=d", b"", b""),
    (b"DELETE", b"/pid", b"", b""),
    (b"GET", b"/whole?lines=50", b"Accept-Encoding: gzip\r\n", b""),
    (b"GET", b"/whole?lines=500", b"Accept-Encoding: br\r\n", b""),
    (b"GET", b"/static/file", b"", b""),
    (b"GET", b"/static/file", b"Range: bytes=1-2,5-6\r\n", b""),
    (b"GET", b"/static/file", b"If-None-Match: *\r\n", b""),
    (b"GET", b"/hello/you?x=%41&y=%42", b"Cookie: a=b; c=d\r\n", b""),
    (b"POST", b"/uploads/count", b"Content-Type: multipart/form-data; boundary=B\r\n", FORM % bytes(9000)),
    (b"POST", b"/uploads/count", b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=b&" * 100),
    (b"GET", b"/jobs/run?ms=0", b"", b""),
    (b"GET", b"/slow?ms=0", b"", b""),
    (b"GET", b"/fetched", b"", b""),
)
INI = """[application]
compress_response = on
static_path = files
[handler:uploads]
mount = /uploads
directory = /nowhere
[handler:executor]
mount = /jobs
[log]
level = critical
access_file = /dev/null
"""


def batch():
    """One of each sort on one connection; the last one ends it."""
    text = b""
    for number, (method, target, headers, body) in enumerate(SORTS):
        if body:
            headers += b"Content-Length: %d\r\n" % len(body)
        if number == len(SORTS) - 1:
            headers += b"Connection: close\r\n"
        text += b"%b %b HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (method, target, headers, body)
    return text


@unittest.skipIf(harness.SANITIZED, "the sanitizers take memory of their own")
class Flat(unittest.TestCase):
    def daemon(self):
        daemon = harness.Daemon(["faults", "output", "uploads", "executor", "hello"], ini=INI, tornadod="workers = 1")
        os.mkdir(f"{daemon.folder}/files")
        with open(f"{daemon.folder}/files/file", "wb") as file:
            file.write(bytes(range(256)) * 64)
        return daemon

    def ask(self, daemon, count):
        """That many requests, in batches."""
        request = batch()
        for _ in range(0, count, len(SORTS)):
            with daemon.connect() as conn:
                conn.send(request)
                answers = b""
                while piece := conn.socket.recv(1 << 20):
                    answers += piece
            self.assertGreaterEqual(answers.count(b"HTTP/1.1 "), len(SORTS), answers[:2000])

    def compare(self, what, before, after):
        print(f"\nINFO {what}: {before[0]} descriptors, then {after[0]}; {before[1]} KiB, then {after[1]}", flush=True)
        self.assertLessEqual(after[0], before[0])
        self.assertLess(after[1], before[1] * 1.02 + SLACK_KB)

    def test_reloads(self):
        def look():
            harness.wait_until(lambda: len(daemon.workers()) == 1, "an old worker stays")
            return descriptors(daemon.master), resident_kb(daemon.master)

        with self.daemon() as daemon:
            for _ in range(RELOADS // 10):
                daemon.reload()
            before = look()
            for _ in range(RELOADS):
                daemon.reload()
                self.ask(daemon, 1)
            self.compare(f"the master over {RELOADS} reloads", before, look())

    def test_requests(self):
        with self.daemon() as daemon:
            pids = daemon.master, daemon.workers()[0]
            self.ask(daemon, REQUESTS // 5)
            before = [(descriptors(pid), resident_kb(pid)) for pid in pids]
            self.ask(daemon, REQUESTS)
            self.assertEqual(pids, (daemon.master, *daemon.workers()))
            for who, pid, then in zip(("the master", "the worker"), pids, before):
                # The last connections are closed a moment after their clients have seen them end.
                harness.wait_until(lambda: descriptors(pid) <= then[0], f"{who} keeps descriptors")
                self.compare(f"{who} over {REQUESTS} requests", then, (descriptors(pid), resident_kb(pid)))


if __name__ == "__main__":
    unittest.main()
