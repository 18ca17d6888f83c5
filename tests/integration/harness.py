"""What integration tests stand on: the real daemon in a folder of its own, and an unforgiving client.

    with Daemon(handlers=["conformance"]) as daemon:
        with daemon.connect() as conn:
            conn.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            assert conn.response().status == 200

Nothing here waits for time to pass.  The daemon is ready when it says READY=1 to NOTIFY_SOCKET, its
port is what the kernel gave it, a line of its log is waited for with wait_log, and whoever waits in
vain fails after DEADLINE seconds.  Leaving the block drains the daemon with TERM and fails unless it
exits 0 and no sanitizer has complained.
"""

import contextlib
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from email.utils import parsedate_to_datetime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("TD_BUILD", os.path.join(ROOT, "build"))
SANITIZED = "san" in os.path.basename(BUILD)
DEADLINE = 60  # seconds; nothing that works gets near it
VALGRIND = ("valgrind", "-q", "--trace-children=yes", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--error-exitcode=99",
            "--suppressions=" + os.path.join(ROOT, "tests/integration/valgrind.supp"))
COMPLAINTS = re.compile(r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|runtime error:|"
                        r"==\d+== (Invalid|Conditional|Use of|Syscall param|.*definitely lost)")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a shell that has put us into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

ENDED = "the process has ended"


