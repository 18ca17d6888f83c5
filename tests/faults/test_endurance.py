"""Goal: reloads, upgrades in place, killed workers, rotated logs, handlers that come and go, workers more and less,
slow clients, a gateway and questions about the state, all at once and for long: nothing is lost but what was inside
of a killed worker, and descriptors and memory of the master and of its workers stay what they were.
Short in `make test`; TD_SOAK_SECONDS=600 is the measure.
"""

import contextlib
import glob
import json
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness
import test_full_house
from harness import descriptors, resident_kb
from test_full_house import CLIENTS, KINDS, Client, House

LONG = os.environ.get("TD_FAULTS") == "long"
SECONDS = int(os.environ.get("TD_SOAK_SECONDS", 30 if LONG else 8))
SLOW = 20
AFTER_KILL = 2  # seconds in which a client may notice
INI = """[handler:gateway]
mount = /gate
strip_prefix = /gate
upstreams = 127.0.0.1:{port}
"""


def gate(_, conn):
    response = conn.request("GET", "/gate/pid")
    assert response.status == 200, response
    return response


def state(_, conn):
    response = conn.request("GET", "/status.json")
    assert response.status == 200 and json.loads(response.body)["workers"], response
    return response


class Everything(House):
    def __init__(self, upstream):
        super().__init__("quarantine_crashes = 0\nhandlers_watch = on\n",
                         handlers=[*test_full_house.HANDLERS, "gateway", "status"],
                         ini=test_full_house.INI + INI.format(port=upstream.port))

    def say(self, command):
        done = self.command_line(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)

    def generations(self):
        return json.loads(self.command_line("status", "--json").stdout)["generations"]

    def rotate(self, number):
        os.rename(f"{self.folder}/access.log", f"{self.folder}/access.log.{number}")
        if number % 2:
            os.kill(self.master, signal.SIGUSR1)
        else:
            self.say("reopen")

    def drop(self, change, status):
        change()
        harness.wait_until(lambda: self.get("/hello/world").status == status, f"hello does not say {status}")

    def logged(self):
        """Lines of access logs."""
        count = 0
        for path in glob.glob(f"{self.folder}/access.log*"):
            with open(path, "rb") as file:
                count += sum(1 for _ in file)
        return count


@unittest.skipIf(harness.SANITIZED, "the sanitizers take memory of their own")
class Endurance(unittest.TestCase):
    def act(self, house, step):
        """One thing a second; when it was, if it kills."""
        if step % 4 == 3:
            with contextlib.suppress(ProcessLookupError):  # it has just left by itself
                os.kill(house.workers()[0], signal.SIGKILL)
            return time.monotonic()
        acts = (lambda: house.say("reload"),
                lambda: house.rotate(step),
                lambda: house.say("upgrade"),
                lambda: os.kill(house.master, signal.SIGTTIN),
                lambda: house.drop(lambda: house.install("hello"), 200),
                lambda: os.kill(house.master, signal.SIGTTOU),
                lambda: house.drop(lambda: os.unlink(f"{house.handlers}/hello.so"), 404),
                lambda: house.rotate(step),
                lambda: os.kill(house.master, signal.SIGHUP))
        acts[(step - step // 4) % len(acts)]()
        return None

    def settled(self, house):
        """Descriptors and memory of the master, and of its workers the most."""
        harness.wait_until(lambda: len(house.generations()) == 1 and len(house.workers()) == 2, "old workers stay")
        workers = house.workers()
        return (descriptors(house.master), resident_kb(house.master),
                max(map(descriptors, workers)), max(map(resident_kb, workers)))

    def slow_clients(self, house, stack):
        for number in range(SLOW):
            target = b"/static/large HTTP/1.1\r\nHost: x\r\n\r\n" if number % 4 == 0 else b"/ HTTP/1.1\r\nHost:"
            stack.enter_context(house.connect()).send(b"GET " + target)

    def run_all(self, house):
        clients = [Client(house, ask) for ask in (*KINDS, gate, state) for _ in range(CLIENTS)]
        kills = []
        for client in clients:
            client.start()
        try:
            for step in range(SECONDS):
                with contextlib.ExitStack() as stack:
                    self.slow_clients(house, stack)
                    kills.append(self.act(house, step))
                    time.sleep(1)
        finally:
            for client in clients:
                client.stopping.set()
        with contextlib.suppress(FileNotFoundError):
            house.drop(lambda: os.unlink(f"{house.handlers}/hello.so"), 404)
        if house.generations()[0]["workers_wanted"] > 2:
            os.kill(house.master, signal.SIGTTOU)
        house.say("reload")  # what ends the last streams
        for client in clients:
            client.join()
        return clients, [kill for kill in kills if kill is not None]

    def test_everything_at_once(self):
        with harness.Daemon(["faults"], ini="[log]\naccess = off\n") as upstream, Everything(upstream) as house:
            house.say("reload")
            before = self.settled(house)
            clients, kills = self.run_all(house)
            wrong = [each for client in clients for each in client.wrong]
            unexplained = [text for when, text in wrong
                           if not any(kill <= when <= kill + AFTER_KILL for kill in kills)]
            after = self.settled(house)
            done = sum(client.done for client in clients)
            logged = house.logged()
            print(f"\nINFO {SECONDS} s: {done} answered, {len(wrong)} lost in {len(kills)} killed workers, "
                  f"{len(unexplained)} elsewhere; {logged} lines of access logs; master: {before[0]} descriptors, then "
                  f"{after[0]}, {before[1]} KiB, then {after[1]}; a worker: {before[2]} descriptors, then {after[2]}, "
                  f"{before[3]} KiB, then {after[3]}", flush=True)
            self.assertEqual(unexplained, [])
            self.assertEqual([client.ask.__name__ for client in clients if client.done == 0], [])
            self.assertEqual((after[0], after[2]), (before[0], before[2]))
            self.assertLess(after[1], before[1] * 1.25 + 1024)
            self.assertLess(after[3], before[3] * 1.25 + 1024)
            self.assertGreaterEqual(logged, done - len(kills) * len(clients))


if __name__ == "__main__":
    unittest.main()
