#!/usr/bin/python3
"""Goal: a plain request costs at most LIMIT user instructions in the worker, whatever the machine does.

callgrind counts them.  The worker is run twice, with REQUESTS and with twice as many; what start and
end cost cancels out in the difference.
"""

import glob
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

LIMIT = 3150
REQUESTS = 2000
REQUEST = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\n"


def instructions(requests):
    """All user instructions of a worker that serves so many requests on one connection."""
    daemon = harness.Daemon(ini="[log]\naccess = off\n")
    daemon.command = ["valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
                      f"--callgrind-out-file={daemon.folder}/count.%p", *daemon.command]
    try:
        daemon.start()
        (worker,) = daemon.workers()
        with daemon.connect() as conn:
            for _ in range(requests):
                conn.send(REQUEST)
                assert conn.response().body == b"Hello, World!"
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


def main():
    assert len(REQUEST) == 49
    if shutil.which("valgrind") is None:
        print("SKIP instructions per request: there is no valgrind\n0 passed, 0 failed, 1 skipped")
        return 0
    each = (instructions(2 * REQUESTS) - instructions(REQUESTS)) / REQUESTS
    good = each <= LIMIT
    print(f"{'INFO' if good else 'FAIL'} {each:.0f} user instructions a request of "
          f"{len(REQUEST)} bytes; at most {LIMIT}")
    print(f"{int(good)} passed, {int(not good)} failed, 0 skipped")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