class Notifications:
    """The datagrams that the daemon sends to NOTIFY_SOCKET, taken at once, as systemd does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.path = path
        self.seen = []  # of those that came, the ones that were waited for or passed over
        self.came = queue.SimpleQueue()
        self.count = os.eventfd(0, os.EFD_SEMAPHORE)
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        while message := self.socket.recv(65536):
            self.came.put(message.decode())
            os.eventfd_write(self.count, 1)

    def wait(self, wanted, process):
        """The next message that has the line `wanted`; RuntimeError when the process ends first."""
        exited = os.pidfd_open(process.pid)
        watched = [self.count, exited]
        deadline = time.monotonic() + DEADLINE
        try:
            while True:
                ready, _, _ = select.select(watched, [], [], max(0, deadline - time.monotonic()))
                if self.count in ready:
                    os.eventfd_read(self.count)
                    message = self.came.get()
                    self.seen.append(message)
                    if wanted in message.split("\n"):
                        return message
                    if message == ENDED:
                        raise RuntimeError(f"exited {process.wait()} and never said {wanted}")
                elif exited in ready:
                    watched.remove(exited)
                    self._send(ENDED.encode())  # comes behind all that it has said
                else:
                    raise TimeoutError(f"never said {wanted}, but {self.seen}")
        finally:
            os.close(exited)

    def _send(self, message):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, self.path)

    def close(self):
        if self.thread.is_alive():
            self._send(b"")
            self.thread.join()
            self.socket.close()
            os.close(self.count)


class Log:
    """Collects what the daemon writes to its standard error, and can wait for a line."""

    def __init__(self, pipe):
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self._collect, args=(pipe,), daemon=True)
        self.thread.start()

    def _collect(self, pipe):
        for line in pipe:
            with self.changed:
                self.lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
                self.changed.notify_all()
        pipe.close()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def text(self):
        with self.changed:
            return "\n".join(self.lines)

    def wait(self, pattern, after=0):
        """The first line from number `after` on that matches; AssertionError when none comes."""
        def first():
            return next((l for l in self.lines[after:] if re.search(pattern, l)), None)

        with self.changed:
            self.changed.wait_for(lambda: first() is not None or self.ended, DEADLINE)
            line = first()
        assert line is not None, f"no line matches {pattern!r} in:\n{self.text()}"
        return line


class Daemon:
    """
    build/tornadod with the given handlers (names of test handlers or bundled ones) and settings.

    listeners  {name: keys of its [listen:NAME] section}; each gets an address of its own in
               127.0.0.0/8 and a port from the kernel
    ini        more sections, as text; [tornadod] is made from `tornadod`, a text of its keys
    wrapper    words in front of the program, to run it under strace or valgrind
    """

    def __init__(self, handlers=("conformance",), ini="", listeners=None, tornadod="workers = 1",
                 args=(), env=None, wrapper=()):
        self.folder = tempfile.mkdtemp(prefix="tornadod-test-")
        os.chmod(self.folder, 0o755)
        self.handlers = os.path.join(self.folder, "handlers")
        self.ini_path = os.path.join(self.folder, "tornadod.ini")
        self.listeners = {"default": ""} if listeners is None else listeners
        self.addresses = {}
        self.notifications = Notifications(os.path.join(self.folder, "notify"))
        self.process = self.log = None
        self.env = {**os.environ, **(env or {}), "NOTIFY_SOCKET": self.notifications.path}
        if "handlers_watch" not in tornadod:  # files come and go here, and reloads when they are asked for
            args = ("--set", "tornadod.handlers_watch=off", *args)
        self.control = os.path.join(self.folder, "control.sock")
        if "control =" not in tornadod:
            args = ("--set", f"tornadod.control={self.control}", *args)
        self.command = [*wrapper, os.path.join(BUILD, "tornadod"), "-c", self.ini_path, *args]

        os.mkdir(self.handlers)
        for name in handlers:
            self.install(name)
        self.write_ini(ini, tornadod)

    # ---- its files

    def install(self, name, as_name=None):
        """Put a handler into the directory, whole at once, as a careful deployment does."""
        found = [path for path in (f"{BUILD}/tests/handlers/{name}.so", f"{BUILD}/handlers/{name}.so")
                 if os.path.exists(path)]
        assert found, f"there is no handler {name} in {BUILD}"
        target = os.path.join(self.handlers, (as_name or name) + ".so")
        shutil.copy(found[0], target + ".new")
        os.chmod(target + ".new", 0o755)
        os.rename(target + ".new", target)

    def write_ini(self, ini="", tornadod="workers = 1"):
        text = f"[tornadod]\nhandlers = {self.handlers}\n{tornadod}\n"
        for number, (name, keys) in enumerate(self.listeners.items(), 1):
            text += f"[listen:{name}]\naddress = 127.0.0.{number}:0\n{keys}\n"
        with open(self.ini_path + ".new", "w", encoding="utf-8") as file:
            file.write(text + ini)
        os.rename(self.ini_path + ".new", self.ini_path)  # a reload on its way reads all or nothing of it

    # ---- its life

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=self.env, cwd=self.folder)
        self.log = Log(self.process.stderr)
        try:
            self.notifications.wait("READY=1", self.process)
        except (RuntimeError, TimeoutError) as e:
            self.kill()
            raise AssertionError(f"tornadod: {e}\n{self.log.text()}") from e
        self.addresses = self._listening()
        return self

    def _listening(self):
        """{listener: (ip, port)}, by asking the kernel which sockets the master listens on."""
        ports = {}
        for address in listening_sockets(self.master):
            ip, port = address.split(":")
            ports[socket.inet_ntoa(bytes.fromhex(ip)[::-1])] = int(port, 16)
        return {name: (f"127.0.0.{number}", ports[f"127.0.0.{number}"])
                for number, name in enumerate(self.listeners, 1)
                if f"127.0.0.{number}" in ports}

    @property
    def master(self):
        """The daemon's own process: below the wrapper, if there is one that stays."""
        pid = self.process.pid
        while os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "strace":
            pid = children(pid)[0]
        return pid

    def workers(self):
        return children(self.master)

    def reload(self):
        """HUP, and wait until the new generation serves and the one before accepts no more."""
        before = self.workers()
        os.kill(self.master, signal.SIGHUP)
        self.notifications.wait("RELOADING=1", self.process)
        self.notifications.wait("READY=1", self.process)
        self.wait_replaced(before)

    def wait_replaced(self, before):
        """Until these workers accept no more."""
        deadline = time.monotonic() + DEADLINE
        while any(listening_sockets(worker) for worker in before):
            assert time.monotonic() < deadline, "the old workers go on accepting"
            time.sleep(0.001)

    def stop(self, signum=signal.SIGTERM):
        """Send the signal to the master and return the exit status of the program."""
        if self.process.poll() is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends by itself just now
                os.kill(self.master, signum)
        return self.wait()

    def wait(self):
        status = self.process.wait(DEADLINE)
        self.log.thread.join(DEADLINE)
        return status

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
            self.log.thread.join(DEADLINE)

    def close(self):
        self.kill()
        self.notifications.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, value, traceback):
        try:
            status = self.stop()
            text = self.log.text()
            if kind is not None:
                print(f"---- the daemon's log\n{text}")
            else:
                assert status == 0, f"exit status {status}; log:\n{text}"
                assert not COMPLAINTS.search(text), text
        finally:
            self.close()

    def command_line(self, name, *args, **more):
        """`tornadod NAME ...`, asking this daemon."""
        return run(name, "--control", self.control, *args, **more)

    def command_pid(self):
        """The master, as it says itself: below any wrapper."""
        return json.loads(self.command_line("status", "--json").stdout)["pid"]

    # ---- talking to it

    @property
    def port(self):
        return self.addresses["default"][1]

    def connect(self, listener="default", receive_buffer=0):
        return Connection(self.addresses[listener], receive_buffer)

    def get(self, target, listener="default", headers=""):
        """One GET on a connection of its own."""
        with self.connect(listener) as conn:
            conn.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode())
            return conn.response()

    def wait_log(self, pattern, after=0):
        return self.log.wait(pattern, after)


# For one that is run by itself: the socket of all, in /run/tornadod, may be another's, which is a warning.
UNCONTROLLED = ("--set", "tornadod.control=off")


