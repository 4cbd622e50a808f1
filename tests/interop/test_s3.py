"""Packages from an S3 server that somebody else wrote."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from conftest import Par, free_ports, serving

BUCKET = "pixell-agent-packages"
REGION = "us-east-2"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATESTONLYTESTONLY", "AWS_SECRET_ACCESS_KEY": "opens-nothing"}


class Bucket:
    """A bucket of moto's server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}, retries={"max_attempts": 3}),
        )
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def publish(self, *packages: tuple[str, bytes]) -> None:
        """Store packages of the name `far` and, last, the index that names them."""
        entries = []
        for version, body in packages:
            url = f"far-{version}.apkg"
            self.put(f"registry/{url}", body)
            digest = hashlib.sha256(body).hexdigest()
            entries.append({"name": "far", "version": version, "url": url, "sha256": digest})
        self.put("registry/index.json", json.dumps({"version": 1, "packages": entries}).encode())

    def variables(self) -> dict[str, str]:
        """What a `par` needs to read from it."""
        return {
            **CREDENTIALS,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT_URL": self.endpoint,
            "HOST": "127.0.0.1",
        }


def package(version: str) -> bytes:
    """An archive that answers with its version."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("agent.yaml", f"name: far\nversion: '{version}'\nentrypoint: main:run\n")
        archive.writestr("main.py", f"def run(input):\n    return '{version}'\n")
    return out.getvalue()


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    """moto's server as a process, with a bucket."""
    (port,) = free_ports(1)
    with (tmp_path / "moto.log").open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while "Running on" not in (tmp_path / "moto.log").read_text():
            assert child.poll() is None and time.monotonic() < deadline, (tmp_path / "moto.log").read_text()
            time.sleep(0.05)
        yield Bucket(f"http://127.0.0.1:{port}")
    finally:
        child.terminate()
        child.wait(timeout=20)


@pytest.fixture
def data() -> Iterator[Path]:
    """A short path: sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="par-") as directory:
        yield Path(directory)


def invoke_until(par: Par, expected: str) -> None:
    """Call until the answer is the expected one."""
    deadline = time.monotonic() + 20
    while (answer := par.invoke("far", {})) != expected:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def test_an_object_is_a_source_and_the_usual_bucket_need_not_be_named(bucket: Bucket, data: Path) -> None:
    body = package("1.0.0")
    bucket.put("deep/down/far.apkg", body)
    source = f"s3:///deep/down/far.apkg#sha256={hashlib.sha256(body).hexdigest()}"
    with serving(data, source, **bucket.variables()) as par:
        assert par.invoke("far", {}) == "1.0.0"
        status, told = par.request("POST", "/runtime/packages/load", {"url": f"s3://{BUCKET}/nowhere.apkg"})
        assert (status, told["step"]) == (422, "fetch"), told
        assert "404" in told["detail"], told


def test_an_index_is_polled_and_a_new_version_goes_live(bucket: Bucket, data: Path, tmp_path: Path) -> None:
    bucket.publish(("1.0.0", package("1.0.0")))
    registry = {"REGISTRY_URL": f"s3://{BUCKET}/registry/index.json", "REGISTRY_POLL_INTERVAL": "1"}
    with serving(data, **bucket.variables(), **registry) as par:
        assert par.invoke("far", {}) == "1.0.0"
        bucket.publish(("1.0.0", package("1.0.0")), ("1.1.0", package("1.1.0")))
        invoke_until(par, "1.1.0")
        log = (tmp_path / "moto.log").read_text()
        fetches = [line for line in log.splitlines() if "GET" in line and ".apkg" in line]
        assert len(fetches) == 2, fetches
