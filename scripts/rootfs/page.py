"""What the image takes, as a page: the last build is kept with the results of the benches."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What is in a layer, for people.
WHAT = {
    "base": "C and C++ libraries, certificates, time zones, licences",
    "python": "Python 3.11 with its libraries, compiled ahead",
    "uv": "installs what packages of agents need",
    "par": "the runtime, its bill of materials (CycloneDX) and licences",
}


def write(folder: Path, sizes: dict[str, Any], version: str) -> None:
    """`image.md` for people and `image.json` for machines."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "par": version,
    }
    lines = [
        "# Image",
        "",
        "Written by `make rootfs`: " + " · ".join(f"{k} {v}" for k, v in about.items()) + ".",
        "",
    ]
    lines += ["| layer | | MB | packed | files |", "|---|---|---|---|---|"]
    for each in sizes["layers"]:
        lines.append(
            f"| {each['name']} | {WHAT[each['name']]} | {each['bytes'] / 1e6:.1f} | {each['packed'] / 1e6:.1f} | {each['files']} |"
        )
    lines.append(
        f"| all | `{sizes['digest']}` | {sizes['bytes'] / 1e6:.1f} | {sizes['packed'] / 1e6:.1f} | |"
    )
    (folder / "image.md").write_text("\n".join(lines) + "\n")
    (folder / "image.json").write_text(json.dumps({"about": about, **sizes}, indent=1) + "\n")
