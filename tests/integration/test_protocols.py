"""Goal: a handler's own protocol has a coroutine for each connection, and the listener keeps its promises: limits,
time-outs, drains, and blame where a handler crashes.
"""

import contextlib
import time
import unittest

import harness


def line(conn):
    return conn._until(b"\n")  # pylint: disable=protected-access


def rest(conn):
    while conn._receive():  # pylint: disable=protected-access
        pass
    taken, conn.received = conn.received, b""
    return taken


class Protocol(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = harness.Daemon(
            ["lines", "hello"], ini="[handler:lines]\n[handler:second]\nfile = lines.so\ngreeting = Welcome\n",
            listeners={"default": "", "lines": "protocol = lines", "second": "protocol = second",
                       "small": "protocol = lines\nmax_connections = 2",
                       "one": "protocol = lines\nmax_connections_per_address = 1",
                       "short": "protocol = lines\nidle_timeout = 100ms"})
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.idle = cls.descriptors()

    @classmethod
    def descriptors(cls):
        return harness.descriptors(cls.daemon.workers()[0])

    def setUp(self):
        self.log = len(self.daemon.log.lines)

    def tearDown(self):
        harness.wait_until(lambda: self.descriptors() == self.idle, "a descriptor is left")

    def test_the_server_may_speak_first_and_each_instance_has_its_settings(self):
        for listener, greeting in (("lines", b"Hello"), ("second", b"Welcome")):
            with self.daemon.connect(listener) as conn:
                self.assertRegex(line(conn), greeting + rb" 127\.0\.0\.1, number \d+")

    def test_lines_come_back_however_they_are_cut(self):
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"one\ntwo\nthr")
            self.assertEqual([line(conn), line(conn)], [b"one", b"two"])
            conn.send(b"ee\nquit\n")
            self.assertEqual(rest(conn), b"three\nbye\n")
        self.daemon.wait_log(r"worker 0 lines\] deferred for 127.0.0.1", self.log)

    def test_many_at_a_time_do_not_wait_for_each_other(self):
        conns = [self.daemon.connect("lines") for _ in range(200)]
        for number, conn in enumerate(conns):
            line(conn)
            conn.send(b"%d\n" % number)
        for number, conn in reversed(list(enumerate(conns))):
            self.assertEqual(line(conn), b"%d" % number)
            conn.socket.close()
        self.assertEqual(self.daemon.get("/hello/x").status, 200)

    def test_what_was_written_is_sent_when_it_returns(self):
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"block\n")
            self.assertEqual(len(rest(conn)), 65536)

    def test_its_stream_may_be_destroyed_before_it_returns(self):
        worker = self.daemon.workers()[0]
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"destroy\n")
            self.assertEqual(rest(conn), b"")
        self.daemon.wait_log("deferred for", self.log)
        self.assertEqual(self.daemon.workers()[0], worker)

    def test_the_last_word_is_heard_by_who_still_sends(self):
        """Closed at once, bytes that nobody has read would make the system answer with a reset."""
        with self.daemon.connect("lines", receive_buffer=4096) as conn:
            line(conn)
            conn.send(b"block\n" + bytes(200000))
            self.daemon.wait_log("deferred for", self.log)
            conn.send(bytes(200000))
            self.assertEqual(len(rest(conn)), 65536)

    def test_nobody_lingers_for_ever(self):
        began = time.monotonic()
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"quit\n")
            self.assertEqual(rest(conn), b"bye\n")
            harness.wait_until(lambda: self.descriptors() == self.idle, "a descriptor is left")
        self.assertGreater(time.monotonic() - began, 1.9)
        with self.daemon.connect("lines") as conn, self.assertRaises(OSError):
            line(conn)
            conn.send(b"quit\n")
            conn.send(bytes(64 << 20))

    def test_who_lingers_makes_room_for_others(self):
        for listener, limit in (("small", 2), ("one", 1)):
            with contextlib.ExitStack() as stack:
                for _ in range(limit + 5):
                    conn = stack.enter_context(self.daemon.connect(listener))
                    self.assertIn(b"Hello", line(conn))
                    conn.send(b"quit\n")
                    self.assertEqual(rest(conn), b"bye\n")

    def test_who_raises_is_named_and_closed(self):
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"raise\n")
            self.assertEqual(rest(conn), b"")
        self.daemon.wait_log(r"worker 0 lines\] \(127.0.0.1\): number 17", self.log)
        self.daemon.wait_log("deferred for", self.log)

    def test_a_callback_that_fails_is_logged_and_the_connection_goes_on(self):
        with self.daemon.connect("lines") as conn:
            line(conn)
            conn.send(b"callback\n")
            self.assertEqual(line(conn), b"callback")
            self.daemon.wait_log(r"worker 0 lines\] .*td_add_callback", self.log)
            conn.send(b"quit\n")
            self.assertEqual(rest(conn), b"bye\n")

    def test_who_is_too_many_is_closed_at_once(self):
        for listener, limit, name in (("small", 2, "max_connections"),
                                      ("one", 1, "max_connections_per_address")):
            held = [self.daemon.connect(listener) for _ in range(limit)]
            for conn in held:
                line(conn)
            with self.daemon.connect(listener) as conn:
                self.assertEqual(rest(conn), b"")
            self.daemon.wait_log(f"listener {listener}: closed to 127.0.0.1: {name}", self.log)
            for conn in held:
                conn.send(b"quit\n")
                rest(conn)
                conn.socket.close()
            with self.daemon.connect(listener) as conn:
                self.assertIn(b"Hello", line(conn))

    def test_who_says_nothing_for_idle_timeout_is_let_go(self):
        with self.daemon.connect("short") as conn:
            line(conn)
            self.assertEqual(rest(conn), b"the time is up\n")


