"""Goal: reloads, killed workers, rotated logs and slow clients, all at once and for long: nothing is lost but what
was inside of a killed worker, and the master's descriptors and memory stay what they were.
Short in `make test`; TD_SOAK_SECONDS=600 is the measure.
"""

import contextlib
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness
from test_full_house import CLIENTS, KINDS, Client, House

LONG = os.environ.get("TD_FAULTS") == "long"
SECONDS = int(os.environ.get("TD_SOAK_SECONDS", 30 if LONG else 4))
SLOW = 20
AFTER_KILL = 2  # seconds in which a client may notice


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@unittest.skipIf(harness.SANITIZED, "the sanitizers take memory of their own")
class Endurance(unittest.TestCase):
    def act(self, house, step):
        """One thing a second; when it was, if it kills."""
        if step % 4 == 1:
            os.rename(f"{house.folder}/access.log", f"{house.folder}/access.log.{step}")
            os.kill(house.master, signal.SIGUSR1)
        elif step % 4 == 3:
            os.kill(house.workers()[0], signal.SIGKILL)
            return time.monotonic()
        else:
            house.reload()
        return None

    def clean(self, house):
        harness.wait_until(lambda: len(house.workers()) == 2, "old workers stay")
        return descriptors(house.master), resident_kb(house.master)

    def test_everything_at_once(self):
        with House("quarantine_crashes = 0\n") as house, contextlib.ExitStack() as stack:
            house.reload()
            before = self.clean(house)
            clients = [Client(house, ask) for ask in KINDS for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            kills = []
            try:
                for step in range(SECONDS):
                    slow = stack.enter_context(contextlib.ExitStack())
                    for _ in range(SLOW):
                        slow.enter_context(house.connect()).send(b"GET / HTTP/1.1\r\nHost:")
                    kills.append(self.act(house, step))
                    time.sleep(1)
                    slow.close()
            finally:
                for client in clients:
                    client.stopping.set()
            house.reload()  # what ends the last streams
            for client in clients:
                client.join()
            kills = [kill for kill in kills if kill is not None]
            wrong = [each for client in clients for each in client.wrong]
            unexplained = [text for when, text in wrong
                           if not any(kill <= when <= kill + AFTER_KILL for kill in kills)]
            after = self.clean(house)
            done = sum(client.done for client in clients)
            print(f"\nINFO {SECONDS} s: {done} answered, {len(wrong)} lost in {len(kills)} killed workers, "
                  f"{len(unexplained)} elsewhere; master: {before[0]} descriptors, then {after[0]}; "
                  f"{before[1]} KiB, then {after[1]}", flush=True)
            self.assertEqual(unexplained, [])
            self.assertGreater(done, 0)
            self.assertEqual(after[0], before[0])
            self.assertLess(after[1], before[1] * 1.25 + 1024)


if __name__ == "__main__":
    unittest.main()
