"""Goal: behind nginx and haproxy a handler, the access log and the limits see the client, and nobody
who comes by another way can pretend to be one.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import unittest

import harness

NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
CLIENT = "127.0.0.77"  # whom the clients of proxies are
GET = b"GET /client HTTP/1.1\r\nHost: h\r\n\r\n"
TRUSTED = "trusted_downstream = 127.0.0.1"


def free_address():
    """Proxies take no port from the kernel: one that was just free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.9", 0))
        return "127.0.0.9:%d" % probe.getsockname()[1]


@contextlib.contextmanager
def running(command, address):
    """A proxy that listens there when the block begins, and is gone when it ends."""
    host, port = address.split(":")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    deadline = time.monotonic() + harness.DEADLINE
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection((host, int(port))).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{command}: {process.communicate()[0].decode()}")
            time.sleep(0.005)
        yield
    finally:
        process.terminate()
        process.communicate()


def nginx(folder, address, http="", stream=""):
    """The directives of a location, or of a stream server, that listens on the address."""
    inside = f"server {{ listen {address}; {stream} }}"
    if http:
        inside = (f"access_log off; server {{ listen {address}; location / {{ {http} }} }} "
                  + "".join(f"{kind}_temp_path {folder}/{kind}; "
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")))
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(("" if http else f"load_module {NGINX_STREAM};\n")
                   + f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n"
                     f"events {{}}\n{'http' if http else 'stream'} {{ {inside} }}\n")
    return running(["nginx", "-p", folder, "-e", "stderr", "-c", path], address)


def haproxy(folder, address, upstream, options, mode="tcp"):
    path = os.path.join(folder, "haproxy.cfg")
    with open(path, "w", encoding="ascii") as file:
        file.write("global\n  maxconn 100\ndefaults\n  timeout connect 5s\n  timeout client 30s\n"
                   f"  timeout server 30s\n  mode {mode}\nlisten l\n  bind {address}\n"
                   f"  source 127.0.0.1\n  server s {upstream} {options}\n")
    return running(["haproxy", "-db", "-f", path], address)


def ask(address, *more):
    """curl from the client's address; what came back, and the status, on lines."""
    done = subprocess.run(["curl", "-sS", "--interface", CLIENT, "-w", "\n%{http_code}", *more,
                           f"http://{address}/client"], capture_output=True, text=True,
                          timeout=harness.DEADLINE, check=False)
    return done.stdout.split("\n") if done.returncode == 0 else done.stderr


class Nginx(unittest.TestCase):
    @unittest.skipUnless(shutil.which("nginx"), "nginx is not installed")
    def test_headers(self):
        ini = TRUSTED + "\nxheaders = "
        kinds = {
            "x-forwarded-for": "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
                               "proxy_set_header X-Forwarded-Proto https;",
            "x-real-ip": "proxy_set_header X-Real-Ip $remote_addr; "
                         "proxy_set_header X-Scheme https;",
            "forwarded": "proxy_set_header Forwarded \"$http_forwarded, "
                         "for=$remote_addr;proto=https\";",
        }
        listeners = {kind: ini + kind for kind in kinds}
        with harness.Daemon(listeners=listeners) as daemon:
            for kind, directives in kinds.items():
                upstream = "%s:%d" % daemon.addresses[kind]
                address = free_address()
                with self.subTest(kind), nginx(daemon.folder, address, http=(
                        f"proxy_pass http://{upstream}; proxy_set_header Host $host; "
                        "proxy_http_version 1.1; proxy_set_header Connection ''; " + directives)):
                    expected = [f"{CLIENT} https://127.0.0.9/client", "200"]
                    self.assertEqual(ask(address), expected)
                    self.assertEqual(ask(address, "-H", "X-Forwarded-For: 6.6.6.6",
                                         "-H", "X-Real-Ip: 6.6.6.6", "-H", "Forwarded: for=\"6.6.6.6",
                                         "-H", "X-Forwarded-Host: evil"), expected)
                    daemon.wait_log(rf"200 GET /client \({CLIENT}\)")

    @unittest.skipUnless(os.path.exists(NGINX_STREAM), "nginx has no stream module here")
    def test_proxy_protocol(self):
        with harness.Daemon(listeners={"default": "proxy_protocol = on\n" + TRUSTED}) as daemon:
            address = free_address()
            upstream = "%s:%d" % daemon.addresses["default"]
            with nginx(daemon.folder, address,
                       stream=f"proxy_pass {upstream}; proxy_protocol on; proxy_bind 127.0.0.1;"):
                for _ in range(2):
                    self.assertEqual(ask(address), [f"{CLIENT} http://{address}/client", "200"])


@unittest.skipUnless(shutil.which("haproxy"), "haproxy is not installed")
class Haproxy(unittest.TestCase):
    def test_proxy_protocol(self):
        options = ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl",
                   "send-proxy-v2 proxy-v2-options crc32c,unique-id")
        with harness.Daemon(listeners={"default": "proxy_protocol = on\n" + TRUSTED}) as daemon:
            for option in options:
                address = free_address()
                with self.subTest(option), haproxy(
                        daemon.folder, address, "%s:%d" % daemon.addresses["default"], option):
                    self.assertEqual(ask(address), [f"{CLIENT} http://{address}/client", "200"])

    def test_its_checks_are_the_proxy_itself(self):
        with harness.Daemon(listeners={"default": "proxy_protocol = on\n" + TRUSTED}) as daemon:
            address = free_address()
            with haproxy(daemon.folder, address, "%s:%d" % daemon.addresses["default"],
                         "send-proxy-v2 check check-send-proxy inter 100ms\n"
                         "  option httpchk GET /client", mode="http"):
                daemon.wait_log(r"200 GET /client \(127\.0\.0\.1\)")

    def test_both_at_once(self):
        keys = "proxy_protocol = on\nxheaders = x-forwarded-for\n" \
               f"trusted_downstream = 127.0.0.1, {CLIENT}"
        with harness.Daemon(listeners={"default": keys}) as daemon:
            address = free_address()
            with haproxy(daemon.folder, address, "%s:%d" % daemon.addresses["default"],
                         "send-proxy-v2"):
                self.assertEqual(ask(address, "-H", "X-Forwarded-For: 192.0.2.7"),
                                 [f"192.0.2.7 http://{address}/client", "200"])


class Clients(unittest.TestCase):
    def test_curl_says_who_it_is(self):
        with harness.Daemon(listeners={"default": "proxy_protocol = on\n"
                                                  f"trusted_downstream = {CLIENT}"}) as daemon:
            address = "%s:%d" % daemon.addresses["default"]
            self.assertEqual(ask(address, "--haproxy-protocol"),
                             [f"{CLIENT} http://{address}/client", "200"])

    def test_who_is_not_trusted_is_closed(self):
        with harness.Daemon(listeners={"default": "proxy_protocol = on\n"
                                                  "trusted_downstream = 10.0.0.0/8"}) as daemon:
            with daemon.connect() as conn, contextlib.suppress(ConnectionError):
                conn.send(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET)
                conn.expect_end()
            daemon.wait_log(r"\[W .* http\] listener default: closed to 127\.0\.0\.1: "
                            r"proxy_protocol is on, and trusted_downstream does not have it")

    def test_a_unix_socket_is_trusted_by_its_name(self):
        path = f"/tmp/tornadod-test-{os.getpid()}.sock"
        keys = f"[listen:u]\naddress = unix:{path}\nxheaders = on\ntrusted_downstream = unix:\n"
        with harness.Daemon(listeners={}, ini=keys), harness.Connection(path) as conn:
            answer = conn.request("GET", "/client", "X-Real-Ip: 1.1.1.1\r\nX-Scheme: https\r\n")
            self.assertEqual(answer.body, b"1.1.1.1 https://test/client")

    def test_a_check_that_only_connects_is_no_news(self):
        keys = "proxy_protocol = on\ndefer_accept = off\n" + TRUSTED
        with harness.Daemon(listeners={"default": keys}) as daemon:
            daemon.connect().close()
            with daemon.connect() as conn:
                conn.send(b"PROXY UNKNOWN\r\n" + GET)
                self.assertEqual(conn.response().status, 200)
            self.assertNotIn("PROXY protocol", daemon.log.text())

    def test_limits(self):
        keys = "proxy_protocol = on\nheader_timeout = 100ms\nmax_connections_per_address = 1\n" \
               "defer_accept = off\n" + TRUSTED
        with harness.Daemon(listeners={"default": keys}) as daemon:
            with daemon.connect() as conn:
                conn.send(b"PROXY TCP4 1.1.1.1 ")
                conn.expect_end()
            daemon.wait_log("PROXY protocol from 127.0.0.1: header_timeout; closed")
            with daemon.connect() as first, daemon.connect() as second, daemon.connect() as third:
                for conn, ip, status in ((first, b"1.1.1.1", 200), (second, b"1.1.1.1", 503),
                                         (third, b"1.1.1.2", 200)):
                    conn.send(b"PROXY TCP4 %s 2.2.2.2 1 2\r\n" % ip + GET)
                    self.assertEqual(conn.response().status, status)
                second.expect_end()
            daemon.wait_log("503 to a new connection: max_connections_per_address")

    def test_the_access_log_has_the_client(self):
        keys = "xheaders = on\n" + TRUSTED
        lines = {"tornado": r"200 GET /client \(192\.0\.2\.7\) ",
                 "combined": r"192\.0\.2\.7 - - \[.*\"GET /client HTTP/1\.1\" 200 ",
                 "json": r'"remote_ip":"192\.0\.2\.7"'}
        for access, line in lines.items():
            with self.subTest(access), harness.Daemon(
                    listeners={"default": keys}, ini=f"[log]\naccess = {access}\n") as daemon:
                daemon.get("/client", headers="X-Real-Ip: 192.0.2.7\r\n")
                daemon.wait_log(line)

    def test_a_drain_answers_who_is_introduced_and_ends_who_is_not(self):
        keys = "proxy_protocol = on\ndefer_accept = off\n" + TRUSTED
        with harness.Daemon(listeners={"default": keys}) as daemon:
            with daemon.connect() as silent, daemon.connect() as late:
                silent.send(b"PROXY ")
                late.send(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET)
                self.assertEqual(late.response().status, 200)
                self.assertEqual(daemon.stop(), 0)
                self.assertIn("200 GET /client (1.1.1.1) ", daemon.log.text())
                silent.expect_end()
                late.expect_end()


if __name__ == "__main__":
    unittest.main()
