"""Goal: a handler that takes its connection over gets every byte that comes behind the request, in order and
once, and its listener goes on counting, draining and closing it.
"""

import socket
import unittest

import harness

ASK = b"GET /%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
UPGRADE = b"Connection: keep-alive, Upgrade\r\nUpgrade: lines\r\n"


def line(conn):
    return conn._until(b"\n")  # pylint: disable=protected-access


def rest(conn):
    """All until the other side closes."""
    while True:
        try:
            data = conn.socket.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        conn.received += data
    taken, conn.received = conn.received, b""
    return taken


class Detach(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(
            ["detach"], tornadod="workers = 1\ndrain_grace = 10ms",
            listeners={"default": "", "small": "max_connections = 2",
                       "one": "max_connections_per_address = 1"})
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.idle = harness.descriptors(cls.daemon.workers()[0])

    def setUp(self):
        self.log = len(self.daemon.log.lines)

    def tearDown(self):
        harness.wait_until(lambda: harness.descriptors(self.daemon.workers()[0]) == self.idle, "a descriptor is left")

    def test_bytes_behind_the_request_are_the_first_that_the_stream_reads(self):
        for path in (b"upgrade", b"late"):
            whole = ASK % (path, UPGRADE) + b"one\ntwo\nthree"
            for cut in range(0, len(whole), 7):
                with self.subTest(path=path, cut=cut), self.daemon.connect() as conn:
                    conn.send(whole[:cut])
                    conn.send(whole[cut:])
                    response = conn.response()
                    self.assertEqual((response.status, response.reason), (101, "Switching Protocols"))
                    self.assertEqual(response.header("Connection"), "Upgrade")
                    self.assertEqual(response.header("Upgrade"), "lines")
                    self.assertEqual(response.header("X-Colour"), "green")
                    self.assertIsNone(response.header("Content-Type"))
                    self.assertEqual([line(conn), line(conn)], [b"ONE", b"TWO"])
                    conn.send(b"!\nquit\n")
                    self.assertEqual(rest(conn), b"THREE!\n")
        self.daemon.wait_log("on_finish of /late", self.log)

    def test_answers_to_requests_before_it_leave_first(self):
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"hello", b"") * 3 + ASK % (b"raw", b"") + b"x\nquit\n")
            for _ in range(3):
                self.assertEqual(conn.response().body, b"hello\n")
            self.assertEqual(rest(conn), b"HELLO\nX\n")

    def test_a_client_that_does_not_read_gets_all_of_it_in_the_end(self):
        text = b"a" * 4000 + b"\n"
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"upgrade", UPGRADE) + text * 15 + b"quit\n")
            self.assertEqual(conn.response().status, 101)
            self.assertEqual(rest(conn), text.upper() * 15)

    def test_the_last_word_is_heard_by_who_still_sends(self):
        lines = b"l" * 999 + b"\n"
        with self.daemon.connect(receive_buffer=4096) as conn:
            conn.send(ASK % (b"upgrade", UPGRADE) + lines * 60 + b"quit\n" + bytes(200000))
            self.daemon.wait_log("101 GET /upgrade", self.log)
            conn.send(bytes(200000))
            self.assertEqual(conn.response().status, 101)
            self.assertEqual(rest(conn), lines.upper() * 60)

    def test_nobody_lingers_for_ever(self):
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"upgrade", UPGRADE) + b"quit\n")
            self.assertEqual(conn.response().status, 101)
            self.assertEqual(rest(conn), b"")
            self.assertGreater(harness.descriptors(self.daemon.workers()[0]), self.idle)
            self.tearDown()

    def test_who_lingers_makes_room_for_others(self):
        with self.daemon.connect("small") as gone, self.daemon.connect("small") as stays:
            for conn in (gone, stays):
                conn.send(ASK % (b"upgrade", UPGRADE))
                self.assertEqual(conn.response().status, 101)
            self.assertEqual(self.status_of("small"), 503)
            gone.send(b"quit\n")
            self.assertEqual(rest(gone), b"")
            self.assertEqual(self.status_of("small"), 101)

    def status_of(self, listener):
        with self.daemon.connect(listener) as conn:
            conn.send(ASK % (b"upgrade", UPGRADE))
            return conn.response().status

    def test_a_client_that_sends_a_body_may_upgrade_too(self):
        with self.daemon.connect() as conn:
            conn.send(b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" + UPGRADE +
                      b"\r\nhelloabc\nquit\n")
            self.assertEqual(conn.response().status, 101)
            self.assertEqual(rest(conn), b"ABC\n")

    def test_who_does_not_ask_for_it_is_not_upgraded(self):
        for version, headers in ((b"1.1", b""), (b"1.1", b"Upgrade: lines\r\n"),
                                 (b"1.0", UPGRADE), (b"1.1", UPGRADE.replace(b"lines", b"chess"))):
            with self.subTest(headers=headers), self.daemon.connect() as conn:
                conn.send(b"GET /upgrade HTTP/%s\r\nHost: x\r\n%s\r\n" % (version, headers))
                self.assertEqual(conn.response().status, 426)

    def test_it_goes_with_the_request_however_that_ends(self):
        for path, said in ((b"raising", b"BEFORE\n"), (b"careless", b"BYE\n"),
                           (b"destroying", b"BYE\n"), (b"twice", b"ONCE\n")):
            with self.subTest(path=path), self.daemon.connect() as conn:
                conn.send(ASK % (path, b""))
                self.assertEqual(rest(conn), said)
                self.daemon.wait_log(f"on_finish of /{path.decode()}", self.log)
        self.daemon.wait_log("after the stream was there", self.log)
        self.daemon.wait_log("td_detach: the response has ended", self.log)

    def test_what_was_spawned_keeps_the_request_and_so_the_stream(self):
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"spawned", b"") + b"x\n")
            self.assertEqual(line(conn), b"X")
            self.daemon.wait_log("on_finish of /spawned", self.log)
            conn.send(b"y\nquit\n")
            self.assertEqual(rest(conn), b"Y\n")

    def test_a_client_that_has_left_is_a_null(self):
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"late", UPGRADE))
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.daemon.wait_log("nobody to talk to|talk ends", self.log)

    def test_misuse_is_told_and_harmless(self):
        with self.daemon.connect() as conn:
            conn.send(ASK % (b"misuse", b""))
            self.assertEqual(conn.response().body, b"still here\n")
            conn.send(ASK % (b"misuse?late=1", b""))
            self.assertEqual(conn.response().body, b"begun\n")
        for told in ("not in a method of the handler", "that is no value of Upgrade",
                     "the response has begun", "the response has ended"):
            self.daemon.wait_log("td_detach: " + told, self.log)
        with self.daemon.connect() as conn:
            conn.send(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
            self.daemon.wait_log("refused with a body", self.log)
            conn.send(b"lox\nquit\n")
            self.assertEqual(rest(conn), b"X\n")

    def test_it_counts_as_a_connection_of_its_listener(self):
        for listener, limit in (("small", 2), ("one", 1)):
            with self.subTest(listener=listener):
                held = [self.daemon.connect(listener) for _ in range(limit)]
                for conn in held:
                    conn.send(ASK % (b"raw", b""))
                    self.assertEqual(line(conn), b"HELLO")
                self.assertEqual(self.daemon.get("/hello", listener).status, 503)
                for conn in held:
                    conn.send(b"quit\n")
                    rest(conn)
                    conn.socket.close()
                harness.wait_until(lambda: self.daemon.get("/hello", listener).status == 200, "it still counts")

    def test_the_access_log_has_it_when_it_is_detached(self):
        for path, headers, status in ((b"upgrade", UPGRADE, 101), (b"raw", b"", 299)):
            with self.daemon.connect() as conn:
                conn.send(ASK % (path, headers))
                conn.socket.recv(1)
                self.daemon.wait_log(f"access. {status} GET /{path.decode()} ", self.log)
                conn.send(b"quit\n")
                rest(conn)


class Drain(unittest.TestCase):
    def test_a_stream_that_waits_for_something_new_is_told_and_others_go_on(self):
        with harness.Daemon(["detach"], tornadod="workers = 1\ndrain_grace = 10ms") as daemon:
            idle, busy = daemon.connect(), daemon.connect()
            for conn in (idle, busy):
                conn.send(ASK % (b"raw", b""))
                self.assertEqual(line(conn), b"HELLO")
            busy.send(b"half a ")
            busy.send(b"line, and another\nhalf a ")
            self.assertEqual(line(busy), b"HALF A LINE, AND ANOTHER")
            daemon.reload()
            self.assertEqual(rest(idle), b"GOODBYE\n")
            busy.send(b"line\n")
            self.assertEqual(rest(busy), b"HALF A LINE\nGOODBYE\n")
            idle.socket.close()
            busy.socket.close()

    def test_who_stays_is_closed_when_the_time_is_over(self):
        with harness.Daemon(["detach"], tornadod="workers = 1\ndrain_grace = 10ms\n"
                                                 "drain_timeout = 300ms") as daemon:
            with daemon.connect() as conn:
                conn.send(ASK % (b"stubborn", b""))
                self.assertEqual(line(conn), b"READY")
                daemon.reload()
                self.assertEqual(rest(conn), b"I STAY\n")
            daemon.wait_log("on_finish of /stubborn")
            daemon.wait_log("the time to drain is over: 1 connections closed")


if __name__ == "__main__":
    unittest.main()
