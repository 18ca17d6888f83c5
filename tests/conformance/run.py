#!/usr/bin/python3
"""Run tables of raw bytes against the real daemon; the last line says how many rows hold.

    tests/conformance/run.py TABLE.txt ... [-k WORD] [--valgrind]

A table is a list of rows; each is a dialogue on a connection of its own:

    == RFC 9112 6.3 | a body of the length that was told, and the connection goes on
    > POST /echo HTTP/1.1
    > Host: a
    > Content-Length: 5
    >
    >. hello
    < 200 keep
    <= POST /echo HTTP/1.1\\nhello

In front of the | stands the rule: a section of an RFC or, where RFCs leave it open, of BEHAVIOUR, the
page by which the project was written; what such a section says is what its rows show.

    @listener NAME: KEY = VALUE; ...   one more listener, for rows that have the line "@ NAME"
    @first NAME ...   what comes first counts there: these rows are not sent behind another request
    @whole            this row is not sent byte by byte: what comes after a close may cause a reset
    % A B C           the row is meant once for each word, which stands where {} is
    > TEXT            send TEXT and CRLF
    >. TEXT           send TEXT alone
    > shutdown:       send nothing more, ever
    < STATUS ...      a response comes; more words say more about it:
        keep              it is the last one, and a request that follows is served
        close             it is the last one, is marked Connection: close, and the end follows
        closes            it is the last one and the end follows, the mark being none of our business
        http10            it answers HTTP/1.0: Keep-Alive is said when kept, nothing when closed
        head              it answers HEAD
        chunked, length, until-close   how its body is framed
        truncated         the end comes before the body is complete
    < end             the connection ends in order without another byte
    <: NAME: VALUE    that response has this header, once
    <! NAME           it has none of that name
    <= TEXT           its body is TEXT
    <~ REGEX          its body has a match

In TEXT, \\r \\n \\t \\0 \\xNN \\\\ are bytes and {TEXT*NUMBER} is a repetition.  Each row is sent as its
lines stand, one write for what stands together; then behind another request, in the same write; and
rows of less than BYTEWISE_MAX bytes with each byte in a packet of its own.  All must be answered
the same.
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402

BYTEWISE_MAX = 400
FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "files")
INI = f"""[log]
access = off
[application]
static_path = {FILES}
static_precompressed = on
static_fallback = page.html
static_cache_control = text/html: no-cache
static_max_ranges = 4
"""
PROBE = b"GET /header/X-Probe HTTP/1.1\r\nHost: probe\r\nX-Probe: still here\r\n\r\n"
ALONE, BYTEWISE, BEHIND = "", ", byte by byte", ", behind another request"
WORDS = {"keep", "close", "closes", "http10", "head", "chunked", "length", "until-close",
         "truncated"}


class TableError(Exception):
    pass


def unescape(text):
    """The bytes that a TEXT stands for."""
    text = re.sub(r"\{([^{}]+)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    simple = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}

    def one(match):
        return chr(int(match[1][1:], 16)) if match[1][0] == "x" else simple[match[1]]
    return re.sub(r"\\(x[0-9a-fA-F]{2}|[rnt0\\])", one, text).encode("latin-1")


class Row:
    """One dialogue: steps are ("send", bytes), ("shutdown",), ("end",) or ("response", Expected)."""

    def __init__(self, title, place):
        self.title, self.place = title, place
        self.listener = "default"
        self.whole = False
        self.steps = []

    def size(self):
        return sum(len(step[1]) for step in self.steps if step[0] == "send")

    def add_bytes(self, data):
        if self.steps and self.steps[-1][0] == "send":
            self.steps[-1] = ("send", self.steps[-1][1] + data)
        else:
            self.steps.append(("send", data))

    def expected(self):
        if not self.steps or self.steps[-1][0] != "response":
            raise TableError(f"{self.place}: no response to say that of")
        return self.steps[-1][1]


class Expected:
    def __init__(self, words):
        self.statuses = [int(status) for status in words[0].split("|")]
        self.words = set(words[1:])
        if self.words - WORDS:
            raise TableError(f"unknown {self.words - WORDS}")
        self.headers, self.absent, self.body, self.pattern = [], [], None, None


def add_line(row, line):
    if line.startswith("@ "):
        row.listener = line[2:].strip()
    elif line == "@whole":
        row.whole = True
    elif line == "> shutdown:":
        row.steps.append(("shutdown",))
    elif line.startswith(">. "):
        row.add_bytes(unescape(line[3:]))
    elif line == ">" or line.startswith("> "):
        row.add_bytes(unescape(line[2:]) + b"\r\n")
    elif line == "< end":
        row.steps.append(("end",))
    elif line.startswith("< "):
        row.steps.append(("response", Expected(line[2:].split())))
    elif line.startswith("<: "):
        name, value = line[3:].split(": ", 1)
        row.expected().headers.append((name, unescape(value).decode("latin-1")))
    elif line.startswith("<! "):
        row.expected().absent.append(line[3:].strip())
    elif line == "<=" or line.startswith("<= "):
        row.expected().body = unescape(line[3:])
    elif line.startswith("<~ "):
        row.expected().pattern = line[3:].encode()
    else:
        raise TableError(f"{row.place}: cannot read {line!r}")


def read_table(path):
    """({listener: keys}, [Row], {listener of rows that come first})"""
    listeners, blocks, first = {"default": ""}, [], set()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("@listener "):
                name, keys = line[10:].split(":", 1)
                listeners[name.strip()] = "\n".join(key.strip() for key in keys.split(";"))
            elif line.startswith("@first "):
                first.update(line.split()[1:])
            elif line.startswith("== "):
                blocks.append((line[3:], f"{os.path.basename(path)}:{number}", []))
            elif line and not line.startswith("#"):
                if not blocks:
                    raise TableError(f"{path}:{number}: no row yet")
                blocks[-1][2].append(line)

    rows = []
    for title, place, lines in blocks:
        words = [w for line in lines if line.startswith("% ") for w in line[2:].split()]
        for word in words or [None]:
            row = Row(title if word is None else f"{title}: {word}", place)
            for line in lines:
                if not line.startswith("% "):
                    add_line(row, line if word is None else line.replace("{}", word))
            rows.append(row)
    return listeners, rows, first


def check(condition, text, response):
    if not condition:
        raise AssertionError(f"{text}: {response}")


def check_connection(expected, response):
    """What the Connection header says, given what will happen."""
    said = response.header("Connection")
    if "http10" in expected.words:
        wanted = "Keep-Alive" if "keep" in expected.words else None
    else:
        wanted = "close" if "close" in expected.words else None
    if "closes" not in expected.words:
        check(said == wanted, f"Connection is {said}, not {wanted}", response)


def receive(conn, expected):
    """Read one response and hold it against what is expected."""
    head = "head" in expected.words
    if "truncated" in expected.words:
        try:
            response = conn.response(head)
        except harness.ProtocolError:
            conn.received = b""
            return
        raise AssertionError(f"it should have been truncated: {response}")
    response = conn.response(head, interim=True)
    check(response.status in expected.statuses, f"not {expected.statuses}", response)
    if response.status < 200:
        check(not response.body and not response.all("Content-Length"), "an interim one", response)
        return
    check(len(response.all("Date")) == 1, "one Date", response)
    check_connection(expected, response)
    for word in {"chunked", "length", "until-close"} & expected.words:
        framing = response.framing(head)
        check(framing == word.replace("until-close", "close"), f"framing {framing}", response)
    for name, value in expected.headers:
        check(response.all(name) == [value], f"{name} should be {value!r}", response)
    for name in expected.absent:
        check(not response.all(name), f"no {name}", response)
    if expected.body is not None:
        check(response.body == expected.body, f"body should be {expected.body!r}", response)
    if expected.pattern is not None:
        check(re.search(expected.pattern, response.body), f"body {expected.pattern!r}", response)


def send(conn, data, way):
    if way == BYTEWISE:
        conn.send_bytewise(data)
    else:
        conn.send(data)


def behind_another(steps):
    """The same, with another request and its answer in front."""
    data = PROBE
    if steps[0][0] == "send":
        data += steps[0][1]
        steps = steps[1:]
    answer = Expected(["200"])
    answer.body = b"[still here]"
    return [("send", data), ("response", answer), *steps]


def play(daemon, row, way):
    last = None
    with daemon.connect(row.listener) as conn:
        for step in behind_another(row.steps) if way == BEHIND else row.steps:
            if step[0] == "send":
                send(conn, step[1], way)
            elif step[0] == "shutdown":
                conn.shutdown()
            elif step[0] == "end":
                conn.expect_end()
            else:
                last = step[1]
                receive(conn, last)
        if last is not None and last.words & {"close", "closes", "truncated"}:
            conn.expect_end()
        elif last is not None and "keep" in last.words:
            conn.send(PROBE)
            response = conn.response()
            check(response.body == b"[still here]", "the connection goes on", response)


def ways(row, first):
    """In which ways a row is played."""
    yield ALONE
    if row.listener not in first:
        yield BEHIND
    if not row.whole and row.size() <= BYTEWISE_MAX:
        yield BYTEWISE


def play_all(daemon, rows, first):
    """What failed, as texts."""
    failures = []
    for row in rows:
        for way in ways(row, first):
            try:
                play(daemon, row, way)
            except (AssertionError, OSError) as e:
                failures.append(f"{row.place} {row.title}{way}\n    {type(e).__name__}: {e}")
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+")
    parser.add_argument("-k", default="", help="only rows whose title has this word")
    parser.add_argument("--valgrind", action="store_true", help="the daemon and all its processes")
    args = parser.parse_args()

    passed = failed = 0
    for table in args.tables:
        listeners, rows, first = read_table(table)
        rows = [row for row in rows if args.k in row.title]
        wrapper = harness.VALGRIND if args.valgrind else ()
        try:
            with harness.Daemon(listeners=listeners, ini=INI,
                                wrapper=wrapper) as daemon:
                failures = play_all(daemon, rows, first)
        except AssertionError as e:
            failures = [f"{table}: the daemon: {e}"]
        print("".join(f"FAIL {failure}\n" for failure in failures), end="")
        failed += len(failures)
        passed += sum(len(list(ways(row, first))) for row in rows) - len(failures)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
