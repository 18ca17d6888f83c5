"""Goal: what the daemon counts is right, never falls, and is told in every format to those who may ask."""

import html.parser
import json
import os
import signal
import socket
import threading
import unittest

import harness
import openmetrics

POST = b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"


class Page(html.parser.HTMLParser):
    """Every cell of the page; scripts and what comes from elsewhere are an error."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.title = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "img", "link", "iframe") and not {"src", "href"} & dict(attrs).keys()
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip()


def scrape(daemon):
    response = daemon.get("/metrics")
    assert response.status == 200, response.status
    assert response.header("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return openmetrics.parse(response.body.decode())


def status(daemon):
    return json.loads(daemon.get("/status.json").body)


def route(state, pattern):
    return next(route for route in state["routes"] if route["route"] == pattern)


def errors(daemon):
    return status(daemon)["errors_by_reason"]


class GoneMad(unittest.TestCase):
    def test_rubbish_in_all_memory_that_a_worker_shares(self):
        for byte in (255, 0, 127, -1):
            for ends in ("", "1"):
                with self.subTest(f"{byte} {ends}"), \
                        harness.Daemon(["scribble", "status", "conformance"], tornadod="workers = 2") as daemon:
                    with daemon.connect() as conn:
                        conn.send(f"GET /scribble?byte={byte}&ends={ends} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                        if ends:
                            daemon.wait_log("worker . (was ended by|exited|crashed|SIG).*|SIGABRT")
                        else:
                            self.assertEqual(conn.response().status, 200)
                    scrape(daemon)
                    self.assertLess(status(daemon)["requests"], 1 << 63)
                    told = daemon.command_line("status")
                    self.assertEqual(told.returncode, 0, told.stderr)
                    before = daemon.workers()
                    for pid in before:
                        os.kill(pid, signal.SIGKILL)
                    daemon.wait_replaced(before)
                    self.assertEqual(daemon.get("/plaintext").status, 200)
                    scrape(daemon)


class Formats(unittest.TestCase):
    def test_each_route_is_counted_by_status_and_time(self):
        with harness.Daemon(["status", "conformance"]) as daemon:
            for target in ("/plaintext", "/plaintext", "/status/404", "/status/503", "/nowhere"):
                daemon.get(target)
            with daemon.connect() as conn:
                conn.send(POST)
                conn.response()
            families = scrape(daemon)
            responses = families["tornadod_responses"]
            labels = {"handler": "conformance"}
            self.assertEqual(responses.value("_total", route="/plaintext", **{"class": "2xx"}, **labels), 2)
            pattern = "/status/([0-9]+)"
            self.assertEqual(responses.value("_total", route=pattern, **{"class": "4xx"}, **labels), 1)
            self.assertEqual(responses.value("_total", route=pattern, **{"class": "5xx"}, **labels), 1)
            self.assertEqual(responses.value("_total", route="(none)", **{"class": "4xx"}), 1)
            times = families["tornadod_response_duration_seconds"]
            self.assertEqual(times.value("_count", route="/plaintext", **labels), 2)
            self.assertGreater(times.value("_sum", route="/plaintext", **labels), 0)
            bodies = families["tornadod_request_body_bytes"]
            self.assertEqual(bodies.value("_total", route="/post", **labels), 5)
            self.assertEqual(families["tornadod_listener_responses"].sum("_total", listener="default"), 6)
            self.assertEqual(families["tornadod_errors"].value("_total", reason="no_route"), 1)
            daemon.wait_log("GET /metrics")  # it is counted when it has ended, a moment after its last byte
            state = status(daemon)
            self.assertEqual(route(state, "/plaintext")["responses"]["2xx"], 2)
            self.assertGreater(route(state, "/plaintext")["duration_seconds"]["p99"], 0)
            self.assertEqual(state["requests"], 7)
            self.assertEqual(state["workers"][0]["pid"], daemon.workers()[0])
            self.assertGreater(state["workers"][0]["resident_memory_bytes"], 1 << 20)
            self.assertGreater(state["workers"][0]["memory_limit_bytes"], 1 << 20)
            self.assertGreater(state["workers"][0]["memory_by_kind"]["stacks"], 0)
            self.assertEqual(set(state["workers"][0]["memory_refused"].values()), {0})

    def test_accept_chooses_the_format(self):
        cases = {"": "application/json", "*/*": "application/json", "application/json": "application/json",
                 "text/html,application/xhtml+xml,*/*;q=0.8": "text/html",
                 "application/openmetrics-text;version=1.0.0,text/plain;q=0.5": "application/openmetrics-text",
                 "application/json;q=0.5,text/html;q=0.6": "text/html",
                 "text/html;q=0.5,application/json;q=0.6": "application/json",
                 "application/json;q=0,text/html;q=0,*/*;q=0.1": "application/openmetrics-text",
                 "application/*;q=0.4,text/*;q=0.3": "application/json",
                 "text/*": "text/html",
                 "image/png": "application/json"}
        with harness.Daemon(["status"]) as daemon:
            for accept, wanted in cases.items():
                with self.subTest(accept):
                    response = daemon.get("/status", headers=f"Accept: {accept}\r\n" if accept else "")
                    self.assertEqual(response.header("Content-Type").split(";")[0], wanted)
                    self.assertEqual(response.header("Vary"), "Accept")
                    self.assertEqual(response.header("Cache-Control"), "no-store")

    def test_what_is_told_is_escaped(self):
        with harness.Daemon(["status", "hello"], ini="[handler:hello]\nmount = /a\"b\n") as daemon:
            page = Page(daemon.get("/status.html").body.decode())
            self.assertIn('/a"b/hello/(?<name>[^/]+)', page.cells)
            families = scrape(daemon)
            self.assertEqual(families["tornadod_responses"].sum("_total", route='/a"b/sleep/(?<ms>\\d+)'), 0)
            self.assertNotIn("(?<name>", daemon.get("/status.html").body.decode())
            self.assertIn('/a"b/sleep/(?<ms>\\d+)', [r["route"] for r in status(daemon)["routes"]])

    def test_only_those_in_allow_may_ask(self):
        cases = {"127.0.0.0/8, ::1": 200, "10.0.0.0/8": 403, "": 403, "127.0.0.1": 200}
        for allow, wanted in cases.items():
            with self.subTest(allow), harness.Daemon(["status"], ini=f"[handler:status]\nallow = {allow}\n") as daemon:
                for target in ("/status", "/status.json", "/status.html", "/metrics"):
                    self.assertEqual(daemon.get(target).status, wanted)


class Many(unittest.TestCase):
    """Ten thousand routes."""

    def test_all_are_told_in_turns_and_in_bounded_memory(self):
        def anonymous_kib():
            with open(f"/proc/{daemon.workers()[0]}/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))

        def active():  # who asks is told as idle: its head has come just now
            return status(daemon)["connections_by_state"]["active"]

        with harness.Daemon(["status", "conformance", "manyroutes"]) as daemon:
            daemon.get("/many/12345")
            families = scrape(daemon)
            responses = families["tornadod_responses"]
            self.assertEqual(responses.value("_total", route="/many/12345", handler="manyroutes", **{"class": "2xx"}), 1)
            routes = {dict(labels)["route"] for _, labels in responses.samples}
            self.assertEqual(len([route for route in routes if route.startswith("/many/")]), 10000)
            state = status(daemon)
            self.assertEqual(len([route for route in state["routes"] if route["handler"] == "manyroutes"]), 10000)
            page = Page(daemon.get("/status.html").body.decode())
            busiest = page.cells.index("/metrics")
            self.assertLess(busiest, page.cells.index("/many/10000"))
            self.assertTrue([cell for cell in page.cells if "The busiest 200 of" in cell])
            before = anonymous_kib()
            with daemon.connect() as slow:  # takes nothing of it, nor does its kernel take all
                slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                harness.wait_until(lambda: active() == 1, "it does not wait")
                self.assertLess(anonymous_kib() - before, 1024)
                self.assertEqual(daemon.get("/plaintext").status, 200)
            harness.wait_until(lambda: active() == 0, "it stays")

    def test_others_are_served_meanwhile(self):
        with harness.Daemon(["status", "conformance", "manyroutes"]) as daemon, daemon.connect() as conn:
            reader = threading.Thread(target=lambda: daemon.get("/metrics"))
            reader.start()
            served = 0
            while reader.is_alive():
                conn.send(b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n")
                conn.response()
                served += 1
            reader.join()
            self.assertGreater(served, 10)


class Truth(unittest.TestCase):
    def test_nothing_falls_when_workers_end(self):
        with harness.Daemon(["status", "faults"], tornadod="workers = 2\nquarantine_crashes = 2") as daemon:
            for _ in range(20):
                daemon.get("/pid")
            daemon.get("/nowhere")
            before = scrape(daemon)
            daemon.reload()
            daemon.reload()
            lines = len(daemon.log.lines)
            os.kill(daemon.workers()[0], signal.SIGKILL)
            daemon.wait_log("was killed by SIGKILL", lines)
            after = scrape(daemon)
            for name, family in before.items():
                for (suffix, labels), number in family.samples.items():
                    if family.type == "gauge" or "pid" in dict(labels):
                        continue
                    self.assertGreaterEqual(after[name].samples[suffix, labels], number, (name, labels))
            labels = {"route": "/pid", "handler": "faults", "class": "2xx"}
            self.assertEqual(after["tornadod_responses"].value("_total", **labels), 20)
            self.assertEqual(after["tornadod_reloads"].value("_total", result="done"), 2)
            self.assertEqual(after["tornadod_worker_restarts"].value("_total", reason="kill"), 1)
            self.assertEqual(after["tornadod_generation"].value(), 3)

    def test_crashes_and_quarantine_are_told(self):
        with harness.Daemon(["status", "faults"], tornadod="workers = 1\nquarantine_crashes = 2") as daemon:
            for _ in range(2):
                lines = len(daemon.log.lines)
                with daemon.connect() as conn, self.assertRaises((harness.ProtocolError, ConnectionResetError)):
                    conn.send(b"GET /abort HTTP/1.1\r\nHost: x\r\n\r\n")
                    conn.response()
                daemon.wait_log("crashed", lines)
            daemon.wait_log("is quarantined")
            self.assertEqual(daemon.get("/pid").status, 503)
            families = scrape(daemon)
            self.assertEqual(families["tornadod_handler_quarantined"].value(handler="faults"), 1)
            self.assertEqual(families["tornadod_handler_crashes"].value("_total", handler="faults"), 2)
            self.assertEqual(families["tornadod_worker_restarts"].value("_total", reason="crash"), 2)
            self.assertEqual(families["tornadod_errors"].value("_total", reason="quarantine"), 1)

    def test_connections_are_counted_by_what_they_do(self):
        def states():
            return status(daemon)["connections_by_state"]

        settings = "workers = 1\ndrain_timeout = 100ms"
        with harness.Daemon(["status", "stretches", "conformance"], tornadod=settings) as daemon:
            with daemon.connect() as idle, daemon.connect() as head, daemon.connect() as body, \
                 daemon.connect() as active:
                idle.send(b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n")
                idle.response()
                head.send(b"GET /plain")
                body.send(POST[:-2])
                active.send(b"GET /waiting?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
                harness.wait_until(lambda: all(states()[what] == 1 for what in ("head", "body", "active")),
                                   "a connection is not told")
                harness.wait_until(lambda: states()["idle"] == 2, "those of before stay")  # one asks
                state = status(daemon)
                self.assertEqual(state["coroutines"], 1)
                self.assertGreaterEqual(state["coroutines_peak"], 1)
            harness.wait_until(lambda: states()["idle"] == 1 and states()["head"] == 0, "they stay")

    def test_streams_are_told_apart(self):
        with harness.Daemon(["status", "lines"], listeners={"default": "", "lines": "protocol = lines"}) as daemon:
            with daemon.connect("lines") as conn:
                conn.send(b"hello\n")
                harness.wait_until(lambda: status(daemon)["connections_by_state"]["stream"] == 1, "it is not told")
                self.assertEqual(status(daemon)["connections_by_state"]["detached"], 0)
            harness.wait_until(lambda: status(daemon)["connections_by_state"]["stream"] == 0, "it stays")

    def test_requests_that_wait_for_a_place_are_told(self):
        with socket.create_server(("127.0.0.1", 0)) as silent, \
             harness.Daemon(["status", "fetch"], tornadod="workers = 1\nmax_clients = 1") as daemon, \
             daemon.connect() as conn:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            conn.send(f"GET /several?url={url}&count=3&ms=1000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            harness.wait_until(lambda: status(daemon)["client_queue"] == 2, "nobody waits")
            self.assertEqual(status(daemon)["client_requests"], 1)
            conn.response()
            state = status(daemon)
            self.assertEqual((state["client_queue"], state["client_requests"]), (0, 0))

    def test_errors_are_counted_by_their_reason(self):
        requests = {
            "host": b"GET / HTTP/1.1\r\n\r\n",
            "max_request_line": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            "max_header_size": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40000 + b"\r\n\r\n",
            "max_body_size": b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
            "request_line": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "chunk": b"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "expect": b"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n",
            "no_route": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
            "no_method": b"DELETE /plaintext HTTP/1.1\r\nHost: x\r\n\r\n",
            "not_understood": b"BREW /plaintext HTTP/1.1\r\nHost: x\r\n\r\n",
            "request_timeout": b"GET /waiting?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n",
            "argument": b"GET /waiting HTTP/1.1\r\nHost: x\r\n\r\n",
            "header_timeout": b"GET / HTTP/1.1\r\nHost:",
        }
        settings = "workers = 1\nmax_body_size = 64\nheader_timeout = 100ms\nrequest_timeout = 100ms"
        with harness.Daemon(["status", "stretches", "conformance"], tornadod=settings) as daemon:
            for reason, request in requests.items():
                with self.subTest(reason):
                    before = errors(daemon)
                    with daemon.connect() as conn:
                        conn.send(request)
                        self.assertGreaterEqual(conn.response().status, 400)
                    after = errors(daemon)
                    self.assertEqual({name for name in after if after[name] != before.get(name, 0)}, {reason})
                    self.assertEqual(after[reason], 1)


class OfHandlers(unittest.TestCase):
    """What authors have declared by TD_METRICS."""

    def test_it_is_told_and_never_falls(self):
        with harness.Daemon(["status", "metrics"], tornadod="workers = 2") as daemon:
            pids = {daemon.get("/count").body for _ in range(10)}
            self.assertTrue(pids)

            def counted(name):
                return scrape(daemon)[name].value("_total", handler="metrics")
            harness.wait_until(lambda: counted("ticks") == 10, "timers are not counted")
            self.assertEqual(counted("calls"), 30)
            self.assertEqual(counted("jobs"), 10)
            self.assertEqual(counted("loads"), 2)
            families = scrape(daemon)
            self.assertEqual(families["calls"].help, 'Calls: \\"all\\" of \\\\them.')
            self.assertEqual(families["level"].value(handler="metrics"), -7 * len(pids))
            daemon.reload()
            lines = len(daemon.log.lines)
            os.kill(daemon.workers()[0], signal.SIGKILL)
            daemon.wait_log("was killed by SIGKILL", lines)
            harness.wait_until(lambda: counted("loads") == 5, "it is not started anew")
            self.assertEqual((counted("calls"), counted("jobs"), counted("ticks")), (30, 10, 10))
            harness.wait_until(lambda: scrape(daemon)["level"].value(handler="metrics") == 0,
                               "a gauge outlives its workers")
            daemon.get("/count")
            told = {own["name"]: own for own in status(daemon)["handler_metrics"]}
            self.assertEqual(told["calls"]["value"], 33)
            self.assertEqual((told["level"]["kind"], told["level"]["value"]), ("gauge", -7))
            page = Page(daemon.get("/status.html").body.decode())
            self.assertIn("Jobs of threads.", page.cells)
            self.assertIn("-7", page.cells)

    def test_instances_share_a_family(self):
        ini = "[handler:a]\nfile = metrics.so\nmount = /a\n[handler:b]\nfile = metrics.so\nmount = /b\n"
        with harness.Daemon(["status", "metrics"], ini=ini) as daemon:
            daemon.get("/a/count")
            calls = scrape(daemon)["calls"]
            self.assertEqual(calls.value("_total", handler="a"), 3)
            self.assertEqual(calls.value("_total", handler="b"), 0)

    def test_a_label_has_the_values_that_an_option_names(self):
        def settings(offices):
            return f"[handler:metrics]\noffices = {offices}\n"

        def told(**labels):
            return scrape(daemon)["letters"].value("_total", handler="metrics", **labels)

        with harness.Daemon(["status", "metrics"], tornadod="workers = 2",
                            ini=settings('north ,,\tö"st, north')) as daemon:
            for to in ("north", "north", "%C3%B6%22st"):
                daemon.get(f"/post?to={to}")
            self.assertEqual((told(office="north"), told(office='ö"st')), (2, 1))
            self.assertEqual({own["labels"]["office"]: own["value"] for own in status(daemon)["handler_metrics"]
                              if own["name"] == "letters"}, {"north": 2, 'ö"st': 1})
            self.assertIn('ö"st', Page(daemon.get("/status.html").body.decode()).cells)
            self.assertRegex(daemon.command_line("status").stdout, r"\n +2  letters of metrics, office north\n")
            self.assertIn("metrics counts letters, office north (counter): Letters.\n",
                          harness.run("routes", "-c", daemon.ini_path).stdout)
            daemon.write_ini(settings("west, north"), tornadod="workers = 2")
            daemon.reload()
            self.assertEqual((told(office="north"), told(office="west")), (2, 0))
            self.assertNotIn("ö", daemon.get("/metrics").body.decode())
            for offices, error in ((",".join(map(str, range(101))), "names more than 100"), ("x" * 256, "of more than 255 bytes")):
                daemon.write_ini(settings(offices))
                done = daemon.command_line("reload")
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, rf"\[handler:metrics\] offices: .*{error}")

    def test_misuse_is_told_and_harmless(self):
        with harness.Daemon(["status", "metrics"]) as daemon:
            daemon.get("/count")
            self.assertEqual(daemon.get("/misuse").body, b"3 0\n")
            for line in ("metrics\\] td_metric_add: calls is a counter and never falls",
                         "metrics\\] td_metric_set: calls is a counter and cannot be set",
                         r"metrics\] metric nowhere is not declared \(TD_METRICS\)",
                         r"metrics\] metric letters has a label: td_instance_metric_by finds it",
                         r"metrics\] metric letters of .nowhere. is not declared",
                         r"metrics\] metric calls of .nowhere. is not declared",
                         "td_instance_metric_by: NULL is not allowed",
                         "td_metric_set: NULL is not allowed"):
                daemon.wait_log(line)


class Stretches(unittest.TestCase):
    def test_who_holds_the_loop_is_named(self):
        with harness.Daemon(["status", "stretches"], tornadod="workers = 1\nslow_callback = 300ms") as daemon:
            for target in ("/at-once", "/before-wait", "/after-wait", "/before-much"):
                with self.subTest(target):
                    self.assertEqual(daemon.get(f"{target}?ms=400").status, 200)
                    self.assertEqual(route(status(daemon), target)["slow_callbacks"], 1)
            daemon.wait_log(r"W .* stretches\] /at-once: held the loop for \d+ ms: request \d+, "
                            r"GET /at-once\?ms=400 \(slow_callback\)")
            before = status(daemon)["slow_callbacks"]
            daemon.get("/in-timer?ms=400")
            harness.wait_until(lambda: status(daemon)["slow_callbacks"] > before, "the timer is not told")

    def test_waiting_holds_nobody(self):
        with harness.Daemon(["status", "stretches"], tornadod="workers = 1\nslow_callback = 300ms") as daemon:
            self.assertEqual(daemon.get("/waiting?ms=400").status, 200)
            self.assertEqual(route(status(daemon), "/waiting")["slow_callbacks"], 0)

    def test_off_means_off(self):
        with harness.Daemon(["status", "stretches"], tornadod="workers = 1\nslow_callback = 0") as daemon:
            self.assertEqual(daemon.get("/at-once?ms=200").status, 200)
            self.assertEqual(status(daemon)["slow_callbacks"], 0)
            self.assertNotIn("held the loop", daemon.log.text())


if __name__ == "__main__":
    unittest.main()
