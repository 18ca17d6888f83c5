"""Goal (rows 10 and 11 of run.py): clients that send heads or bodies, or read, as slowly as they can do not keep
others from being served, and are sent away in the end.
Short in `make test`; TD_FAULTS=long takes ten times as many connections.
"""

import os
import resource
import select
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness

LONG = os.environ.get("TD_FAULTS") == "long"
COUNT = 2000 if LONG else 200
INI = "[application]\nbody_timeout = {seconds}s\n[log]\nlevel = error\n"
SECONDS = 10 if LONG else 1


class Probe(threading.Thread):
    """A polite client at a fixed rate, on new connections."""

    def __init__(self, daemon):
        super().__init__()
        self.daemon_, self.stopping = daemon, threading.Event()
        self.took, self.failed = [], []

    def run(self):
        while not self.stopping.wait(0.02):
            began = time.monotonic()
            try:
                assert self.daemon_.get("/pid").status == 200
            except (OSError, AssertionError) as e:
                self.failed.append(repr(e))
            self.took.append(time.monotonic() - began)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


class Slow(unittest.TestCase):
    def setUp(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.daemon = harness.Daemon(
            ["faults", "conformance"], tornadod="workers = 2", ini=INI.format(seconds=SECONDS),
            listeners={"default": f"header_timeout = {SECONDS}s"})
        self.addCleanup(self.daemon.close)
        self.daemon.start()

    def attack(self, first, more):
        """All send `first`, and then a piece of `more` now and then, until they are sent away; returns
        what they were told."""
        poll, clients, answers = select.poll(), {}, []
        for _ in range(COUNT):
            client = socket.create_connection(self.daemon.addresses["default"], harness.DEADLINE)
            client.sendall(first)
            clients[client.fileno()] = client
            poll.register(client, select.POLLIN)
        deadline = time.monotonic() + harness.DEADLINE
        while clients and time.monotonic() < deadline:
            for number, _ in poll.poll(100):
                try:
                    answers.append(clients[number].recv(65536)[:12])
                except OSError:
                    answers.append(b"reset")
                poll.unregister(number)
                clients.pop(number).close()
            for client in clients.values():
                try:
                    client.sendall(more)
                except OSError:
                    pass  # its answer is to be read still
        self.assertEqual(len(clients), 0, "some are still there")
        return answers

    def beside(self, first, more):
        with Probe(self.daemon) as probe:
            answers = self.attack(first, more)
        self.assertEqual(probe.failed, [])
        timely = answers.count(b"HTTP/1.1 408")
        print(f"\nINFO {COUNT} connections: {len(probe.took)} of {len(probe.took)} others served, p99 "
              f"{harness.percentile(probe.took, 99):.0f} ms; {timely} times 408")
        self.assertEqual(timely, COUNT, set(answers))
        self.assertEqual(self.daemon.stop(), 0)

    def test_heads(self):
        self.beside(b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n")

    def test_bodies(self):
        self.beside(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x")


if __name__ == "__main__":
    unittest.main()
