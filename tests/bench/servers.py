"""The servers that are compared: ours, two bare ones, and five of Debian's, set up to answer alike.

Each has one worker, listens on a port of 127.0.0.1 that the kernel picked, keeps all its files in a
folder of its own, runs as the current user, and answers what handlers/bench.c answers.
"""

import dataclasses
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build")
OUT = os.path.join(BUILD, "bench")
CONNECTIONS_MAX = 10240
DESCRIPTORS_MAX = 20000
START_SECONDS = 10  # until a server must have answered
HTML = "text/html; charset=UTF-8"
LIBRARIES = os.environ.get("TD_LIBS", "").split()  # what libtornado.a needs, from the Makefile


class Failed(Exception):
    """A server cannot be measured; the text says why."""


@dataclasses.dataclass
class Setup:
    """What a server is started with."""

    folder: str
    port: int
    log: str  # file of the access log; empty: none
    deferred: bool  # accept a connection when its request is there, where it can be chosen
    closing: bool  # one request a connection
    request: bytes
    answer: str  # file with the bytes that the bare servers send
    files: str  # directory that is served below /files/
    single: bool  # requests come one at a time
    echo: int  # bytes of a request's body that the answer brings back; 0: it has none
    upstream: int  # port of the server that answers /plaintext in its place; 0: it does so itself

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def on_off(value):
    return "on" if value else "off"


# ---- how each is started: a function from Setup to a command line


def bare_epoll(setup):
    mode = (["echo", str(setup.echo)] if setup.echo else ["close"] if setup.closing else
            ["single"] if setup.single else [])
    size = str(len(setup.request))
    return [os.path.join(OUT, "bare_epoll"), str(setup.port), setup.answer, size, *mode]


def bare_libev(setup):
    mode = ["deferred"] if setup.deferred else []
    return [os.path.join(OUT, "bare_libev"), str(setup.port), setup.answer, *mode]


def tornadod(setup, handlers="handlers", section=""):
    access = f"access = tornado\naccess_file = {setup.log}" if setup.log else "access = off"
    conf = setup.write("tornadod.ini", f"""
[tornadod]
workers = 1
handlers = {OUT}/{handlers}
memory = 256m
max_fields = 10000
[listen:bench]
address = 127.0.0.1:{setup.port}
backlog = 4096
defer_accept = {on_off(setup.deferred)}
[application]
static_path = {setup.files}
static_url_prefix = /files/
[log]
{access}
{section}
""")
    return [os.path.join(BUILD, "tornadod"), "-c", conf]


def relay(setup):
    return tornadod(setup, "relay", f"[handler:relay]\n"
                    f"upstream = http://127.0.0.1:{setup.upstream}/plaintext")


def gateway(setup):
    return tornadod(setup, "gateway", f"[handler:gateway]\nupstreams = 127.0.0.1:{setup.upstream}")


