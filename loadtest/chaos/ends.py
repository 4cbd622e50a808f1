"""Those on whom PAR depends, each behind a door: S3, the issuer, the receiver of webhooks, the billing side."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.billing_side import BillingSide, billing_side
from bench.server import free_ports
from bench.tokens import Issuer
from rollout import s3

from .doors import HOST, Door
from .plan import Kind

ROLE = "caller"
OPERATOR = "par-operator"
TENANTS = ("amber", "birch", "cedar", "delta")


@dataclass
class Letters:
    """What the receiver of webhooks got."""

    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Ends:
    """All of them."""

    doors: dict[Kind, Door]
    bucket: s3.Bucket
    billing: BillingSide
    letters: Letters
    issuer: Issuer
    customers: Path

    def token(self, tenant: str, role: str = ROLE, forged: bool = False) -> str:
        """A token of a tenant with one role; a forged one is signed by nobody whom PAR knows."""
        good = self.issuer.token(
            tenant=tenant, issuer=self.doors[Kind.ISSUER].url, roles=(role,), ago=DAY, lives=3 * DAY
        )
        if not forged:
            return good
        text, _, signature = good.rpartition(".")
        half = len(signature) // 2
        return f"{text}.{signature[half:]}{signature[:half]}"


DAY = 86_400


@asynccontextmanager
async def ends(home: Path) -> AsyncIterator[Ends]:
    """Start them and open the doors; all end with the block."""
    issuer = Issuer.make(home)
    customers = home / "customers.yaml"
    customers.write_text(json.dumps({tenant: f"cus_{tenant}" for tenant in (*TENANTS, "operator")}))
    async with AsyncExitStack() as stack:
        ports = free_ports(4)
        bucket = stack.enter_context(s3.serve())
        billing = stack.enter_context(billing_side())
        letters = stack.enter_context(_letters())
        provider = stack.enter_context(_provider(issuer, f"http://{HOST}:{ports[1]}"))
        behind = {
            Kind.S3: bucket.server.port,
            Kind.ISSUER: provider,
            Kind.WEBHOOK: letters.port,
            Kind.BILLING: billing.port,
        }
        doors = {kind: Door(port, inner) for (kind, inner), port in zip(behind.items(), ports, strict=True)}
        for door in doors.values():
            await door.open()
            stack.push_async_callback(door.close)
        yield Ends(doors, bucket, billing, letters, issuer, customers)


@contextmanager
def _letters() -> Iterator[Letters]:
    letters = Letters()

    class Handler(_Quiet):
        def do_POST(self) -> None:
            letters.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.say(b"{}")

    with _serving(Handler) as letters.port:
        yield letters


@contextmanager
def _provider(issuer: Issuer, address: str) -> Iterator[int]:
    """An OpenID provider as far as PAR asks one: discovery and keys."""
    keys = issuer.jwks.read_bytes()
    discovery = {
        "issuer": address,
        "jwks_uri": f"{address}/keys",
        "id_token_signing_alg_values_supported": ["RS256"],
    }

    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.say(keys if self.path == "/keys" else json.dumps(discovery).encode())

    with _serving(Handler) as port:
        yield port


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Connections are broken on purpose here."""


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, body: bytes) -> None:
        """Answer 200 with JSON."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = _Server((HOST, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Signer:
    """A key of GnuPG in a home of its own."""

    home: Path

    @classmethod
    def make(cls, home: Path) -> Signer:
        """Draw the key."""
        home.mkdir(mode=0o700)
        signer = cls(home)
        signer._run("--quick-generate-key", "chaos <chaos@example.org>", "ed25519", "sign", "never")
        return signer

    def public(self, file: Path) -> Path:
        """The public half, as a file."""
        file.write_bytes(self._run("--armor", "--export"))
        return file

    def sign(self, content: bytes) -> bytes:
        """A detached signature."""
        return self._run("--armor", "--detach-sign", "--output", "-", stdin=content)

    def close(self) -> None:
        """End the agent that gpg has started for this home."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.home), "--kill", "all"], capture_output=True, check=False
        )

    def _run(self, *words: str, stdin: bytes = b"") -> bytes:
        # Made in the past: a signature of today would be one of the future for a clock that was set back.
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", "--passphrase", ""]
        command += ["--pinentry-mode", "loopback", "--faked-system-time", "20260102T000000", *words]
        return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout
