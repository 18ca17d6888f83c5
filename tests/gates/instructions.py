#!/usr/bin/python3
"""Goal: a request costs at most so many user instructions in the worker, whatever the machine does.

callgrind counts them.  The worker is run twice, with REQUESTS and with twice as many; what start and
end cost cancels out in the difference.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
REQUESTS = 2000
BODY = b"Hello, World!"
FILE = b"0123456789abcdef" * 64
GATES = (  # path, body, instructions
    ("/plaintext", BODY, 3150),
    ("/static/file.html", FILE, 1500),
)


def instructions(requests, folder, path, body):
    """All user instructions of a worker that serves so many requests on one connection."""
    daemon = harness.Daemon(ini=f"[log]\naccess = off\n[application]\nstatic_path = {folder}\n"
                            "static_cache_time = 1h\n")
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


def main():
    if shutil.which("valgrind") is None:
        print("SKIP instructions per request: there is no valgrind\n0 passed, 0 failed, 1 skipped")
        return 0
    passed = 0
    with tempfile.TemporaryDirectory(prefix="tornadod-gate-") as folder:
        make_files(folder)
        for path, body, limit in GATES:
            each = (instructions(2 * REQUESTS, folder, path, body) -
                    instructions(REQUESTS, folder, path, body)) / REQUESTS
            passed += each <= limit
            print(f"{'INFO' if each <= limit else 'FAIL'} {each:.0f} user instructions for "
                  f"{path}, {len(body)} bytes; at most {limit}")
    print(f"{passed} passed, {len(GATES) - passed} failed, 0 skipped")
    return 0 if passed == len(GATES) else 1


if __name__ == "__main__":
    sys.exit(main())