def run(*args, env=None, **more):
    """A tornadod that is expected to end by itself; returns the CompletedProcess with its texts."""
    return subprocess.run([os.path.join(BUILD, "tornadod"), *args], env={**os.environ, **(env or {})},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE, check=False, **more)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def wait_until(condition, what):
    """What no line of a log tells of."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def cpu_seconds(pid):
    """That it has used so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(seconds, percent):
    """In milliseconds."""
    return sorted(seconds)[len(seconds) * percent // 100] * 1e3


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def listening_sockets(pid):
    """The TCP sockets that the process listens on, as /proc/net/tcp writes addresses; none when it has gone."""
    inodes = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [row.split() for row in list(table)[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


class ProtocolError(AssertionError):
    """The server sent what no server may send."""


class Response:
    """One response, taken apart without mercy."""

    STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
    FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")

    def __init__(self, head):
        lines = head.split(b"\r\n")
        status_line = self.STATUS_LINE.fullmatch(lines[0])
        if status_line is None:
            raise ProtocolError(f"status line {lines[0]!r}")
        self.status = int(status_line[1])
        self.reason = status_line[2].decode("latin-1")
        self.headers = []
        for line in lines[1:]:
            field = self.FIELD.fullmatch(line)
            if field is None:
                raise ProtocolError(f"header line {line!r}")
            self.headers.append((field[1].decode(), field[2].decode("latin-1")))
        self.body = b""
        self.trailers = []

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def framing(self, head_only):
        """ "none", "length", "chunked" or "close" (RFC 9112 section 6.3)."""
        lengths, codings = self.all("Content-Length"), self.all("Transfer-Encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise ProtocolError(f"framing {lengths} {codings}")
        if lengths and not re.fullmatch(r"0|[1-9][0-9]*", lengths[0]):
            raise ProtocolError(f"Content-Length {lengths[0]!r}")
        if codings and codings != ["chunked"]:
            raise ProtocolError(f"Transfer-Encoding {codings}")
        if self.status < 200 or self.status in (204, 304):
            if codings or (lengths and self.status != 304):
                raise ProtocolError(f"{self.status} with {lengths} {codings}")
            return "none"
        if head_only:
            if codings:
                raise ProtocolError("Transfer-Encoding in the answer to HEAD")
            return "none"
        return "length" if lengths else "chunked" if codings else "close"

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class Connection:
    """A client's end.  What was received and not yet asked for waits in `received`."""

    def __init__(self, address, receive_buffer=0):
        """receive_buffer: bytes, where what it is sent is to wait at the server."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(DEADLINE)
        if receive_buffer > 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def send(self, data):
        self.socket.sendall(data)

    def send_bytewise(self, data):
        """Each byte in a packet of its own; ends early when the server has closed already."""
        try:
            for i in range(len(data)):
                self.socket.send(data[i:i + 1])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def shutdown(self):
        """No more comes from this side."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _receive(self):
        """More bytes into `received`; False at the end of the stream.  A reset is an error."""
        data = self.socket.recv(65536)
        self.received += data
        return bool(data)

    def _until(self, marker):
        while marker not in self.received:
            if not self._receive():
                raise ProtocolError(f"the connection ended within {self.received[:2000]!r}")
        taken, self.received = self.received.split(marker, 1)
        return taken

    def _exactly(self, size):
        while len(self.received) < size:
            if not self._receive():
                raise ProtocolError(f"{size - len(self.received)} bytes short of {size}")
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def response(self, head=False, interim=False):
        """
        The next response; interim ones (1xx) are skipped unless asked for.  head: it answers HEAD.
        Date, when there, must be a date; without Content-Length or chunks the body goes to the end.
        """
        while True:
            response = Response(self._until(b"\r\n\r\n"))
            if response.status >= 200 or response.status == 101 or interim:
                break
        for date in response.all("Date"):
            if not re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date):
                raise ProtocolError(f"Date {date!r}")
            parsedate_to_datetime(date)

        framing = response.framing(head)
        if framing == "length":
            response.body = self._exactly(int(response.header("Content-Length")))
        elif framing == "chunked":
            response.body, response.trailers = self._chunked()
        elif framing == "close":
            response.body = self.rest()
        return response

    def _chunked(self):
        body = b""
        while True:
            line = self._until(b"\r\n")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", line):
                raise ProtocolError(f"chunk size {line!r}")
            size = int(line, 16)
            if size == 0:
                break
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise ProtocolError("no CRLF after chunk data")
        trailers = []
        while (line := self._until(b"\r\n")) != b"":
            trailers.append(line)
        return body, trailers

    def rest(self):
        """All until the server closes."""
        while self._receive():
            pass
        taken, self.received = self.received, b""
        return taken

    def expect_end(self):
        """The server closes in order, and sends nothing before."""
        rest = self.rest()
        if rest:
            raise ProtocolError(f"more bytes before the end: {rest[:2000]!r}")

    def request(self, method, target, headers="", body=b"", version="1.1"):
        """Send a plain request and return its response."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{method} {target} HTTP/{version}\r\nHost: test\r\n{length}{headers}\r\n".encode()
                  + body)
        return self.response(head=method == "HEAD")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
