#!/usr/bin/python3
"""Goal: a request costs at most so many user instructions in the worker, whatever the machine does.

callgrind counts them.  The worker is run twice, with REQUESTS and with twice as many; what start and
end cost cancels out in the difference.  What another server answers comes from a thread here, on a
connection that is kept.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
REQUESTS = 2000
BODY = b"Hello, World!"
FILE = b"0123456789abcdef" * 64
ANSWER = (b"HTTP/1.1 200 OK\r\nServer: upstream\r\nContent-Type: text/plain; charset=UTF-8\r\n"
          b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 13\r\n\r\n" + BODY)
GATES = (  # path, body, instructions
    ("/plaintext", BODY, 3150),
    ("/static/file.html", FILE, 1500),
    ("/relay/plaintext", BODY, 8700),  # by td_fetch
    ("/gateway/plaintext", BODY, 14900),
)


class Upstream:
    """A server that answers ANSWER, whatever it is asked, until it is closed."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],),
                                 daemon=True).start()
        except OSError:  # closed
            pass

    def serve(self, conn):
        with conn:
            while data := conn.recv(65536):
                while not data.endswith(b"\r\n\r\n"):
                    data += conn.recv(65536)
                conn.sendall(ANSWER)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def instructions(requests, folder, upstream, path, body):
    """All user instructions of a worker that serves so many requests on one connection."""
    daemon = harness.Daemon(handlers=("conformance", "gateway"), ini=f"""
[log]
access = off
[application]
static_path = {folder}
static_cache_time = 1h
[handler:gateway]
mount = /gateway
upstreams = {upstream.address}
[handler:relay]
mount = /relay
upstream = http://{upstream.address}/plaintext
""")
    shutil.copy(f"{folder}/relay.so", daemon.handlers)
    preload = [f"LD_PRELOAD={folder}/openat2.so"] if body is FILE else []
    daemon.command = ["env", *preload, "valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
                      f"--callgrind-out-file={daemon.folder}/count.%p", *daemon.command]
    request = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\n" % path.encode()
    try:
        daemon.start()
        (worker,) = daemon.workers()
        with daemon.connect() as conn:
            for _ in range(requests):
                conn.send(request)
                assert conn.response().body == body
        status = daemon.stop()
        assert status == 0, daemon.log.text()
        total = 0
        for path in glob.glob(f"{daemon.folder}/count.{worker}*"):
            with open(path, encoding="ascii", errors="replace") as file:
                total += sum(int(n) for n in re.findall(r"^(?:summary|totals): (\d+)",
                                                        file.read(), re.M)[-1:])
        assert total > 0, f"callgrind wrote no totals for the worker\n{daemon.log.text()}"
        return total
    finally:
        daemon.close()


def make_files(folder):
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "file.html"), "wb") as file:
        file.write(FILE)
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", os.path.join(HERE, "openat2.c"),
                    "-o", os.path.join(folder, "openat2.so")], check=True)
    root = os.path.join(HERE, "..", "..")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fexceptions", f"-I{root}/lib",
                    os.path.join(root, "tests", "bench", "handlers", "relay.c"),
                    "-o", os.path.join(folder, "relay.so")], check=True)


def main():
    if shutil.which("valgrind") is None:
        print("SKIP instructions per request: there is no valgrind\n0 passed, 0 failed, 1 skipped")
        return 0
    passed = 0
    with tempfile.TemporaryDirectory(prefix="tornadod-gate-") as folder:
        make_files(folder)
        upstream = Upstream()
        for path, body, limit in GATES:
            each = (instructions(2 * REQUESTS, folder, upstream, path, body) -
                    instructions(REQUESTS, folder, upstream, path, body)) / REQUESTS
            passed += each <= limit
            print(f"{'INFO' if each <= limit else 'FAIL'} {each:.0f} user instructions for "
                  f"{path}, {len(body)} bytes; at most {limit}")
        upstream.close()
    print(f"{passed} passed, {len(GATES) - passed} failed, 0 skipped")
    return 0 if passed == len(GATES) else 1


if __name__ == "__main__":
    sys.exit(main())
