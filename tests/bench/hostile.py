"""The row `hostile`: what other clients notice of one that makes the worker toil.

64 connections ask for a small answer; in each round once without and once beside an attack of
tests/integration/attacks.py, which begins before them and goes on behind them.
"""

import contextlib
import os
import statistics
import sys
import tempfile

import servers

sys.path.insert(0, os.path.join(servers.ROOT, "tests", "integration"))
import attacks  # noqa: E402
import harness  # noqa: E402

ROUNDS = 7
REQUEST = b"GET /small HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\n"


class Gentle(attacks.Attacker):
    """It takes the time of its CPU that the other client leaves, so that it is not that one's brake."""

    def __init__(self, cpu, *args):
        super().__init__(*args)
        self.cpu = cpu

    def settle(self):
        os.sched_setaffinity(0, {self.cpu})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Target:
    """The daemon, as the load client's caller wants a server."""

    def __init__(self, daemon):
        self.port, self.worker = daemon.port, daemon.workers()[0]

    def cpu_ns(self):
        with open(f"/proc/{self.worker}/schedstat") as schedstat:
            return int(schedstat.read().split()[0])


def measure_attack(load, attacker, name):
    """load(): one run of the load client.  p99 beside the attack / without, and how fast both were."""
    rounds = []
    for turn in range(ROUNDS):
        result = {}
        for attacked in (turn % 2 == 0, turn % 2 != 0):
            with attacker if attacked else contextlib.nullcontext():
                result[attacked] = load()
        rounds.append(result)
    ratios = [one[True]["p99_us"] / one[False]["p99_us"] for one in rounds]
    return {
        "row": "hostile", "server": name, "value": statistics.median(ratios),
        "lowest": min(ratios), "highest": max(ratios),
        "p99_us": statistics.median(one[True]["p99_us"] for one in rounds),
        "control_p99_us": statistics.median(one[False]["p99_us"] for one in rounds),
    }


def measure(run_load, cpus, names):
    """run_load(server, request file); names: of the attacks, none for all.  Yields a line for each."""
    with tempfile.TemporaryDirectory(prefix="tornadod-bench-") as folder:
        os.chmod(folder, 0o755)
        attacks.make_files(folder)
        request_file = os.path.join(folder, "request")
        with open(request_file, "wb") as file:
            file.write(REQUEST)
        daemon = harness.Daemon(["attacks"], ini=attacks.ini(folder),
                                listeners={"default": attacks.LIMITS},
                                wrapper=("taskset", "-c", str(cpus[0])))
        daemon.install("attacks", "raised")
        with daemon:
            target = Target(daemon)
            for name, attack in attacks.make().items():
                if not names or name in names:
                    attacker = Gentle(cpus[1], daemon.addresses["default"], attack, folder)
                    yield measure_attack(lambda: run_load(target, request_file), attacker, name)