def nginx(setup):
    access = f"{setup.log} combined buffer=32k flush=1s" if setup.log else "off"
    user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
    plaintext = (("proxy_pass http://upstream; proxy_http_version 1.1; "
                  'proxy_set_header Connection "";') if setup.upstream else
                 'return 200 "Hello, World!";')
    upstream = (f"upstream upstream {{ server 127.0.0.1:{setup.upstream}; keepalive 128; "
                f"keepalive_requests 1000000000; }}" if setup.upstream else "")
    scratch = "\n".join(f"    {kind}_temp_path {setup.folder}/{kind};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = setup.write("nginx.conf", f"""
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {DESCRIPTORS_MAX};
pid {setup.folder}/nginx.pid;
error_log {setup.folder}/error.log;
events {{ worker_connections {CONNECTIONS_MAX}; }}
http {{
{scratch}
    access_log {access};
    default_type "{HTML}";
    keepalive_requests 1000000000;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100;
    {upstream}
    server {{
        listen 127.0.0.1:{setup.port} backlog=4096{" deferred" if setup.deferred else ""};
        location = /plaintext {{ {plaintext} }}
        location ~ ^/user/([^/]+)$ {{ return 200 $1; }}
        location /files/ {{ alias {setup.files}/; }}
    }}
}}
""")
    return ["/usr/sbin/nginx", "-e", f"{setup.folder}/error.log", "-c", conf]


def h2o(setup):
    """A file is its cheapest fixed answer; only mruby can answer with a part of the path."""
    text = setup.write("plaintext", "Hello, World!")
    plaintext = (f"proxy.reverse.url: http://127.0.0.1:{setup.upstream}/plaintext"
                 if setup.upstream else f"file.file: {text}")
    user = f"user: {getpass.getuser()}" if os.getuid() == 0 else ""
    log = f"access-log: {setup.log}" if setup.log else ""
    conf = setup.write("h2o.conf", f"""
{user}
num-threads: 1
max-connections: {CONNECTIONS_MAX}
pid-file: {setup.folder}/h2o.pid
{log}
listen:
  host: 127.0.0.1
  port: {setup.port}
file.mime.setdefaulttype: "{HTML}"
hosts:
  default:
    paths:
      /plaintext:
        {plaintext}
      /files:
        file.dir: {setup.files}
      /user:
        mruby.handler: |
          lambda do |env|
            [200, {{"content-type" => "{HTML}"}}, [env["PATH_INFO"][1..-1]]]
          end
      /echo:
        mruby.handler: |
          lambda do |env|
            [200, {{"content-type" => "{HTML}"}}, [env["rack.input"] ? env["rack.input"].read : ""]]
          end
""")
    return ["/usr/bin/h2o", "-c", conf]


def lighttpd(setup):
    setup.write("plaintext", "Hello, World!")
    os.symlink(setup.files, os.path.join(setup.folder, "files"))
    modules = '"mod_accesslog"' if setup.log else ""
    log = f'accesslog.filename = "{setup.log}"' if setup.log else ""
    conf = setup.write("lighttpd.conf", f"""
server.modules = ({modules})
{log}
server.document-root = "{setup.folder}"
server.errorlog = "{setup.folder}/error.log"
server.bind = "127.0.0.1"
server.port = {setup.port}
server.listen-backlog = 4096
server.max-connections = {DESCRIPTORS_MAX // 2}
server.max-fds = {DESCRIPTORS_MAX}
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 65
mimetype.assign = ("" => "{HTML}")
$SERVER["socket"] == "127.0.0.1:{setup.port}" {{ server.defer-accept = {int(setup.deferred)} }}
""")
    return ["/usr/sbin/lighttpd", "-D", "-f", conf]


def kore(setup):
    log = f"accesslog {setup.log}" if setup.log else ""
    conf = setup.write("kore.conf", f"""
socket_backlog 4096
server bench {{
    bind 127.0.0.1 {setup.port}
    tls no
}}
load {OUT}/kore_app.so
workers 1
worker_set_affinity 0
worker_max_connections {CONNECTIONS_MAX}
worker_rlimit_nofiles {DESCRIPTORS_MAX}
http_keepalive_time 65
http_request_limit {CONNECTIONS_MAX}
pidfile {setup.folder}/kore.pid
domain * {{
    attach bench
    {log}
    route /plaintext plaintext
    route ^/user/([^/]+)$ user
}}
""")
    return ["/usr/bin/kore", "-c", conf, "-fnr"]


def tornado(setup):
    app = os.path.join(HERE, "tornado_app.py")
    return ["/usr/bin/python3", app, str(setup.port), setup.log]


STARTERS = {
    "bare epoll": bare_epoll,
    "bare libev": bare_libev,
    "tornadod": tornadod,
    "td_fetch": relay,
    "gateway": gateway,
    "nginx": nginx,
    "h2o": h2o,
    "lighttpd": lighttpd,
    "Kore": kore,
    "Tornado": tornado,
}


# ---- building what is ours


def build():
    """Compile the bare servers, the load client and the handlers into build/bench."""
    for folder in ("handlers", "relay", "gateway"):
        os.makedirs(os.path.join(OUT, folder), exist_ok=True)
    shutil.copy(os.path.join(BUILD, "handlers", "gateway.so"), os.path.join(OUT, "gateway"))
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
    shared = [*flags, "-shared", "-fPIC"]
    handler = [*shared, "-fexceptions", f"-I{ROOT}/lib", f"-L{BUILD}", "-ltornado"]
    targets = [
        ("bare_epoll", "bare_epoll.c bare.c", flags),
        ("bare_libev", "bare_libev.c bare.c", [*flags, "-lev", "-lhttp_parser"]),
        ("load", "load.c", flags),
        ("handlers/bench.so", "handlers/bench.c", handler),
        ("relay/relay.so", "handlers/relay.c", handler),
    ]
    targets.append(("micro", "micro.c", [
        *flags, "-fexceptions", f"-I{ROOT}/lib", f"{BUILD}/libtornado.a", *LIBRARIES]))
    if os.path.exists("/usr/include/kore/kore.h"):
        targets.append(("kore_app.so", "kore_app.c", shared))
    for target, sources, options in targets:
        subprocess.run([os.environ.get("CC", "cc"), "-o", os.path.join(OUT, target),
                        *(os.path.join(HERE, source) for source in sources.split()), *options],
                       check=True)


# ---- a running one


def settle_on(cpu):
    """For a child before it is executed: its CPU, and that a wake there interrupts nobody."""
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Server:
    """A started server with its folder.  Use in `with`: it ends with all of its children."""

    def __init__(self, name, folder, cpu, **setup):
        self.name = name
        self.port = free_port()
        self.setup = Setup(folder=folder, port=self.port, **setup)
        argv = STARTERS[name](self.setup)
        if shutil.which(argv[0]) is None:
            raise Failed(f"{argv[0]} is not installed")
        self.output = os.path.join(folder, "output")
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder,
                start_new_session=True, preexec_fn=lambda: settle_on(cpu))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(2)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass

    def ask(self, request):
        """One request on a connection of its own; the bytes of the answer, which has a length."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as conn:
            conn.sendall(request)
            return read_answer(conn)

    def wait_until_right(self, request, body):
        """Wait for the first answer and compare it; returns its bytes."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answer = self.ask(request)
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"does not answer ({error}); {self.last_output()}") from error
                time.sleep(0.02)
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n" + body):
            raise Failed(f"answers {answer[:80]!r}")
        return answer

    def last_output(self):
        with open(self.output, errors="replace") as output:
            lines = output.read().strip().split("\n")
        return "its last line: " + lines[-1]

    def processes(self):
        """The process and all that descend from it."""
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    left += map(int, children.read().split())
        return sorted(found)

    def cpu_ns(self):
        """CPU time of all threads of all its processes so far."""
        total = 0
        for pid in self.processes():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[0])
        return total

    def private_bytes(self):
        """Memory that it has written to and shares with nobody."""
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += 1024 * int(re.search(r"Private_Dirty: +(\d+)", rollup.read()).group(1))
        return total


def read_answer(conn):
    """Read one answer from a socket, as far as its Content-Length says."""
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if end and not length:
            raise Failed("answers without Content-Length")
        if end and len(body) >= int(length.group(1)):
            return answer
        got = conn.recv(65536)
        if not got:
            raise ConnectionError(f"closed the connection after {len(answer)} bytes")
        answer += got
