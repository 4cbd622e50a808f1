"""The root of the image: the same bytes twice, and `par` at work in it with nothing to write to but its own places."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT, binary, free_ports

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("unshare") and os.geteuid() == 0),
    reason="NOT CHECKED: the root is made of Debian's packages, and entered by root",
)
# The binary under test is a debug build: its size says nothing. `make rootfs` asks for the real bound.
MOST = "400"
# What the container runtime does with a read-only root, two places to write, and a user without rights.
ENTER = """
set -e
mount --bind "$ROOT" "$ROOT"; mount -o remount,ro,bind "$ROOT"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$ROOT/var/lib/par"
mount -t proc proc "$ROOT/proc"; mount --rbind /dev "$ROOT/dev"
cp -r "$AGENTS"/* "$ROOT/tmp/"
exec "$CHROOT" --userspec=10001:10001 "$ROOT" "$@"
"""


def build(out: Path) -> dict[str, Any]:
    """Build it; what its layers take."""
    uv = shutil.which("uv")
    assert uv
    command = [sys.executable, "-m", "rootfs", "--binary", str(binary()), "--uv", uv, "--out", str(out)]
    done = subprocess.run(
        [*command, "--most", MOST], cwd=CHECKOUT / "scripts", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads((out / "sizes.json").read_text())
    return told


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One build."""
    out = tmp_path_factory.mktemp("rootfs")
    return out, build(out)


def inside(root: Path, agents: Path, command: list[str], **variables: str) -> subprocess.Popen[str]:
    """Start a program in it, as the container runtime would."""
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "ROOT": str(root),
        "AGENTS": str(agents),
        "CHROOT": shutil.which("chroot") or "/usr/sbin/chroot",
        "HOME": "/tmp",
        "PAR_DATA_DIR": "/var/lib/par",
        "HOST": "127.0.0.1",
        **variables,
    }
    entering = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", *command]
    return subprocess.Popen(
        entering, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def serving(root: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """`par` in it with two packages: its port, and its log lines until it was ready."""
    port, metrics, grpc = free_ports(3)
    ports = {"PORT": str(port), "METRICS_PORT": str(metrics), "A2A_PORT": str(grpc)}
    sources = ["/tmp/hello", "/tmp/files"]
    child = inside(root, CHECKOUT / "tests" / "agents", ["/usr/bin/par", "serve", *sources], **ports)
    assert child.stdout is not None
    lines = []
    try:
        for text in child.stdout:
            assert text.startswith("{"), text + child.stdout.read()
            lines.append(json.loads(text))
            if lines[-1]["event"] == "ready":
                break
        assert child.poll() is None, lines
        yield port, lines
    finally:
        child.terminate()
        child.communicate(timeout=30)
    assert child.returncode == 0


def test_it_is_the_same_twice_and_each_layer_tells_its_size(
    built: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, told = built
    time.sleep(1.1)  # another second on the clock: no time of the build is in it
    again = build(tmp_path)
    assert again == told
    assert [each["name"] for each in told["layers"]] == ["base", "python", "uv", "par"]
    assert sum(each["bytes"] for each in told["layers"]) == told["bytes"]
    manifest = out / "image" / "blobs" / "sha256" / told["digest"].removeprefix("sha256:")
    for each in json.loads(manifest.read_text())["layers"]:
        blob = out / "image" / "blobs" / "sha256" / each["digest"].removeprefix("sha256:")
        assert blob.stat().st_size == each["size"]


def test_all_but_par_fits_beside_it(built: tuple[Path, dict[str, Any]]) -> None:
    _, told = built
    others = sum(each["bytes"] for each in told["layers"] if each["name"] != "par")
    # 150 MB in all; the release build takes about 40.
    assert others < 100e6, told


def test_par_serves_in_it_as_nobody_with_its_whole_sandbox(built: tuple[Path, dict[str, Any]]) -> None:
    out, _ = built
    with serving(out / "root") as (port, lines):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/agents/hello/invoke", b"{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["message"]) == (200, "Hello, world!")
        connection.close()
        (told,) = re.findall(
            r"^HEALTHCHECK .* CMD (\[.*\])$",
            (CHECKOUT / "Dockerfile").read_text().replace("\\\n", ""),
            re.MULTILINE,
        )
        for asked, code in ((port, 0), (free_ports(1)[0], 1)):
            check = inside(out / "root", CHECKOUT / "tests" / "agents", json.loads(told), PORT=str(asked))
            check.communicate(timeout=60)
            assert check.returncode == code, told
    confined = [line["details"] for line in lines if line["event"] == "sandbox"]
    assert confined and all(each["level"] == "full" for each in confined), confined


def test_what_agents_need_of_python_is_there(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = built
    wanted = (
        "asyncio, bz2, ctypes, decimal, hashlib, lzma, multiprocessing, sqlite3, ssl, uuid, zlib, zoneinfo"
    )
    code = (
        f"import {wanted}; zoneinfo.ZoneInfo('Europe/Berlin'); ctypes.CDLL('libstdc++.so.6')\n"
        "print(len(ssl.create_default_context().get_ca_certs()) > 50, ssl.__cached__.endswith('.pyc'))\n"
        "try: open('/usr/new', 'w')\nexcept OSError as error: print(error.strerror)"
    )
    child = inside(out / "root", CHECKOUT / "tests" / "agents", ["/usr/bin/python3", "-c", code])
    told, _ = child.communicate(timeout=60)
    assert told.splitlines() == ["True True", "Read-only file system"], told


def test_uv_makes_environments_in_it(built: tuple[Path, dict[str, Any]]) -> None:
    out, _ = built
    command = ["/usr/bin/uv", "venv", "--offline", "--python", "/usr/bin/python3.11", "/tmp/made"]
    child = inside(out / "root", CHECKOUT / "tests" / "agents", command, UV_CACHE_DIR="/tmp/cache")
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and "/tmp/made" in told, told


def test_everything_in_it_has_a_licence_and_a_place_in_the_bill_of_materials(
    built: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = built
    bom = json.loads((out / "root/usr/share/doc/par/sbom.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    components = {each["purl"].partition("@")[0]: each for each in bom["components"]}
    for name in (
        "pkg:deb/debian/libc6",
        "pkg:deb/debian/python3.11",
        "pkg:pypi/uv",
        "pkg:cargo/pingora-core",
        "pkg:npm/uplot",
    ):
        assert name in components, name
    assert [each["name"] for each in bom["components"] if not each["licenses"]] == []
    # Licences that must be passed on with what they cover: the words, and not only the name.
    notices = (out / "root/usr/share/doc/par/notices.txt").read_text()
    for each in bom["components"]:
        if not each["purl"].startswith("pkg:deb/"):
            assert f"{each['name']} {each['version']}" in notices, each["name"]
    for words in ("Permission is hereby granted", "TERMS AND CONDITIONS FOR USE", "Leon Sorokin", "Astral"):
        assert words in notices, words
    packages = [each for each in bom["components"] if each["purl"].startswith("pkg:deb/")]
    for each in packages:
        # Who passes the image on passes their terms on as well.
        assert (out / "root/usr/share/doc" / each["name"] / "copyright").exists(), each["name"]
    # A library in it that no package of the bill brought would be one that nobody answers for.
    assert len(packages) == len({each["name"] for each in packages}) >= 20
