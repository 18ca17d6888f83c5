"""Goal: whatever is pipelined, and in whatever pieces it comes, each request gets its own answer,
and nothing is served behind the one that ends the connection.
"""

import contextlib
import random
import time
import unittest
import zlib

import harness

SECONDS = 3
LAST = b"GET /plaintext HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
DRAINED_MAX = 65536  # bytes of a body that nobody wants, with a length: the connection goes on
LENGTH, CODING = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
BROKEN = [b"GET / HTTP/1.1\r\n\r\n",
          b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
          b"GET / HTTP/1.1\nHost: x\n\n",
          b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
          b"GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
          b"POST /pull HTTP/1.1\r\nHost: x\r\n" + LENGTH + LENGTH + b"\r\nhello",
          b"POST /pull HTTP/1.1\r\nHost: x\r\n" + LENGTH + CODING + b"\r\n0\r\n\r\n",
          b"PUT /whole HTTP/1.1\r\nHost: x\r\n" + CODING + b"\r\n5\r\nhelloX\r\n0\r\n\r\n",
          b"PUT /whole HTTP/1.1\r\nHost: x\r\n" + CODING + b"\r\n5;\r\nhello\r\n0\r\n\r\n"]


class Answer:
    def __init__(self, *statuses, body=None, head=False):
        self.statuses, self.body, self.head = statuses, body, head


def chunked(rng, body):
    """The body in the chunked coding, in one of its many ways."""
    pieces, at = [], 0
    while at < len(body):
        piece = body[at:at + rng.choice([1, 2, 7, 100, 5000, 70000])]
        size = (b"%x" % len(piece)).zfill(rng.choice([1, 1, 8, 16]))
        extension = rng.choice([b"", b"", b";a", b' ; a = "x\\"y;"', b";a=b;c=d"])
        pieces.append(size + (extension if at < 1000 else b"") + b"\r\n" + piece + b"\r\n")
        at += len(piece)
    trailers = rng.choice([b"", b"", b"T: v\r\nContent-Length: 5\r\n"])
    return b"".join(pieces) + rng.choice([b"0", b"000", b"0;last"]) + b"\r\n" + trailers + b"\r\n"


def without_body(rng):
    return rng.choice([
        (b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(200, body=b"Hello, World!")]),
        (b"\r\nGET /flush HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(200, body=b"one two three")]),
        (b"HEAD /plaintext HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(200, body=b"", head=True)]),
        (b"HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(404, body=b"", head=True)]),
        (b"GET /status/204 HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(204, body=b"")]),
        (b"GET /status/205/body HTTP/1.1\r\nHost: x\r\n\r\n", [Answer(205, body=b"")]),
        (b"BREW / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", [Answer(501)])])


def with_body(rng):
    """The bytes, what is answered, and whether that ends the connection."""
    body = bytes(rng.choices(b"\r\n0aGET /:;HTTP1.", k=rng.choice([1, 5, 100, 3000, 66000])))
    is_chunked, expects = rng.random() < 0.5, rng.random() < 0.2
    expect = b"Expect: 100-continue\r\n" if expects else b""
    framed = (b"Transfer-Encoding: chunked\r\n\r\n" + chunked(rng, body) if is_chunked
              else b"Content-Length: %d\r\n\r\n" % len(body) + body)
    line, unwanted = rng.choice([(b"POST /pull", 0), (b"POST /push", 0), (b"PUT /whole", 0),
                                 (b"PUT /refuse", 403), (b"POST /nowhere", 404),
                                 (b"POST /plaintext", 405)])
    data = line + b" HTTP/1.1\r\nHost: x\r\n" + expect + framed
    if unwanted:
        return data, [Answer(unwanted)], is_chunked or expects or len(body) > DRAINED_MAX
    sums = b"%d %08x\n" % (len(body), zlib.adler32(body))
    if line == b"PUT /whole":
        sums = b"[] [] [%s] " % (b"" if is_chunked else b"%d" % len(body)) + sums
    return data, [Answer(100)] * expects + [Answer(200, body=sums)], False


def message(rng):
    what = rng.random()
    if what < 0.03:
        return rng.choice(BROKEN), [Answer(400, 421, 505)], True
    return with_body(rng) if what < 0.6 else (*without_body(rng), False)


def dialogue(rng):
    """What a client sends, and what it has to be answered until the end."""
    data, answers, ended = b"", [], False
    for _ in range(rng.randrange(1, 12)):
        more, its, ends = message(rng)
        data += more
        answers += [] if ended else its
        ended = ended or ends
    return (data, answers) if ended else (data + LAST, answers + [Answer(200)])


def send(conn, data, rng):
    ways = [[len(data)], [1, 10, 500, 3000, 40000]]
    sizes = rng.choice(ways if len(data) > 2000 else [*ways, [1]])
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may end before that
        while data:
            size = rng.choice(sizes)
            conn.send(data[:size])
            data = data[size:]
            if rng.random() < 0.02:
                time.sleep(0.0005)  # what was sent is a packet of its own, then


class Pipelining(unittest.TestCase):
    def test_each_request_has_its_own_answer(self):
        seed = random.randrange(1 << 32)
        print(f"INFO seed {seed}", flush=True)
        rng = random.Random(seed)
        with harness.Daemon(["conformance", "streams"],
                            listeners={"default": "max_pipelined = 4"}) as daemon:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                data, answers = dialogue(rng)
                with self.subTest(data=data[:2000], len=len(data)), daemon.connect() as conn:
                    send(conn, data, rng)
                    for answer in answers:
                        response = conn.response(answer.head, interim=True)
                        self.assertIn(response.status, answer.statuses)
                        if answer.body is not None:
                            self.assertEqual(response.body, answer.body)
                    conn.expect_end()

    def test_what_comes_behind_close_costs_no_answer(self):
        """A socket that is closed over unread bytes drops what it has not sent."""
        with harness.Daemon(["faults"]) as daemon:
            for first in ("1.1\r\nConnection: close", "1.0"):
                for behind in (b"\r\n", LAST, bytes(70000)):
                    with self.subTest(first, behind=len(behind)), \
                            daemon.connect(receive_buffer=65536) as conn:
                        conn.send(f"GET /lump HTTP/{first}\r\nHost: x\r\n\r\n".encode())
                        conn.received = conn.socket.recv(1)  # the answer is on its way
                        conn.send(behind)
                        self.assertEqual(len(conn.response().body), 10 << 20)
                        conn.expect_end()


if __name__ == "__main__":
    unittest.main()
