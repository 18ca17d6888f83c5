"""Certificates for tests, made by openssl(1) when they are asked for, in a folder that goes with the test."""

import os
import shutil
import ssl
import subprocess
import tempfile


class Certificates:
    """
    A CA of this test's own and what it signs.

    ca               its certificate, a file
    make(name, ...)  (certificate, key) files for that host name or address
    server(...)      an SSLContext that presents such a one
    """

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tornadod-certificates-")
        os.chmod(self.folder, 0o755)
        self.ca, self.ca_key = self._issue("ca", "/CN=Test CA", ["basicConstraints=critical,CA:TRUE"])

    def close(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def _run(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.folder)

    def _issue(self, name, subject, extensions, ca=None, days=("-days", "2")):
        """ca: None: it signs itself."""
        certificate, key, request = (self.path(f"{name}.{kind}") for kind in ("pem", "key", "csr"))
        with open(self.path(f"{name}.ext"), "w", encoding="utf-8") as file:
            file.write("\n".join(extensions) + "\n")
        self._run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-keyout", key, "-out", request, "-subj", subject)
        signer = ("-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial") if ca else ("-signkey", key)
        self._run("x509", "-req", "-in", request, "-out", certificate, *signer, *days,
                  "-extfile", self.path(f"{name}.ext"))
        os.chmod(key, 0o644)  # workers may be somebody else
        return certificate, key

    def make(self, name, *, host="localhost", self_signed=False, expired=False):
        """host None: it has no names but its subject's."""
        kind = "IP" if host and (host[0].isdigit() or ":" in host) else "DNS"
        return self._issue(name, f"/CN={name}",
                           [f"subjectAltName={kind}:{host}" if host else "basicConstraints=CA:FALSE"],
                           ca=not self_signed, days=("-days", "-1" if expired else "2"))

    def server(self, name="server", **how):
        certificate, key = self.make(name, **how)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context
