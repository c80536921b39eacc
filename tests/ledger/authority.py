"""A time-stamping authority of the tests' own: openssl's, behind an address on the loopback."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIGURATION = """\
[tsa]
default_tsa = one
[one]
serial = ./serial
signer_cert = ./tsa.pem
signer_key = ./tsa.key
certs = ./ca.pem
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_chain = no
"""


@dataclass
class Authority:
    """Keys and certificates in a folder, and what it answers: a token, or ``says`` instead."""

    folder: Path
    says: bytes | None = None
    status: int = 200
    asked: list[bytes] = field(default_factory=list)

    @property
    def certificates(self) -> Path:
        return self.folder / "ca.pem"

    @classmethod
    def create(cls, folder: Path) -> Authority:
        folder.mkdir()
        made = cls(folder)
        (folder / "tsa.cnf").write_text(_CONFIGURATION)
        (folder / "serial").write_text("01\n")
        (folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\n")
        new = ["req", "-newkey", "ed25519", "-nodes"]
        made.openssl(
            *new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", "-days", "2"
        )
        new[2] = "rsa:2048"
        made.openssl(*new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test TSA")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-extfile", "ext"]
        made.openssl("x509", "-req", "-in", "tsa.csr", "-out", "tsa.pem", *signing)
        return made

    def openssl(self, *words: str) -> None:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def answer(self, request: bytes) -> bytes:
        self.asked.append(request)
        if self.says is not None:
            return self.says
        (self.folder / "query").write_bytes(request)
        self.openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "answer")
        return (self.folder / "answer").read_bytes()

    @contextmanager
    def serving(self) -> Iterator[str]:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/timestamp-query"
                data = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(authority.status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *words: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}/tsr"
            server.shutdown()
