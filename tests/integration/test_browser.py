"""Goal: a real browser is served: cookies, XSRF tokens, forms and files, events that come again, ranges
and conditional requests work with what Chromium sends and understands.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness

CHROMIUM = shutil.which("chromium")
EXPECTED = {
    "cookies": "200 jack false",
    "without_token": 403,
    "upload": "200 J\u00fcrg %221%22.png image/png 4 a & b\u20ac",  # so browsers write quotes
    "form": "a & b\u20ac",
    "text": "<b>\"it's\" & J\u00fcrg</b>",
    "events": "1=from 1 2=from 1 3=from 3 4=from 3",
    "range": "206 234",
    "fresh": len("200 ") + 5000,
    "redirect": "200 jack",
}


@contextlib.contextmanager
def browsing(url):
    """Chromium on that page, with a profile of its own and nowhere else to go."""
    with tempfile.TemporaryDirectory(prefix="tornadod-browser-",
                                     ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-pings",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", url],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its helpers, too
            process.wait(harness.DEADLINE)


@unittest.skipUnless(CHROMIUM, "chromium is not installed (it is large: apt-get install chromium)")
@unittest.skipIf(harness.SANITIZED, "a browser and the sanitizers together are slow")
class Browser(unittest.TestCase):
    def test_what_browsers_do(self):
        with tempfile.TemporaryDirectory() as static:
            for name, text in (("digits.txt", "0123456789"), ("app.js", "/*" + 4996 * "x" + "*/")):
                with open(os.path.join(static, name), "w", encoding="ascii") as file:
                    file.write(text)
            ini = (f"[application]\nstatic_path = {static}\nxsrf_cookies = on\n"
                   "cookie_secret = of the test\ndebug = on\n")
            with harness.Daemon(["browser"], ini) as daemon:
                with browsing("http://127.0.0.1:%d/" % daemon.port):
                    line = daemon.wait_log("the browser says ")
                said = json.loads(line.split("the browser says ", 1)[1])
                self.assertEqual(said, EXPECTED)
                daemon.wait_log(r"304 GET /static/app\.js")
                daemon.wait_log(r"206 GET /static/digits\.txt")


if __name__ == "__main__":
    unittest.main()
