#!/usr/bin/python3
"""Compare tornadod with bare loops and with other servers: run.py [ROW ...]  (README.md says how).

Prints a table for each row and leaves the raw samples, the results and a chart in build/bench.
"""

import contextlib
import csv
import dataclasses
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import chart
import hostile
import servers
from servers import Failed, Server

YARDSTICK = "bare epoll"
OURS = "tornadod"
ROUNDS = 21
ROUND_MS = 125
CONNECTIONS = 64
IDLE_CONNECTIONS = 10000
IDLE_SECONDS = 3  # until their memory is read: servers give buffers back after a while
WAITING = 1000
WAIT_MS = 2000  # how long WAITING handlers wait while their memory is read
WAIT_RUN_MS = 1000  # how long they then wait 1 ms each, again and again
FORM_FIELDS = (100, 1000, 10000)
RELAYS = ("td_fetch", "gateway")
ALL = tuple(name for name in servers.STARTERS if name not in RELAYS)

HOST = b"Host: 127.0.0.1:8888\r\n"  # whatever the port: requests of a row are alike, byte for byte
BROWSER = (
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/124.0.0.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    b"image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-User: ?1\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\n"
    b"Cookie: session=2f1c7a90b4d84e55; theme=dark; consent=yes; _ga=GA1.1.1234567890.171600000\r\n"
)


def get(path, headers=b""):
    return b"GET %s HTTP/1.1\r\n%s%s\r\n" % (path, HOST, headers)