class Ends(unittest.TestCase):
    def test_a_drain_is_told_and_who_does_not_end_is_cancelled(self):
        with harness.Daemon(["lines"], listeners={"lines": "protocol = lines"},
                            tornadod="workers = 1\ndrain_timeout = 300ms") as daemon:
            idle, asleep = daemon.connect("lines"), daemon.connect("lines")
            for conn in (idle, asleep):
                line(conn)
            asleep.send(b"sleep\n")
            daemon.reload()
            self.assertEqual(rest(idle), b"the worker is leaving\n")
            self.assertEqual(rest(asleep), b"")
            daemon.wait_log("the time to drain is over: [12] connections closed")  # the other one may linger
            harness.wait_until(lambda: daemon.log.text().count("deferred for") == 2, "not unwound")
            with daemon.connect("lines") as conn:
                self.assertIn(b"number 1", line(conn))
            idle.socket.close()
            asleep.socket.close()

    def test_who_lingers_does_not_hold_a_drain_for_longer_than_its_time(self):
        with harness.Daemon(["lines"], listeners={"lines": "protocol = lines"},
                            tornadod="workers = 1\ndrain_timeout = 300ms") as daemon, \
                daemon.connect("lines") as before, daemon.connect("lines") as meanwhile:
            line(before)
            before.send(b"quit\n")
            self.assertEqual(rest(before), b"bye\n")
            line(meanwhile)
            daemon.reload()
            self.assertEqual(rest(meanwhile), b"the worker is leaving\n")
            daemon.wait_log("the time to drain is over: [12] connections closed, 0 handlers cancelled")

    @unittest.skipIf(harness.SANITIZED, "a crash is a complaint there")
    def test_a_crash_is_blamed_on_the_instance_until_it_is_quarantined(self):
        with harness.Daemon(["lines", "hello"], tornadod="workers = 1\nquarantine_crashes = 2",
                            listeners={"default": "", "lines": "protocol = lines"}) as daemon:
            for _ in range(2):
                with daemon.connect("lines") as conn:
                    self.assertIn(b"Hello", line(conn))
                    conn.send(b"crash\n")
                    try:
                        rest(conn)
                    except ConnectionResetError:
                        pass
            daemon.wait_log("lines.*quarantine")
            with daemon.connect("lines") as conn:
                self.assertEqual(rest(conn), b"")
            daemon.wait_log("listener lines: closed to 127.0.0.1: its handler is quarantined")
            self.assertEqual(daemon.get("/hello/x").status, 200)


class Check(unittest.TestCase):
    def test_a_listener_without_such_a_protocol_is_told_with_its_line(self):
        cases = (("protocol = lonely", 6, "protocol: there is no handler lonely"),
                 ("protocol = hello", 6,
                  r"protocol: handler hello \(hello.so\) has none of its own \(handle_stream\)"),
                 ("protocol = lines\ntrusted_downstream = 10.0.0.0/8\nproxy_protocol = on", 8,
                  "proxy_protocol is for listeners that speak HTTP"))
        for keys, number, told in cases:
            with self.subTest(keys):
                daemon = harness.Daemon(["lines", "hello"], listeners={"x": keys})
                done = harness.run("-t", "-c", daemon.ini_path)
                daemon.close()
                self.assertEqual(done.returncode, 78)
                self.assertRegex(done.stderr, rf"tornadod.ini:{number}: {told}")

    def test_it_stands_among_the_routes(self):
        daemon = harness.Daemon(["lines"], listeners={"x": "protocol = lines"})
        done = harness.run("routes", "-c", daemon.ini_path)
        daemon.close()
        self.assertIn("127.0.0.1:0  lines (its own protocol)\n", done.stdout)


if __name__ == "__main__":
    unittest.main()
