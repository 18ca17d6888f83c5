"""Clients that count exactly: what was answered, what was lost, and what a reused connection lost.

lost     refused, reset, ended within an answer, or not 200; or any failure on a new connection
reused   reset or end with no byte of an answer, on a connection that has been used before; a client
         that knows HTTP would try again, but we want none of these either
"""

import socket
import threading
import time


class Load:
    """`keep` clients that keep their connection, `fresh` ones that open one for each request."""

    def __init__(self, address, target="/", keep=4, fresh=4):
        self.address = address
        self.request = f"GET {target} HTTP/1.1\r\nHost: load\r\n\r\n".encode()
        self.complete = self.reused = 0
        self.lost = []
        self.longest_gap = 0.0
        self.last = None
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number < keep,))
                        for number in range(keep + fresh)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def wait_for(self, count):
        """Until that many more requests were answered."""
        wanted = self.complete + count
        while self.complete < wanted and any(thread.is_alive() for thread in self.threads):
            time.sleep(0.001)

    def _connect(self):
        if not isinstance(self.address, str):
            return socket.create_connection(self.address, 30)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(self.address)
        return connection

    def _run(self, keep):
        connection = None
        while not self.stopping.is_set():
            is_new = connection is None
            try:
                if is_new:
                    connection = self._connect()
                goes_on = self._ask(connection)
            except ConnectionResetError as e:
                goes_on = False
                self._count_failure(e, is_new)
            except (OSError, ValueError) as e:
                goes_on = False
                self._count_failure(e, True)
            if not goes_on or not keep:
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection):
        """True when the connection may be used again."""
        connection.sendall(self.request)
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(65536)
            if not data and not received:
                raise ConnectionResetError("the connection ended before the answer")
            if not data:
                raise ValueError(f"the answer ended within {received!r}")
            received += data
        head, body = received.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"answer {head!r}")
        while len(body) < int(fields[b"content-length"]):
            data = connection.recv(65536)
            if not data:
                raise ValueError("the answer was cut")
            body += data
        self._count_answer()
        return fields.get(b"connection") != b"close"

    def _count_answer(self):
        now = time.monotonic()
        with self.lock:
            self.complete += 1
            if self.last is not None:
                self.longest_gap = max(self.longest_gap, now - self.last)
            self.last = now

    def _count_failure(self, error, is_lost):
        with self.lock:
            if is_lost:
                self.lost.append(repr(error))
            else:
                self.reused += 1