PLAINTEXT = get(b"/plaintext")
PLAINTEXT_BROWSER = get(b"/plaintext", BROWSER)
PLAINTEXT_CLOSE = get(b"/plaintext", b"Connection: close\r\n")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the comparison."""

    name: str
    title: str
    target: float = None  # of tornadod
    request: bytes = PLAINTEXT
    other: bytes = None  # sent by turns with request; of the same size, for the yardstick
    body: bytes = b"Hello, World!"
    batch: int = 1  # requests in one write
    log: bool = False
    echo: bool = False  # the body comes with the request
    reconnect: bool = False
    deferred: bool = False
    peers: tuple = ALL


def file_row(name, size, target):
    kib = size // 1024
    text = f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"
    return Row(name, f"file of {text}", target,
               request=get(b"/files/file.html"), body=b"0123456789abcdef" * (size // 16),
               peers=(YARDSTICK, OURS, "nginx", "h2o", "lighttpd"))


def echo_row(name, size, target):
    body = b"0123456789abcdef" * (size // 16)
    text = f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"
    request = (b"POST /echo HTTP/1.1\r\n%sContent-Type: application/octet-stream\r\n"
               b"Content-Length: %d\r\n\r\n%s" % (HOST, size, body))
    return Row(name, f"{text} there and back", target, request=request, body=body, echo=True,
               peers=(YARDSTICK, OURS, "h2o", "Tornado"))


RATIO_ROWS = [
    Row("plaintext", "plaintext, 49-byte request", 0.92),
    Row("log", "plaintext with the access log on", 0.85, log=True),
    Row("browser", "plaintext, 752-byte browser request", 0.90, request=PLAINTEXT_BROWSER),
    Row("varied", "browser requests, each unlike the last one of its connection",
        request=PLAINTEXT_BROWSER, other=PLAINTEXT_BROWSER.replace(b"dark", b"bold")),
    Row("pipelined", "plaintext, 16 pipelined", 0.50, batch=16),
    Row("route", "route with a parameter", 0.88, request=get(b"/user/4711"), body=b"4711",
        peers=tuple(name for name in ALL if name != "lighttpd")),
    Row("connection", "a connection per request", 0.97, request=PLAINTEXT_CLOSE,
        reconnect=True),
    Row("deferred", "a connection per request, deferred accept", 1.25,
        request=PLAINTEXT_CLOSE, reconnect=True, deferred=True),
    file_row("file-1k", 1024, 0.95),
    file_row("file-100k", 100 * 1024, 0.95),
    file_row("file-10m", 10 * 1024 * 1024, 1.2),
    echo_row("echo-1k", 1 << 10, 0.90),
    echo_row("echo-1m", 1 << 20, 0.85),
]
IDLE = Row("idle", f"idle keep-alive connection, memory at {IDLE_CONNECTIONS:,}", 512)
RELAY = Row("relay", "plaintext that another server answers: CPU of the relay / of tornadod that "
            "answers itself", 2.2, peers=(OURS, *RELAYS, "nginx", "h2o"))
WAIT = Row("wait", f"handler that awaits a 1 ms timer, {WAITING:,} at once", 12 * 1024,
           request=get(b"/wait/1"), peers=(OURS, "Tornado"))
FORM = Row("form", "form of 100, 1,000 and 10,000 fields, time per field", 1.3, peers=(OURS,))
HOSTILE = Row("hostile", "p99 of small requests beside an attack / without", 2.0)
MICRO = [  # of micro.c
    Row("gzip", "gzip of 2 KiB", 1.3),
    Row("cookie", "signed cookie verified", 1000),
    Row("await", "td_await", 1000),
    Row("executor", "round trip of a job", 3),
    Row("sleepers", "memory of a sleeping coroutine", 12),
]
ROWS = [*RATIO_ROWS, RELAY, IDLE, WAIT, FORM, *MICRO, HOSTILE]


# ---- where things run


def pick_cpus():
    """A CPU for the servers and another one, of another core if possible, for the client."""
    cpus = sorted(os.sched_getaffinity(0))
    path = f"/sys/devices/system/cpu/cpu{cpus[0]}/topology/core_cpus_list"
    same_core = set()
    if os.path.exists(path):
        with open(path) as siblings:
            for part in siblings.read().strip().split(","):
                first, _, last = part.partition("-")
                same_core.update(range(int(first), int(last or first) + 1))
    others = [cpu for cpu in cpus if cpu not in same_core] or cpus[1:] or cpus
    return cpus[0], others[0]


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < servers.DESCRIPTORS_MAX:
        print(f"Only {hard} descriptors are allowed, {servers.DESCRIPTORS_MAX} are wanted: "
              f"the row idle may fail.")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (servers.DESCRIPTORS_MAX, hard))


class Field:
    """The servers of one row: `running` and found right, or in `failed` with the reason."""

    def __init__(self, row, folder, cpus, stack):
        self.row, self.folder, self.stack = row, folder, stack
        self.server_cpu, self.client_cpu = cpus
        if row.reconnect:  # connecting costs the client more, and an idle server pays for its waking
            self.client_cpu = self.server_cpu
        self.running, self.failed = [], {}
        self.request_files = self.file("request", row.request)
        if row.other:
            self.request_files += ":" + self.file("other", row.other)
        self.answer_file = os.path.join(folder, "answer")
        self.files = os.path.join(folder, "files")
        os.mkdir(self.files)
        self.file("files/file.html", row.body)

        # What the bare servers send is what ours says, so that all move about as many bytes.
        real = [name for name in row.peers if not name.startswith("bare")]
        self.upstream = None
        for name in sorted(real, key=lambda name: name != OURS):
            answer = self.start(name)
            if answer is not None and row is RELAY and self.upstream is None:
                self.upstream = self.start_upstream(answer)
            if answer is not None and not os.path.exists(self.answer_file):
                self.file("answer", answer)
        if os.path.exists(self.answer_file):
            for name in row.peers:
                if name.startswith("bare"):
                    self.start(name)
        self.running.sort(key=lambda server: row.peers.index(server.name))

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def start(self, name):
        """Start one and ask it once; its answer, or None when it is not right."""
        folder = os.path.join(self.folder, name.replace(" ", "_"))
        os.mkdir(folder)
        log = os.path.join(folder, "access") if self.row.log else ""
        try:
            server = self.stack.enter_context(Server(
                name, folder, self.server_cpu, log=log, deferred=self.row.deferred,
                closing=self.row.reconnect, request=self.row.request, answer=self.answer_file,
                files=self.files, single=self.row.batch == 1,
                echo=len(self.row.body) if self.row.echo else 0,
                upstream=self.upstream.port if self.upstream else 0))
            answer = server.wait_until_right(self.row.request, self.row.body)
        except Failed as failure:
            self.failed[name] = str(failure)
            return None
        self.running.append(server)
        return answer

    def start_upstream(self, answer):
        """The server behind the relays; its CPU counts for none of them."""
        self.file("answer", answer)
        folder = os.path.join(self.folder, "upstream")
        os.mkdir(folder)
        return self.stack.enter_context(Server(
            "bare libev", folder, self.client_cpu, log="", deferred=False, closing=False,
            request=b"", answer=self.answer_file, files="", single=True, echo=0, upstream=0))

    def drop(self, server, reason):
        self.running.remove(server)
        self.failed[server.name] = str(reason)

    def load(self, server, connections, milliseconds):
        more = [self.row.batch, milliseconds, *(["reconnect"] if self.row.reconnect else [])]
        return run_load(server, self.client_cpu, self.request_files, connections, *more)


def run_load(server, cpu, request_files, connections, *more):
    """One run of the load client; its counts and the CPU time that the server took."""
    argv = [os.path.join(servers.OUT, "load"), server.port, request_files, connections, *more]
    with subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: servers.settle_on(cpu)) as client:
        said = client.stdout.readline()
        if said == "ready\n":
            before = server.cpu_ns()
            client.stdin.write("\n")
            client.stdin.flush()
            said = client.stdout.readline()
            cpu_ns = server.cpu_ns() - before
    if not said:
        raise Failed("the load client gave up on it")
    result = json.loads(said)
    if result["errors"] or result["lost"]:
        raise Failed(f"{result['errors']} wrong answers, {result['lost']} connections stalled")
    return {**result, "cpu_ns": cpu_ns}


# ---- rows of CPU time


def measure_ratios(field):
    """All servers in turn, round after round, each round beginning with another one."""
    samples = []
    for turn in range(ROUNDS):
        at = turn % len(field.running)
        for server in field.running[at:] + field.running[:at]:
            try:
                result = field.load(server, CONNECTIONS, ROUND_MS)
            except Failed as failure:
                field.drop(server, failure)
                if not field.running:
                    return samples
                continue
            samples.append({"row": field.row.name, "round": turn, "server": server.name, **result})
    return samples


def summarise_ratios(field, samples):
    """For each server the median ratio to the yardstick of the same round, and more medians."""
    cost = {(s["server"], s["round"]): s["cpu_ns"] / s["requests"] for s in samples}
    lines = []
    for name in (server.name for server in field.running):
        mine = [s for s in samples if s["server"] == name]
        ratios = [cost[YARDSTICK, s["round"]] / cost[name, s["round"]] for s in mine
                  if (YARDSTICK, s["round"]) in cost]
        if ratios:
            lines.append({
                "row": field.row.name, "server": name, "value": statistics.median(ratios),
                "lowest": min(ratios), "highest": max(ratios),
                "us": statistics.median(cost[name, s["round"]] for s in mine) / 1000,
                "p50_us": statistics.median(s["p50_us"] for s in mine),
                "p99_us": statistics.median(s["p99_us"] for s in mine)})
    return lines


def summarise_relays(field, samples):
    """For each relay the median of its CPU time in that of ours answering itself, same round."""
    cost = {(s["server"], s["round"]): s["cpu_ns"] / s["requests"] for s in samples}
    lines = []
    for name in (server.name for server in field.running):
        rounds = [turn for turn in range(ROUNDS) if (name, turn) in cost and (OURS, turn) in cost]
        ratios = [cost[name, turn] / cost[OURS, turn] for turn in rounds]
        if ratios:
            lines.append({
                "row": field.row.name, "server": name, "value": statistics.median(ratios),
                "lowest": min(ratios), "highest": max(ratios),
                "us": statistics.median(cost[name, turn] for turn in rounds) / 1000})
    return lines


def print_relays(row, lines):
    print(f"  {'server':<12}{'times':>7}  {'min - max':<13}{'µs CPU':>8}")
    for one in lines:
        spread = f"{one['lowest']:.2f} - {one['highest']:.2f}"
        judged = reached(one["value"], row.target) if one["server"] == "td_fetch" else ""
        print(f"  {one['server']:<12}{one['value']:>7.2f}  {spread:<13}{one['us']:>8.2f}{judged}")


def print_ratios(row, lines):
    print(f"  {'server':<12}{'ratio':>7}  {'min - max':<13}{'µs CPU':>8}{'p50 µs':>8}{'p99 µs':>8}")
    for one in lines:
        spread = f"{one['lowest']:.2f} - {one['highest']:.2f}"
        print(f"  {one['server']:<12}{one['value']:>7.2f}  {spread:<13}{one['us']:>8.2f}"
              f"{one['p50_us']:>8.0f}{one['p99_us']:>8.0f}{verdict(row, one)}")


def verdict(row, one):
    """Whether ours is where it is to be: ratios are to be high, bytes low."""
    if one["server"] != OURS or row.target is None:
        return ""
    if row in RATIO_ROWS:
        reached, target = one["value"] >= row.target, f"{row.target:.2f}"
    else:
        reached, target = one["value"] <= row.target, f"{row.target:,}"
    return f"   target {target}: {'reached' if reached else 'NOT reached'}"


# ---- rows of memory


def ask_many(server, count, request):
    """Open connections and send a request on each; they are the caller's to read and to close."""
    conns = []
    for _ in range(count):
        conn = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        conn.sendall(request)
        conns.append(conn)
    return conns


