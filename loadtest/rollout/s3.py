"""A real S3 server (moto's, from a pinned environment of its own) with one bucket."""

from __future__ import annotations

import http.client
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import tools
from bench.client import HOST
from bench.server import Server, free_ports, start

from .plan import Unexpected

BUCKET = "rollout"
ENVIRONMENTS = Path(__file__).parent
# What is there already is replaced only by somebody whom it knows; whose signature it is it does not ask.
CREDENTIAL = "Credential=bench/20260101/us-east-1/s3/aws4_request"
HEADERS = {
    "Content-Type": "application/octet-stream",
    "Authorization": f"AWS4-HMAC-SHA256 {CREDENTIAL}, SignedHeaders=host, Signature=0",
}
# Its access line, coloured by status: `… "GET /bucket/key HTTP/1.1" 200 -`
LINE = re.compile(r'"(?:\x1b\[[0-9;]*m)*GET /[^/ ]+/([^ ?"]+)[^"]*" (\d{3})')


@dataclass(frozen=True)
class Fetch:
    """One request for an object."""

    key: str
    status: int


@dataclass(frozen=True)
class Bucket:
    """The bucket, and what was read from it."""

    server: Server

    @property
    def env(self) -> dict[str, str]:
        """What PAR needs to read it."""
        return {
            "S3_ENDPOINT_URL": self.server.url(""),
            "S3_BUCKET": BUCKET,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, key: str) -> str:
        """The address of an object."""
        return f"s3://{BUCKET}/{key}"

    def put(self, key: str, content: bytes) -> None:
        """Store or replace an object."""
        self._put(f"/{BUCKET}/{key}", content)

    def fetches(self, since: int = 0) -> list[Fetch]:
        """Every request for an object after the position `since` of the log."""
        with self.server.log.open("rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        return [Fetch(key, int(status)) for key, status in LINE.findall(text)]

    def now(self) -> int:
        """The present position of the log."""
        return self.server.log.stat().st_size

    def create(self) -> bool:
        """Make the bucket; False as long as the server does not do so."""
        try:
            self._put(f"/{BUCKET}", b"")
        except Unexpected:
            return False
        return True

    def _put(self, path: str, content: bytes) -> None:
        connection = http.client.HTTPConnection(HOST, self.server.port, timeout=60)
        try:
            connection.request("PUT", path, content, HEADERS)
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != 200:
            raise Unexpected(f"the S3 server answers PUT {path} with {status}")


@contextmanager
def serve() -> Iterator[Bucket]:
    """Start it with an empty bucket; end it when the block ends."""
    home = Path(tempfile.mkdtemp(prefix="rollout-s3-"))
    program = tools.environment("s3", ENVIRONMENTS) / "moto_server"
    (port,) = free_ports(1)
    command = [str(program), "-H", HOST, "-p", str(port)]
    with start("moto", port, command, home, {"PYTHONUNBUFFERED": "1"}, home / "log") as server:
        bucket = Bucket(server)
        server.wait(bucket.create)
        yield bucket
    shutil.rmtree(home, ignore_errors=True)
