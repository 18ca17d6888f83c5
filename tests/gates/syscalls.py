#!/usr/bin/python3
"""Goal: a request on a connection that is kept costs one read and one write and no other system call
but the wait; a connection for one request costs at most six.

strace lists what the worker calls.  Marked requests in front and behind tell which calls are meant.
Waits are not counted, nor is asking in vain for one more connection, for that depends on who is
faster; nor what happens less than once a connection, such as memory for the allocator.
"""

import collections
import glob
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

COUNT = 50
CONNECTION_LIMIT = 6
READS = {"read", "recvfrom", "recvmsg", "readv"}
WRITES = {"write", "writev", "sendto", "sendmsg"}
WAITS = {"epoll_wait", "epoll_pwait", "epoll_pwait2"}
CLOCKS = {"clock_gettime", "gettimeofday"}  # only where the kernel has no quicker way for programs


def get(conn, target, headers=""):
    conn.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n{headers}\r\n".encode())
    return conn.response()


def kept(daemon, marker):
    for _ in range(COUNT):
        assert get(marker, "/plaintext").status == 200


def closed_by_server(daemon, marker):
    for _ in range(COUNT):
        with daemon.connect() as conn:
            assert get(conn, "/plaintext", "Connection: close\r\n").status == 200
            conn.expect_end()


def closed_by_client(daemon, marker):
    for _ in range(COUNT):
        with daemon.connect() as conn:
            assert get(conn, "/plaintext").status == 200


def calls(work):
    """{name: count} of the worker's system calls during work(daemon, marker connection)."""
    daemon = harness.Daemon(ini="[log]\naccess = off\n")
    daemon.command = ["strace", "-ff", "-qq", "-s", "80", "-o", f"{daemon.folder}/trace",
                      *daemon.command]
    try:
        daemon.start()
        (worker,) = daemon.workers()
        with daemon.connect() as marker:
            get(marker, "/plaintext")
            get(marker, "/path/begin")
            work(daemon, marker)
            get(marker, "/path/end")
        status = daemon.stop()
        assert status == 0, daemon.log.text()
        (path,) = glob.glob(f"{daemon.folder}/trace.{worker}")
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    finally:
        daemon.close()
    between = re.search(r'"GET /path/begin.*\n((?:.*\n)*?).*"GET /path/end', text)
    assert between is not None, text[-4000:]
    made = re.sub(r"^accept4\(.*EAGAIN.*\n", "", between[1], flags=re.M)
    return collections.Counter(re.findall(r"^(\w+)\(", made, re.M))


def judge(title, good, seen):
    each = ", ".join(f"{name} {count / COUNT:.2f}" for name, count in sorted(seen.items()))
    print(f"{'INFO' if good else 'FAIL'} {title}: {each}")
    return good


def main():
    if shutil.which("strace") is None:
        print("SKIP system calls per request: there is no strace\n0 passed, 0 failed, 1 skipped")
        return 0
    verdicts = []

    # The answer to the first marker is written after its read, so there is one write more.
    seen = calls(kept)
    reads = sum(seen[name] for name in READS)
    writes = sum(seen[name] for name in WRITES)
    others = set(seen) - READS - WRITES - WAITS - CLOCKS
    verdicts.append(judge("a request on a kept connection is one read and one write",
                          reads == COUNT and writes == COUNT + 1 and not others, seen))

    for title, work in (("a connection for one request, closed by the server", closed_by_server),
                        ("a connection for one request, closed by the client", closed_by_client)):
        seen = calls(work)
        total = sum(n for name, n in seen.items() if name not in WAITS | CLOCKS) - 1
        verdicts.append(judge(f"{title}: {total // COUNT} calls of {CONNECTION_LIMIT}",
                              total // COUNT <= CONNECTION_LIMIT, seen))

    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed, 0 skipped")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
