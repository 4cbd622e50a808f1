"""The bill of materials (CycloneDX) and the licences of everything that is in the image."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .debian import Fetched, licences

# Where the dashboard's library of charts lies, with its licence.
VENDORED = Path(__file__).resolve().parents[2] / "gateway/src/control/dashboard/vendor"


@dataclass(frozen=True)
class Part:
    """One thing that somebody else wrote."""

    name: str
    version: str
    purl: str
    licences: tuple[str, ...]


def of_debian(fetched: Iterable[Fetched], root: Path) -> list[Part]:
    """The packages of the base, with what their copyright files say."""
    return [
        Part(
            one.name,
            one.version,
            f"pkg:deb/debian/{one.name}@{one.version}?arch={one.architecture}",
            tuple(licences(root, one.name)),
        )
        for one in fetched
    ]


def of_cargo(checkout: Path) -> list[Part]:
    """The crates that are linked into `par`; those of builds and tests are not."""
    tree = ["cargo", "tree", "--locked", "--package", "par-gateway", "--edges", "normal"]
    told = run([*tree, "--prefix", "none", "--format", "{p}\t{l}"], checkout)
    found = set()
    for line in told.splitlines():
        named, _, licence = line.replace(" (*)", "").partition("\t")
        match = re.match(r"(\S+) v(\S+)( \(proc-macro\))?( \(/.*\))?$", named.strip())
        if match and not match.group(4):
            name, version = match.group(1), match.group(2)
            found.add(Part(name, version, f"pkg:cargo/{name}@{version}", (licence.strip(),)))
    return sorted(found, key=lambda part: (part.name, part.version))


def of_page() -> list[Part]:
    """What is embedded in the dashboard; its own head says which version it is."""
    head = (VENDORED / "uplot.min.js").read_text()[:200]
    match = re.search(r"uPlot \(v([\d.]+)\)", head)
    if not match:
        raise SystemExit("rootfs: the head of uplot.min.js does not tell its version")
    return [Part("uplot", match.group(1), f"pkg:npm/uplot@{match.group(1)}", ("MIT",))]


def document(version: str, parts: Iterable[Part], created: str) -> str:
    """CycloneDX 1.6. Equal parts make equal bytes: it has no serial number."""
    components = [
        {
            "type": "library",
            "bom-ref": part.purl,
            "name": part.name,
            "version": part.version,
            "purl": part.purl,
            "licenses": [_licence(each) for each in part.licences],
        }
        for part in parts
    ]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": {"type": "application", "bom-ref": "par", "name": "par", "version": version},
        },
        "components": components,
    }
    return json.dumps(bom, indent=1, sort_keys=True) + "\n"


def table(parts: Iterable[Part]) -> str:
    """The same for people: a line for each part."""
    lines = [f"{part.name}\t{part.version}\t{' AND '.join(part.licences)}" for part in parts]
    return "\n".join(["name\tversion\tlicence", *lines, ""])


def unlicensed(parts: Iterable[Part]) -> list[str]:
    """Parts that say nothing of their licence: nobody may pass them on."""
    return [part.name for part in parts if not any(each.strip() for each in part.licences)]


def _licence(text: str) -> dict[str, Any]:
    # Crates say it as an expression of SPDX; the words of Debian are their own.
    if re.fullmatch(r"[A-Za-z0-9.+-]+", text):
        return {"license": {"name": text}}
    return {"license": {"name": text.replace("/", " OR ")}}


def run(command: list[str], cwd: Path) -> str:
    """What a program prints; the end of all if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"rootfs: {' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout
