#!/usr/bin/python3
"""What tornadod survives: runs the tests of every scenario, longer than `make test` does, and prints one
table: the scenario, how it went, figures that the tests have told, and what others did when they were
measured.  Exits with 1 when a scenario fails.  `make faults`, or T=WORD for the scenarios that have it.

A scenario is a list of tests of tests/integration or tests/faults, "module" or "module.Class[.test]".
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INTEGRATION = os.path.join(os.path.dirname(HERE), "integration")
TIMEOUT = 900 + int(os.environ.get("TD_SOAK_SECONDS", 0))  # seconds of one scenario

SCENARIOS = (
    (1, "reload under load", "nginx loses 320 reused, haproxy 168, kore 121 and 320; h2o 0",
     ["test_load.FullLoad.test_a_reload_each_second_loses_nothing", "test_reload.Reload",
      "test_full_house.FullHouse.test_reloads_lose_nothing_and_leave_nothing"]),
    (2, "reload with settings or a handler that are broken", "gunicorn, uWSGI, lighttpd, kore: gone",
     ["test_reload.FailedReload", "test_dropin"]),
    (3, "worker killed or crashed", "20 kills: nginx 62 lost, kore 108, h2o 87",
     ["test_load.FullLoad.test_a_worker_killed_each_second_costs_what_was_inside", "test_crash.Crash",
      "test_crash.Quarantine"]),
    (4, "worker that dies at each start", "nginx starts it again without a pause",
     ["test_crash.Crash.test_deaths_at_once_are_followed_by_longer_and_longer_pauses",
      "test_crash.Crash.test_one_that_cannot_start_any_more_is_tried_again_and_again"]),
    (5, "worker that hangs", "nginx with reuseport: 10 of 22 time out, for ever",
     ["test_crash.Hanging"]),
    (6, "stop with work in flight", "apache, lighttpd, uWSGI cut downloads",
     ["test_signals.Stop", "test_full_house.FullHouse.test_the_end_answers_what_has_been_asked",
      "test_full_house.FullHouse.test_what_never_ends_is_ended"]),
    (7, "master killed", "tornado leaves workers that keep the port",
     ["test_signals.Workers.test_they_leave_when_the_master_is_killed"]),
    (8, "storms of signals", "gunicorn loses signals", ["test_signals.Signals"]),
    (9, "out of descriptors", "h2o 96 %, kore 98 % of a core; tornado 3.8 MB/s of log",
     ["test_listeners.Descriptors"]),
    (10, "slow heads", "served: nginx 1 %, h2o 28 %, kore 62 %, haproxy 66 %",
     ["test_slow.Slow.test_heads", "test_hostile.Limits.test_connections_beyond_the_limits_are_told_so"]),
    (11, "slow bodies, slow readers", "bodies: nginx 36 %, h2o 26 %, kore 21 %; readers: nginx 37 %",
     ["test_slow.Slow.test_bodies", "test_hostile.Limits.test_slow_readers_cost_little",
      "test_hostile.Order"]),
    (12, "more bodies than memory", "h2o: killed, gone", ["test_memory", "test_uploads.Budgets", "test_uploads.FullDisk"]),
    (13, "disk full under the access log", "kore: 11,757 of 13,224 lost",
     ["test_access_log.Stuck.test_a_full_disk", "test_access_log.Stuck.test_a_disk_with_room_again"]),
    (14, "log that nobody reads", "nginx, gunicorn, uWSGI, h2o, tornado, kore stop answering",
     ["test_access_log.Stuck.test_a_pipe_that_nobody_reads_and_then_one_that_nobody_has",
      "test_access_log.Stuck.test_standard_error_that_nobody_reads_and_then_nobody_has",
      "test_access_log.Stuck.test_a_disk_that_hangs"]),
    (15, "rotation of logs", "h2o wants a reload for it", ["test_access_log.Rotation"]),
    (16, "handler's file overwritten in place", "kore: dead",
     ["test_plugins.Served.test_what_was_accepted_stays_whatever_happens_to_the_file"]),
    (17, "handler that others may write", "nginx, kore, uWSGI do not look",
     ["test_plugins.Refused.test_those_that_others_may_write",
      "test_plugins.Refused.test_those_of_strangers"]),
    (18, "restart and upgrade", "without help 4,545 lost in 11 restarts", ["test_upgrade", "test_systemd", "test_booted"]),
    (19, "start, reload or drain without end", "-",
     ["test_plugins.Refused.test_in_hooks", "test_signals.Stop.test_drain_timeout_is_an_end",
      "test_systemd.Notifications",
      "test_reload.Reload.test_the_third_generation_that_drains_makes_the_first_one_go"]),
    (20, "hostile bytes, failing system calls, no memory", "h2o, lwan, haproxy fuzz as well",
     ["test_hostile", "test_injection", "test_no_memory"]),
    (21, "all at once, for long", "-", ["test_endurance", "test_flat"]),
)


def is_there(test):
    """A scenario whose feature is not there yet has no test."""
    name = test.split(".")[0] + ".py"
    return any(os.path.exists(os.path.join(folder, name)) for folder in (INTEGRATION, HERE))


def run(tests):
    """(passed, failed, skipped, figures, output)"""
    path = os.pathsep.join((INTEGRATION, HERE))
    env = {"TD_FAULTS": "long", "TD_LOAD_SECONDS": "20", **os.environ, "PYTHONPATH": path,
           "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run([sys.executable, "-m", "unittest", "-v", *tests], cwd=INTEGRATION, env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
        output = done.stdout.decode(errors="backslashreplace")
    except subprocess.TimeoutExpired as e:
        return 0, 1, 0, [], (e.stdout or b"").decode(errors="backslashreplace") + "\nit never ends\n"
    found = re.findall(r"^Ran (\d+) tests? in", output, re.M)
    said = dict(re.findall(r"(\w+)=(\d+)", output.splitlines()[-1] if output else ""))
    ran, skipped = int(found[-1]) if found else 0, int(said.get("skipped", 0))
    failed = int(said.get("failures", 0)) + int(said.get("errors", 0))
    if done.returncode != 0 or ran == 0:
        failed = max(failed, 1)
    figures = re.findall(r"^INFO (?!seed)(.*)$", output, re.M)
    return max(0, ran - failed - skipped), failed, skipped, figures, output


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [s for s in SCENARIOS if word in s[1] or word == str(s[0])]
    broken = 0
    print(f"{'':>3} {'scenario':<50} {'':<6} {'tests':<22} others, when they were measured")
    for number, what, others, wanted in chosen:
        tests = [test for test in wanted if is_there(test)]
        if not tests:
            print(f"{number:>3} {what:<50} {'-':<6} {'none yet':<22} {others}", flush=True)
            continue
        passed, failed, skipped, figures, output = run(tests)
        ours = f"{passed} passed" + (f", {failed} failed" if failed else "") + \
            (f", {skipped} skipped" if skipped else "")
        print(f"{number:>3} {what:<50} {'FAIL' if failed else 'pass':<6} {ours:<22} {others}", flush=True)
        for figure in figures:
            print(f"        {figure}", flush=True)
        if failed:
            broken += 1
            print("    " + output.rstrip().replace("\n", "\n    "), flush=True)
    print(f"{broken} of {len(chosen)} scenarios failed")
    return 1 if broken or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