def close_all(conns):
    for conn in conns:
        conn.close()


def measure_idle(field):
    """Memory that a connection holds which has had one answer and waits for its next request."""
    lines = []
    for server in list(field.running):
        try:
            warm = ask_many(server, CONNECTIONS, field.row.request)
            for conn in warm:
                servers.read_answer(conn)
            close_all(warm)
            time.sleep(0.2)
            before = server.private_bytes()
            idle = []
            for _ in range(IDLE_CONNECTIONS // 50):
                some = ask_many(server, 50, field.row.request)
                idle += some
                for conn in some:
                    servers.read_answer(conn)
            time.sleep(IDLE_SECONDS)
            held = server.private_bytes() - before
            close_all(idle)
        except (Failed, OSError) as failure:
            field.drop(server, failure)
            continue
        lines.append({"row": field.row.name, "server": server.name,
                      "value": held / IDLE_CONNECTIONS})
    return lines


def measure_wait(field):
    """Memory of a waiting handler with its connection, then whether 1 ms waits all come back."""
    lines = []
    hold = get(b"/wait/%d" % WAIT_MS)
    for server in list(field.running):
        try:
            before = server.private_bytes()
            waiting = ask_many(server, WAITING, hold)
            time.sleep(WAIT_MS / 2000)
            held = server.private_bytes() - before
            for conn in waiting:
                servers.read_answer(conn)
            close_all(waiting)
            result = field.load(server, WAITING, WAIT_RUN_MS)
        except (Failed, OSError) as failure:
            field.drop(server, failure)
            continue
        lines.append({"row": field.row.name, "server": server.name, "value": held / WAITING,
                      "us": result["cpu_ns"] / result["requests"] / 1000, **result})
    return lines


def print_memory(row, lines):
    print(f"  {'server':<12}{'bytes each':>12}")
    for one in lines:
        waits = (f"   {one['requests']:,} waits, {one['lost']} lost, {one['us']:.2f} µs CPU each"
                 if "requests" in one else "")
        print(f"  {one['server']:<12}{one['value']:>12,.0f}{waits}{verdict(row, one)}")


# ---- rows of ours alone


def reached(value, target):
    return f"   target {target:g}: {'reached' if value <= target else 'NOT reached'}"


def run_form(row, cpus):
    """CPU time per field of forms of several sizes: it is to be the same."""
    costs = {count: [] for count in FORM_FIELDS}
    with tempfile.TemporaryDirectory(prefix="tornadod-bench-") as folder, \
            contextlib.ExitStack() as stack:
        field = Field(row, folder, cpus, stack)
        if not field.running:
            return []
        files = {count: field.file(f"form-{count}", form_request(count)) for count in FORM_FIELDS}
        for _ in range(ROUNDS // 2):
            for count, path in files.items():
                result = run_load(field.running[0], cpus[1], path, 8, 1, ROUND_MS)
                costs[count].append(result["cpu_ns"] / result["requests"] / count)
    lines = []
    for fewer, count in zip(FORM_FIELDS, FORM_FIELDS[1:]):
        ratio = statistics.median(many / few for many, few in zip(costs[count], costs[fewer]))
        few_ns, many_ns = statistics.median(costs[fewer]), statistics.median(costs[count])
        lines.append({"row": row.name, "server": f"{count} fields", "value": ratio, "ns": many_ns})
        print(f"  {fewer:>6,} fields {few_ns:.1f} ns each, {count:>6,} fields {many_ns:.1f} ns each: "
              f"{ratio:.2f} times{reached(ratio, row.target)}")
    return lines


def form_request(count):
    body = b"&".join(b"field%d=a+value" % i for i in range(count))
    return (b"POST /form HTTP/1.1\r\n%sContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (HOST, len(body), body))


def run_micro(row, cpus):
    argv = [os.path.join(servers.OUT, "micro"), row.name]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                          preexec_fn=lambda: servers.settle_on(cpus[0]))
    lines = [{"row": row.name, "server": OURS, **json.loads(line)}
             for line in done.stdout.splitlines()]
    for one in lines:
        print(f"  {one['name']:<38}{one['value']:>9.2f} {one['unit']:<6}"
              f"{reached(one['value'], one['target'])}   {one['detail']}")
    return lines


def run_hostile(row, cpus, names=()):
    def load(server, request_file):
        return run_load(server, cpus[1], request_file, CONNECTIONS, 1, ROUND_MS)

    print(f"  {'attack':<20}{'ratio':>7}  {'min - max':<13}{'p99 µs':>8}{'without':>9}")
    lines = []
    for one in hostile.measure(load, cpus, names):
        lines.append(one)
        spread = f"{one['lowest']:.2f} - {one['highest']:.2f}"
        print(f"  {one['server']:<20}{one['value']:>7.2f}  {spread:<13}{one['p99_us']:>8.0f}"
              f"{one['control_p99_us']:>9.0f}{reached(one['value'], row.target)}", flush=True)
    return lines


ALONE = {FORM.name: run_form, HOSTILE.name: run_hostile,
         **{row.name: run_micro for row in MICRO}}


# ---- the whole


def run_row(row, cpus):
    """Returns (lines, samples, whether ours and the yardstick could be measured)."""
    print(f"\n{row.name}: {row.title}", flush=True)
    if row.name in ALONE:
        lines = ALONE[row.name](row, cpus)
        return lines, [], bool(lines)
    samples = []
    with tempfile.TemporaryDirectory(prefix="tornadod-bench-") as folder, \
            contextlib.ExitStack() as stack:
        field = Field(row, folder, cpus, stack)
        if row in RATIO_ROWS:
            samples = measure_ratios(field)
            lines = summarise_ratios(field, samples)
            print_ratios(row, lines)
        elif row is RELAY:
            samples = measure_ratios(field)
            lines = summarise_relays(field, samples)
            print_relays(row, lines)
        else:
            lines = (measure_idle if row is IDLE else measure_wait)(field)
            print_memory(row, lines)
        for name, reason in field.failed.items():
            print(f"  {name:<12}   -     {reason}")
    measured = {one["server"] for one in lines}
    return lines, samples, OURS in measured


def draw(lines):
    """The chart as SVG, and as PNG by librsvg's converter."""
    rows = []
    for row in RATIO_ROWS:
        bars = [(one["server"], one["value"], one["lowest"], one["highest"]) for one in lines
                if one["row"] == row.name]
        if bars:
            rows.append((row.title, row.target, bars))
    if not rows:
        return
    path = os.path.join(servers.OUT, "chart.svg")
    with open(path, "w") as file:
        file.write(chart.svg("CPU time per request of a bare epoll loop / of the server "
                             "(higher is better)", rows))
    print(f"Chart: {path}")
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "-o", path[:-3] + "png", path], check=True)
        print(f"       {path[:-3]}png")
    else:
        print("       (no PNG: rsvg-convert of the package librsvg2-bin is missing)")


