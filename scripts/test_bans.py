"""What the runtime may not be built on, and that the lists would notice it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from house import CHECKOUT, banned

RULES = (CHECKOUT / "deny.toml").read_text()


def ruff(folder: str, code: str) -> subprocess.CompletedProcess[str]:
    """Lint a text as if it stood in this folder of the checkout."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"]
    command += ["--stdin-filename", f"{folder}/imports.py", "-"]
    return subprocess.run(command, cwd=CHECKOUT, input=code, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "crate",
    [
        "aws-sdk-ecs",
        "aws-sdk-elasticloadbalancingv2",
        "aws-sdk-servicediscovery",
        "aws-sdk-dynamodb",
        "sqlx",
        "tokio-postgres",
        "redis",
    ],
)
def test_a_banned_crate_is_found_in_the_lock_file(crate: str) -> None:
    """By the rules of this checkout."""
    lock = f'[[package]]\nname = "serde"\n\n[[package]]\nname = "{crate}"\n'
    assert [fault for fault in banned(RULES, lock) if crate in fault]


def test_nothing_that_is_banned_is_built_in() -> None:
    """S3 is, and nothing else of AWS that acts."""
    lock = (CHECKOUT / "Cargo.lock").read_text()
    assert list(banned(RULES, lock)) == []
    assert 'name = "aws-sdk-s3"' in lock


@pytest.mark.parametrize(
    "code",
    ["import boto3\n", "from botocore.session import Session\n", "import psycopg2\n", "import redis\n"],
)
def test_a_banned_import_is_found_in_the_python_half(code: str) -> None:
    """Wherever it stands."""
    for folder in ("pool/worker/pixell_runtime", "scripts", "loadtest/bench"):
        found = ruff(folder, code)
        assert found.returncode == 1, (folder, found)
        assert "TID251" in found.stdout, (folder, found)


def test_what_is_not_banned_passes() -> None:
    """The linter does run."""
    found = ruff("pool/worker/pixell_runtime", "import json\n")
    assert found.returncode == 0, found
