"""The PAR under load: its packages, its TLS and identity, and new versions while it is called."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import ssl
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import process, server
from bench.tokens import AUDIENCE, ISSUER, Issuer

CHECKOUT = Path(__file__).resolve().parents[2]
AGENTS = ("echo", "slow", "streams", "sessions", "files")
# Between two versions of the package that is replaced: a rollout takes a fifth of a second.
PAUSE = 2.0


@dataclass
class Host:
    """A running PAR."""

    server: server.Server
    home: Path
    metrics_port: int
    token: str = ""
    versions: int = 0

    @property
    def base(self) -> str:
        """Where it is called."""
        return f"{'https' if self.token else 'http'}://127.0.0.1:{self.server.port}"

    def upload(self) -> None:
        """A version more of the package `moving`."""
        version = f"1.0.{self.versions}"
        self.versions += 1
        code = f"def run(input):\n    return {{'version': '{version}'}}\n"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("agent.yaml", f"name: moving\nversion: '{version}'\nentrypoint: main:run\n")
            archive.writestr("main.py", code)
        edge = "----------edge"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="moving.apkg"\r\n\r\n'
        body = head.encode() + packed.getvalue() + f"\r\n--{edge}--\r\n".encode()
        operator = (self.home / "data" / "operator.token").read_text().strip()
        kind = {
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Authorization": f"Bearer {operator}",
        }
        told = self._ask("POST", "/runtime/packages/upload", body, kind)
        if told[0] != 200:
            raise RuntimeError(f"version {version} was refused: {told}")

    @contextmanager
    def rolling(self) -> Iterator[None]:
        """A new version again and again, until the end of the block."""
        over = threading.Event()

        def roll() -> None:
            while not over.wait(PAUSE):
                self.upload()

        thread = threading.Thread(target=roll)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def ready(self) -> bool:
        """Is everything mounted?"""
        return self._ask("GET", "/health", b"", {})[0] == 200

    def rss_mb(self) -> float:
        """Memory of the gateway itself."""
        return process.rss_mb(self.server.pid)

    def descriptors(self) -> int:
        """Open files of the gateway."""
        return len(list(Path(f"/proc/{self.server.pid}/fd").iterdir()))

    def processes(self) -> int:
        """The gateway, its templates and workers."""
        return len(process.tree(self.server.pid))

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection
        if self.token:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.server.port, timeout=60, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def hosting(binary: Path, secure: bool = False, calls: int = 0) -> Iterator[Host]:
    """Start it with every package of the scenarios.

    `secure`: with TLS and an issuer of its own; `calls`: so many at once instead of the default.
    """
    home = Path(tempfile.mkdtemp(prefix="par-load-"))
    port, metrics, grpc = server.free_ports(3)
    command = [str(binary), "serve", *(str(CHECKOUT / "tests" / "agents" / name) for name in AGENTS)]
    token = ""
    if secure:
        issuer = Issuer.make(home)
        token = issuer.token()
        command += ["-c", str(_config(home, issuer)), "--tls", "self-signed"]
    variables = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": str(metrics),
        "A2A_PORT": str(grpc),
        "PAR_DATA_DIR": str(home / "data"),
    }
    if calls:
        variables["MAX_CONCURRENT_INVOCATIONS"] = str(calls)
    host = Host(server.start("par", port, command, home, variables, home / "log"), home, metrics, token)
    try:
        host.server.wait(host.ready)
        if not secure:
            host.upload()
        yield host
    finally:
        host.server.stop()
        with suppress(OSError):
            shutil.rmtree(home)


def _config(home: Path, issuer: Issuer) -> Path:
    adapter: dict[str, Any] = {
        "type": "jwks_file",
        "path": str(issuer.jwks),
        "issuer": ISSUER,
        "audience": AUDIENCE,
    }
    path = home / "par.yaml"
    path.write_text(json.dumps({"identity": {"adapters": [adapter]}}))
    return path