def save(lines, samples):
    with open(os.path.join(servers.OUT, "results.json"), "w") as file:
        json.dump(lines, file, indent=1)
    fields = ["row", "round", "server", "requests", "cpu_ns", "seconds", "p50_us", "p99_us",
              "errors", "lost"]
    with open(os.path.join(servers.OUT, "samples.csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(samples)
    print(f"\nRaw: {servers.OUT}/samples.csv, results.json")


def main(names):
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        sys.exit(f"No row {' '.join(unknown)}; there are: {' '.join(row.name for row in ROWS)}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))  # through all `with`: no server stays behind
    servers.build()
    raise_descriptor_limit()
    cpus = pick_cpus()
    print(f"Servers on CPU {cpus[0]}, client on CPU {cpus[1]}; {CONNECTIONS} connections, {ROUNDS} "
          f"rounds of {ROUND_MS} ms a server.\n"
          f"ratio: CPU per request of the {YARDSTICK} loop / of the server, same round, median; "
          f"higher is better.")
    all_lines, all_samples, complete = [], [], True
    for row in ROWS:
        if not names or row.name in names:
            lines, samples, measured = run_row(row, cpus)
            all_lines += lines
            all_samples += samples
            complete = complete and measured
    save(all_lines, all_samples)
    draw(all_lines)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
