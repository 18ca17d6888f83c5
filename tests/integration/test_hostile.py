"""Goal: whatever clients and handlers do to each other, each request ends once and nothing grows."""

import gzip
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import tempfile
import time
import unittest

import attacks
import harness
from test_fetch import Upstream, answer

GET = "GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def get(target):
    return (GET % target).encode()


def reset(conn):
    """Closes with a RST, so that the server gets an error where it may expect an end."""
    conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def counts(daemon):
    """How many handlers have begun, have finished, have finished twice, have lost their client."""
    return [int(word) for word in daemon.get("/counts").body.split()]


def wait_for_counts(daemon, begun, finished, closed=None):
    deadline = time.monotonic() + harness.DEADLINE
    while True:
        seen = counts(daemon)
        if seen[:3] == [begun, finished, 0] and closed in (None, seen[3]):
            return
        assert time.monotonic() < deadline, f"{seen}, not {begun} begun, {finished} finished"
        time.sleep(0.005)


def wait_for_begun(daemon, begun):
    deadline = time.monotonic() + harness.DEADLINE
    while counts(daemon)[0] < begun:
        assert time.monotonic() < deadline, f"{begun} handlers have not begun"


def resident(pid):
    """Bytes of memory that are the process's own."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = file.read().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")


class Ends(unittest.TestCase):
    """on_finish comes once, whoever ends the request."""

    def test_client_leaves_while_a_handler_works(self):
        targets = ["/wait?ms=100", "/cancelled?ms=60000", "/asynchronous?ms=100",
                   "/asynchronous-stream?ms=100", "/stream?n=20&ms=20", "/slow-error?ms=100",
                   "/raise-after-flush?ms=100", "/work-on?ms=100", "/slow-finish?ms=100",
                   "/finish-twice?ms=100", "/stream?n=100000&size=65536"]
        with harness.Daemon(["hostile"]) as daemon:
            begun = 0
            for leave in (lambda conn: conn.close(), reset, lambda conn: conn.shutdown()):
                conns = []
                for target in targets:
                    conn = daemon.connect()
                    conn.send(get(target))
                    conns.append(conn)
                    begun += 1
                wait_for_begun(daemon, begun)
                for conn in conns:
                    leave(conn)
                if leave is reset:
                    wait_for_counts(daemon, begun, begun)
                for conn in conns:
                    conn.close()
                wait_for_counts(daemon, begun, begun)

    def test_handler_breaks_its_word(self):
        with harness.Daemon(["hostile"]) as daemon:
            targets = {
                "/raise": 503, "/slow-error": 503, "/never": 504, "/too-slow?ms=60000": 504,
                "/raise-after-finish": 200, "/finish-twice": 200, "/work-on": 200,
                "/wrong-length?n=5": 200, "/wrong-length?n=5&flush=1": 200,
                "/stream?n=3&ms=40": 200,
            }
            with daemon.connect() as conn:
                for target, status in targets.items():
                    self.assertEqual(conn.request("GET", target).status, status, target)
            for target in ("/raise-after-flush", "/wrong-length?n=4", "/wrong-length?n=6",
                           "/wrong-length?n=4&flush=1", "/wrong-length?n=6&flush=1"):
                with self.subTest(target), daemon.connect() as conn:
                    conn.send(get(target) + get("/counts"))
                    with self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                        conn.response()
                        conn.response()
            wait_for_counts(daemon, len(targets) + 5, len(targets) + 5)

    def test_time_is_up_while_the_body_is_still_coming_or_answers_wait(self):
        with harness.Daemon(["hostile"]) as daemon:
            with daemon.connect() as conn:
                conn.send((LENGTH % ("/too-slow?ms=60000", 3)).encode() + b"ab")
                time.sleep(0.1)  # request_timeout is 50 ms, and does not count yet
                conn.send(b"c")
                self.assertEqual(conn.response().status, 504)
                conn.send(get("/too-slow?ms=60000") + get("/counts"))
                self.assertEqual([conn.response().status for _ in range(2)], [504, 200])
            wait_for_counts(daemon, 2, 2)

    def test_drain_while_requests_are_in_every_phase(self):
        with harness.Daemon(["hostile"], tornadod="workers = 1\ndrain_timeout = 20s") as daemon:
            phases = {
                b"GET /wa": get("/wait")[7:],
                (LENGTH % ("/body", 3)).encode() + b"a": b"bc",
                (CHUNKED % "/body").encode() + b"3\r\nab": b"c\r\n0\r\n\r\n",
                get("/wait?ms=300"): b"",
                get("/asynchronous?ms=300"): b"",
                get("/stream?n=10&ms=30"): b"",
                get("/stream?n=200&size=65536"): b"",
                (LENGTH % ("/nowhere", 60000)).encode(): b"x" * 60000,
            }
            conns = []
            for sent in phases:
                conns.append(daemon.connect())
                conns[-1].send(sent)
            daemon.get("/counts")
            os.kill(daemon.master, signal.SIGTERM)
            daemon.wait_log("stopping")
            for conn, (sent, rest) in zip(conns, phases.items()):
                conn.send(rest)
                response = conn.response()
                self.assertIn(response.status, (200, 404), sent)
                conn.expect_end()
                conn.close()
            self.assertEqual(daemon.wait(), 0)


class Limits(unittest.TestCase):
    def test_connections_beyond_the_limits_are_told_so(self):
        listeners = {"few": "max_connections = 2\ndefer_accept = off",
                     "each": "max_connections_per_address = 2"}
        with harness.Daemon(["conformance"], listeners=listeners) as daemon:
            for name in listeners:
                kept = [daemon.connect(name) for _ in range(2)]
                for conn in kept:
                    self.assertEqual(conn.request("GET", "/").status, 200)
                for _ in range(20):
                    with daemon.connect(name) as conn:
                        conn.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 4000 + b"\r\n\r\n")
                        response = conn.response()
                        self.assertEqual(response.status, 503)
                        self.assertEqual(response.header("Connection"), "close")
                        conn.expect_end()
                        if name == "each":  # the request was there when it was accepted: no reset
                            error = conn.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                            self.assertEqual(error, 0)
                for conn in kept:
                    self.assertEqual(conn.request("GET", "/").status, 200)
                    conn.close()
            with daemon.connect("few") as half, daemon.connect("few") as other:
                half.send(b"GET /")
                self.assertEqual(other.request("GET", "/").status, 200)
                with daemon.connect("few") as third:
                    self.assertEqual(third.request("GET", "/").status, 200)
                half.expect_end()

    def test_answer_to_an_upload_that_nobody_wants_is_not_lost(self):
        with harness.Daemon(["conformance"]) as daemon:
            for line in ("", "Connection: close\r\n"):
                with self.subTest(line), daemon.connect() as conn:
                    head = LENGTH.replace("Host: x\r\n", "Host: x\r\n" + line) % ("/nowhere", 10**6)
                    conn.send(head.encode())
                    for _ in range(50):
                        conn.send(b"x" * 20000)
                    self.assertEqual(conn.response().status, 404)
                    conn.expect_end()

    def test_slow_readers_cost_little(self):
        with harness.Daemon(["hostile"]) as daemon:
            conns = [daemon.connect() for _ in range(30)]
            before = resident(daemon.workers()[0])
            for conn in conns:
                conn.send(get("/stream?n=1000&size=65536"))
            wait_for_begun(daemon, len(conns))
            grown = resident(daemon.workers()[0]) - before
            self.assertLess(grown, (192 if harness.SANITIZED else 64) * 1024 * 1024)  # of 640
            for conn in conns:
                conn.close()
            wait_for_counts(daemon, len(conns), len(conns))

    def test_others_are_served_beside_greedy_clients(self):
        with harness.Daemon(["conformance", "hostile"]) as daemon:
            before = resident(daemon.workers()[0])
            greedy = [Greedy(daemon, get("/plaintext") * 2000, b""),
                      Greedy(daemon, b"1000\r\n" + b"x" * 4096 + b"\r\n",
                             (CHUNKED % "/nowhere").encode()),
                      Greedy(daemon, b"X: y\r\n" * 1000, b"GET / HTTP/1.1\r\nHost: x\r\n")]
            end = time.monotonic() + 1
            served = 0
            while time.monotonic() < end:
                for one in greedy:
                    one.work()
                self.assertEqual(daemon.get("/plaintext").status, 200)
                served += 1
            self.assertGreater(served, 20)
            grown = resident(daemon.workers()[0]) - before
            self.assertLess(grown, (64 if harness.SANITIZED else 24) * 1024 * 1024)
            for one in greedy:
                one.conn.close()


class Toil(unittest.TestCase):
    """However long a worker works for one client, others have their turns in between."""

    # What one request can make it do without a pause; before there were pauses each failed.
    LONG = ("fields-raised", "ampersands-raised", "parts-raised", "part-lines-raised",
            "zip-bomb-raised", "json-raised", "listing", "page")

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)
        attacks.make_files(self.folder)
        self.attacks = attacks.make()
        self.daemon = harness.Daemon(["attacks"], ini=attacks.ini(self.folder),
                                     listeners={"default": attacks.LIMITS})
        self.daemon.install("attacks", "raised")

    def test_each_attack_gets_its_answer(self):
        with self.daemon as daemon:
            for name, attack in self.attacks.items():
                attacker = attacks.Attacker(daemon.addresses["default"], attack, self.folder)
                self.assertIn(attacker.once(), (*attack.statuses, 0), name)
                self.assertEqual(daemon.get("/small").status, 200)

    def longest_wait(self, daemon, attack):
        """The longest time that another client waits, as a share of the time that the attack takes."""
        waits = []
        with daemon.connect() as other, daemon.connect() as attacker:
            attacker.send(attack.request)
            begin = last = time.monotonic()
            while not select.select([attacker.socket], [], [], 0)[0]:
                self.assertEqual(other.request("GET", "/small").status, 200)
                waits.append(time.monotonic() - last)
                last += waits[-1]
            return max(waits, default=0) / (last - begin or 1)

    def test_others_have_their_turns(self):
        with self.daemon as daemon:
            for name in self.LONG:
                shares = [self.longest_wait(daemon, self.attacks[name]) for _ in range(3)]
                print(f"INFO {name}: others waited for {sorted(shares)[1]:.0%} of its time at most")
                self.assertLess(sorted(shares)[1], 0.5, name)


class Accounts(unittest.TestCase):
    """What is counted as taken is counted as given back, wherever a client breaks off."""

    INI = ("[application:default]\ncompress_response = on\ndecompress_request = on\nmax_body_size = 8m\n"
           "[handler:gateway]\nmount = /gateway\ntimeout = 2s\nmax_fails = 0\nupstreams = %s\n"
           + "".join(f"[handler:{name}]\nmount = /{name}\n" for name in ("hostile", "streams", "output", "bodies")))

    def requests(self):
        body, parts = os.urandom(300000), attacks.multipart([attacks.UPLOAD + os.urandom(30000) + b"\r\n"] * 9)
        packed = "Content-Encoding: gzip\r\n"
        bodies = (*(("/gateway/", body[:size], "") for size in range(1000, 9000, 1000)), ("/streams/pull", body, ""), ("/streams/whole", body, ""), ("/bodies/mirror", body, ""),
                  ("/gateway/", body, ""), ("/hostile/body", body, ""),
                  ("/streams/form", parts, f"Content-Type: {attacks.MULTIPART}\r\n"),
                  *((target, gzip.compress(body), packed)
                    for target in ("/streams/pull", "/streams/whole", "/gateway/")))
        for target, sent, headers in bodies:
            yield (f"POST {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(sent)}\r\n\r\n").encode() + sent
            yield ((f"POST {target} HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{len(sent):x}\r\n")
                   .encode() + sent + b"\r\n0\r\n\r\n")
        for target in ("/output/whole?lines=20000", "/output/stream?flushes=100&lines=100", "/gateway/",
                       "/hostile/stream?n=100&size=65536", "/hostile/wait?ms=20", "/hostile/asynchronous?ms=20"):
            yield (f"GET {target} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: zstd\r\n\r\n").encode()

    def break_off(self, chance, conn, request):
        """Sends some of it, reads some of the answer, and goes."""
        try:
            conn.socket.settimeout(chance.choice((0.005, 0.05)))
            conn.send(request[:chance.choice((len(request), chance.randrange(len(request))))])
            for _ in range(chance.choice((0, 1, 20))):
                conn.socket.recv(chance.choice((10, 65536)))
        except OSError:
            pass
        (reset if chance.random() < 0.5 else harness.Connection.close)(conn)

    def test_nothing_is_held_for_nobody(self):
        chance, large = random.Random(seed := random.randrange(1 << 30)), answer(bytes(700000))

        def upstream_answers(upstream, peer, file, head):
            if chance.random() < 0.5 and b"Content-Length" in head:
                upstream.body_of(file, head)
            peer.sendall(large[:chance.choice((len(large), len(large), 100000))])
            return False

        requests = list(self.requests())
        with Upstream(upstream_answers) as upstream, \
                harness.Daemon(["hostile", "streams", "output", "bodies", "gateway", "status"],
                               ini=self.INI % upstream.name) as daemon:
            for _ in range(300):
                self.break_off(chance, daemon.connect(), chance.choice(requests))

            def is_free():
                (worker,) = json.loads(daemon.get("/status.json").body)["workers"]
                held = worker["memory_by_kind"]
                return (worker["connections"] == 1 and worker["client_requests"] == 0 and
                        not any(held[kind] for kind in ("bodies", "compressors", "responses")))

            harness.wait_until(is_free, f"something is held, seed {seed}")


class Greedy:
    """Sends the same for ever, reads what comes, and begins anew when it is thrown out."""

    def __init__(self, daemon, bytes_, first):
        self.daemon, self.bytes, self.first = daemon, bytes_, first
        self.conn = None
        self.begin()

    def begin(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = self.daemon.connect()
        self.conn.send(self.first)
        self.conn.socket.setblocking(False)
        self.left = self.bytes

    def work(self):
        try:
            for _ in range(20):
                self.left = self.left[self.conn.socket.send(self.left):] or self.bytes
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.begin()
        try:
            while self.conn.socket.recv(1 << 20):
                pass
        except BlockingIOError:
            return
        except ConnectionResetError:
            pass
        self.begin()


class Order(unittest.TestCase):
    """Answers come whole and in order, however requests are cut and answers are read."""

    LAST = get("/wait?ms=2").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    ANSWERS = {
        LAST: b"waited",
        get("/asynchronous"): b"called back",
        get("/asynchronous-stream?n=20"): b"0123456789" * 20,
        get("/stream?n=4&size=7000&ms=1"): b"\0" * 28000,
        get("/stream?n=4&size=65536"): b"\0" * 4 * 65536,
        get("/work-on"): b"at once",
        get("/raise-after-finish"): b"done",
        get("/finish-twice"): b"",
        get("/slow-error"): b"503: sorry",
        (LENGTH % ("/body", 5000)).encode() + b"x" * 5000: b"5000",
        (LENGTH % ("/wait", 90000)).encode() + b"x" * 90000: b"90000",
        (CHUNKED % "/body").encode() + b"5\r\nhello\r\n" * 2000 + b"0\r\n\r\n": b"10000",
    }

    def test_of_slow_readers_who_pipeline(self):
        seed = random.randrange(1 << 32)
        print(f"INFO seed {seed}", flush=True)
        rng = random.Random(seed)
        ini = "max_pipelined = 3\nwrite_high_water = 64k"
        with harness.Daemon(["hostile"], listeners={"default": ini}) as daemon:
            others = list(self.ANSWERS)[1:]
            clients = [Reader(daemon, [*rng.choices(others, k=20), self.LAST], rng)
                       for _ in range(30)]
            waiting = list(clients)
            while waiting:
                client = rng.choice(waiting)
                if client.work():
                    waiting.remove(client)
            for client in clients:
                for request in client.asked:
                    self.assertEqual(client.conn.response().body, self.ANSWERS[request], request)
                self.assertEqual(client.conn.received, b"")
                client.conn.close()


class Reader:
    """Sends some requests in pieces and reads all answers in pieces."""

    def __init__(self, daemon, asked, rng):
        self.conn = daemon.connect()
        room = rng.choice([20000, 200000])
        self.conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.conn.socket.setblocking(False)
        self.asked = asked
        self.left = b"".join(asked)
        self.rng = rng
        self.pieces = []

    def work(self):
        """True when the server has closed."""
        size = self.rng.choice([100, 10000, 100000])
        try:
            if self.left and self.rng.random() < 0.5:
                self.left = self.left[self.conn.socket.send(self.left[:size]):]
            else:
                piece = self.conn.socket.recv(size)
                self.pieces.append(piece)
                self.conn.received = b"" if piece else b"".join(self.pieces)
                return not piece
        except BlockingIOError:
            time.sleep(0.0002)
        return False


class Chaos(unittest.TestCase):
    """Many clients that pipeline, cut, read slowly and leave, at random; the seed is printed."""

    SECONDS = 3
    TARGETS = ["/wait", "/cancelled?ms=5", "/asynchronous", "/asynchronous-stream?n=50",
               "/stream?n=5&ms=1", "/stream?n=60&size=65536", "/slow-error", "/slow-finish",
               "/raise", "/raise-after-flush", "/raise-after-finish", "/finish-twice",
               "/wrong-length?n=4", "/wrong-length?n=6&flush=1", "/work-on?ms=3", "/counts",
               "/too-slow?ms=70", "/nowhere"]

    def message(self, rng):
        kind = rng.random()
        if kind < 0.6:
            return get(rng.choice(self.TARGETS))
        body = b"b" * rng.choice([0, 1, 100, 5000, 90000])
        target = rng.choice(["/body", "/wait", "/nowhere", "/raise", "/too-slow?ms=70"])
        expect = "Expect: 100-continue\r\n" if rng.random() < 0.2 else ""
        if kind < 0.75:
            head = (LENGTH % (target, len(body))).replace("Host: x\r\n", "Host: x\r\n" + expect)
            return head.encode() + body
        if kind < 0.9:
            head = (CHUNKED % target).replace("Host: x\r\n", "Host: x\r\n" + expect).encode()
            for at in range(0, len(body), 3000):
                piece = body[at:at + 3000]
                head += b"%x;a=b\r\n%s\r\n" % (len(piece), piece)
            return head + b"0\r\nT: v\r\n\r\n"
        broken = bytearray(get(rng.choice(self.TARGETS)))
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        return bytes(broken)

    def test_every_handler_ends_once(self):
        seed = random.randrange(1 << 32)
        print(f"INFO seed {seed}", flush=True)
        rng = random.Random(seed)
        ini = "header_timeout = 200ms\nkeepalive_timeout = 300ms\nbody_timeout = 300ms\n" \
              "max_connections = 150\nmax_pipelined = 4\n"
        with harness.Daemon(["hostile"], listeners={"default": ini}) as daemon:
            end = time.monotonic() + self.SECONDS
            clients = []
            while time.monotonic() < end:
                if len(clients) < 100:
                    clients.append(self.begin(daemon, rng))
                client = rng.choice(clients)
                if not self.act(client, rng):
                    client[0].close()
                    clients.remove(client)
            for conn, _ in clients:
                conn.close()
            time.sleep(0.3)
            begun, finished, twice, _ = counts(daemon)
            deadline = time.monotonic() + harness.DEADLINE
            while finished < begun and time.monotonic() < deadline:
                time.sleep(0.01)
                begun, finished, twice, _ = counts(daemon)
            self.assertEqual((finished, twice), (begun, 0))
            self.assertGreater(begun, 100)

    def begin(self, daemon, rng):
        conn = daemon.connect()
        if rng.random() < 0.3:
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        conn.socket.setblocking(False)
        return conn, bytearray(b"".join(self.message(rng) for _ in range(rng.randrange(1, 12))))

    def act(self, client, rng):
        """One thing that a client does; False: it has left."""
        conn, left = client
        what = rng.random()
        try:
            if what < 0.5 and left:
                size = rng.choice([1, 10, 1000, 100000])
                del left[:conn.socket.send(left[:size])]
            elif what < 0.95:
                return bool(conn.socket.recv(rng.choice([10, 1000, 100000])))
            elif what < 0.97:
                conn.shutdown()
            elif what < 0.985:
                reset(conn)
                return False
            else:
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


if __name__ == "__main__":
    unittest.main()
