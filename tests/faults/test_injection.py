"""Goal (row 20 of run.py): whichever call to the system fails, once in each process and thread, while the daemon
starts, serves and reloads: it serves on, refuses with a line of log, or does not start and says why; the
master never dies of it.
Short in `make test`; TD_FAULTS=long tries many more places.
"""

import collections
import os
import shutil
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import harness

LONG = os.environ.get("TD_FAULTS") == "long"
CALLS = (("accept4", "EMFILE"), ("accept4", "ENOBUFS"), ("recvfrom", "ECONNRESET"), ("sendto", "EPIPE"),
         ("sendmsg", "ECONNRESET"), ("sendmsg", "ENOBUFS"), ("recvmsg", "ENOMEM"), ("read", "EIO"), ("write", "ENOSPC"),
         ("epoll_ctl", "ENOMEM"), ("epoll_ctl", "ENOSPC"), ("epoll_wait", "EINTR"), ("openat", "EMFILE"),
         ("openat2", "EACCES"), ("clone", "EAGAIN"), ("clone3", "EAGAIN"), ("mmap", "ENOMEM"),
         ("sendfile", "EIO"), ("memfd_create", "ENOMEM"), ("socketpair", "EMFILE"), ("eventfd2", "EMFILE"),
         ("signalfd4", "EMFILE"), ("inotify_init1", "EMFILE"))
WHEN = (*range(1, 13), *range(15, 60, 9)) if LONG else (2,)
REQUESTS = ("/pid", "/static/tornadod.ini", "/big", "/pid")


def tree(pid):
    """The process and all below it."""
    try:
        return [pid, *(each for child in harness.children(pid) for each in tree(child))]
    except OSError:
        return []


class Traced(harness.Daemon):
    """Under strace, which leaves what it traces alone when it is killed."""

    def __init__(self, call, error, when):
        super().__init__(["faults"], ini="[application]\nstatic_path = .\n", tornadod="handlers_watch = on",
                         wrapper=("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                  f"inject={call}:error={error}:when={when}"))

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            for pid in reversed(tree(self.process.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        super().kill()


@unittest.skipIf(harness.SANITIZED, "the sanitizers make calls of their own")
@unittest.skipUnless(shutil.which("strace"), "there is no strace")
class Injection(unittest.TestCase):
    def setUp(self):
        before = harness.DEADLINE
        self.addCleanup(setattr, harness, "DEADLINE", before)
        harness.DEADLINE = 10

    def probe(self, daemon):
        """Which connection fails is chance; that the next ones do not is what counts."""
        def answered():
            try:
                return all(daemon.get(target).status == 200 for target in REQUESTS)
            except (OSError, AssertionError):
                return False
        harness.wait_until(answered, "it does not serve any more")

    def refused(self, daemon, call):
        """One that does not start says why; that it may do, whatever it is about."""
        text = daemon.log.text()
        if text == "" and call in ("mmap", "write"):  # the dynamic linker's own, or the reason is lost
            return "refused at the start"
        self.assertIn(daemon.process.returncode, (1, 71, 78, 127), text)
        self.assertRegex(text, r"(?m)^(tornadod: |\[[CE] |.*error while loading shared libraries)")
        return "refused at the start"

    def outcome(self, daemon, call):
        try:
            daemon.start()
        except AssertionError:
            return self.refused(daemon, call)
        master = daemon.master
        self.probe(daemon)
        workers = daemon.workers()
        os.kill(master, signal.SIGHUP)
        harness.wait_until(lambda: "reload failed" in daemon.log.text() or
                           not set(workers) & set(daemon.workers()), "the reload does not end")
        self.probe(daemon)
        self.assertEqual(daemon.master, master)
        self.assertEqual(daemon.stop(), 0)
        return "refused a reload" if "reload failed" in daemon.log.text() else "survived"

    def one(self, call, error, when):
        daemon = Traced(call, error, when)
        try:
            return self.outcome(daemon, call)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{daemon.log.text()}") from e
        finally:
            daemon.close()

    def test_the_manager_hears_of_a_start_whatever_failed_at_first(self):
        """The third message is READY=1."""
        for error in ("ENOBUFS", "ECONNRESET"):
            self.assertEqual(self.one("sendmsg", error, 3), "survived")

    def test_each_call_fails_once(self):
        outcomes = collections.Counter()
        for call, error in CALLS:
            for when in WHEN:
                with self.subTest(f"{call}:{error}:{when}"):
                    outcomes[self.one(call, error, when)] += 1
        print(f"\nINFO {len(CALLS) * len(WHEN)} failing calls: " +
              ", ".join(f"{count} {what}" for what, count in outcomes.items()))


if __name__ == "__main__":
    unittest.main()
