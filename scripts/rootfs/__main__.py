"""Build the root of the image, its layers and its bill of materials, and refuse one that is too large.

usage: python -m rootfs --binary PAR --uv UV --out DIRECTORY [--most MEGABYTES] [--results DIRECTORY]

`DIRECTORY/layers/*` are the layers as folders, `DIRECTORY/root` all of them together, `DIRECTORY/image` the image in the layout
of OCI, `DIRECTORY/sizes.json` what each takes. Equal inputs make equal bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import bom, debian, layers, notices, page

CHECKOUT = Path(__file__).resolve().parents[2]
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def main() -> int:
    """0: built and small enough; 1: too large, or something in it has no licence."""
    chosen = _arguments()
    # Times in it are those of the source, or of the epoch.
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
    out: Path = chosen.out
    for name in ("layers", "root", "image"):
        shutil.rmtree(out / name, ignore_errors=True)
    version = _first([str(chosen.binary), "--version"]).split()[-1]
    uv_version = _first([str(chosen.uv), "--version"]).split()[1]

    base = debian.fetch(debian.BASE, out / "debs")
    python = debian.fetch(debian.PYTHON, out / "debs")
    _base(base, out / "layers" / "base")
    _python(python, out / "layers" / "base", out / "layers" / "python")
    uv = out / "layers" / "uv" / "usr" / "bin" / "uv"
    _copy(chosen.uv, uv)
    installer = bom.Part("uv", uv_version, f"pkg:pypi/uv@{uv_version}", ("MIT OR Apache-2.0",))
    crates, charts = bom.of_cargo(CHECKOUT), bom.of_page()
    parts = [
        *bom.of_debian(base, out / "layers" / "base"),
        *bom.of_debian(python, out / "layers" / "python"),
        installer,
        *crates,
        *charts,
    ]
    # The packages of Debian bring their own, in usr/share/doc.
    held = [
        notices.of_uv(installer, chosen.uv),
        *notices.of_crates(crates, CHECKOUT),
        *(notices.Held(each, tuple(notices.texts(bom.VENDORED))) for each in charts),
    ]
    about = out / "layers" / "par" / "usr" / "share" / "doc" / "par"
    about.mkdir(parents=True)
    (about / "sbom.cdx.json").write_text(bom.document(version, parts, created))
    (about / "licences.tsv").write_text(bom.table(parts))
    (about / "notices.txt").write_text(notices.page(held))
    _copy(chosen.binary, out / "layers" / "par" / "usr" / "bin" / "par", strip=True)

    made = [layers.layer(name, out / "layers" / name, epoch) for name in ("base", "python", "uv", "par")]
    labels = {"org.opencontainers.image.title": "par", "org.opencontainers.image.version": version}
    labels |= {"org.opencontainers.image.revision": chosen.revision} if chosen.revision else {}
    architecture = MACHINES[os.uname().machine]
    digest = layers.image(made, labels, architecture, created, out / "image")
    for each in made:
        _together(out / "layers" / each.name, out / "root")
    if chosen.results:
        page.write(chosen.results, _sizes(out, made, digest), version)
    return _told(out, made, digest, chosen.most, bom.unlicensed(parts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rootfs", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the release build of par")
    parser.add_argument("--uv", type=Path, required=True, help="the uv that installs packages of agents")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is built")
    parser.add_argument("--most", type=float, default=150.0, help="megabytes that it may have, not packed")
    parser.add_argument("--results", type=Path, help="folder for a page with the sizes")
    parser.add_argument("--revision", default="", help="the commit, for the label")
    return parser.parse_args()


def _base(fetched: list[debian.Fetched], root: Path) -> None:
    debian.unpack(fetched, root)
    debian.certificates(root)
    for directory in ("tmp", "var/lib/par", "etc", "proc", "dev", "sys", "run"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/:/\npar:x:{layers.USER}:{layers.USER}:par:/var/lib/par:/\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\npar:x:{layers.USER}:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def _python(fetched: list[debian.Fetched], base: Path, root: Path) -> None:
    """The layer of Python. Compiled here: below a read-only root each start would compile it anew."""
    debian.unpack(fetched, root, on=base)
    (root / "usr/bin/python3").symlink_to("python3.11")
    both = root.parent / "compiling"
    shutil.rmtree(both, ignore_errors=True)
    _together(base, both)
    _together(root, both)
    inside = ["chroot", str(both), "/usr/bin/python3.11", "-I", "-m", "compileall", "-q"]
    inside += ["--invalidation-mode", "unchecked-hash", "/usr/lib/python3.11"]
    rights = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONHASHSEED": "0"}
    subprocess.run([*rights, *inside], check=True, env=environment)
    for path in sorted((both / "usr/lib/python3.11").rglob("*.pyc")):
        _copy(path, root / path.relative_to(both))
    shutil.rmtree(both)


def _together(layer: Path, root: Path) -> None:
    shutil.copytree(layer, root, symlinks=True, dirs_exist_ok=True)
    for inside, mode in (layers.HIS | layers.STICKY).items():
        if (root / inside).is_dir():
            (root / inside).chmod(mode)
    if os.geteuid() == 0 and (root / "var/lib/par").is_dir():
        os.chown(root / "var/lib/par", layers.USER, layers.USER)


def _copy(source: Path, target: Path, strip: bool = False) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.resolve(), target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    if strip:
        subprocess.run(["strip", "--strip-all", str(target)], check=True)


def _sizes(out: Path, made: list[layers.Layer], digest: str) -> dict[str, Any]:
    packed = {
        each.name: entry["size"] for each, entry in zip(made, _manifest(out, digest)["layers"], strict=True)
    }
    return {
        "digest": digest,
        "bytes": sum(each.size for each in made),
        "packed": sum(packed.values()),
        "layers": [
            {
                "name": each.name,
                "files": each.files,
                "bytes": each.size,
                "packed": packed[each.name],
                "digest": each.digest,
            }
            for each in made
        ],
    }


def _told(out: Path, made: list[layers.Layer], digest: str, most: float, unlicensed: list[str]) -> int:
    sizes = _sizes(out, made, digest)
    (out / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
    for each in sizes["layers"]:
        print(
            f"rootfs: {each['name']:7} {each['bytes'] / 1e6:6.1f} MB, packed {each['packed'] / 1e6:5.1f} MB, "
            f"{each['files']} files"
        )
    total = sizes["bytes"]
    print(f"rootfs: {'all':7} {total / 1e6:6.1f} MB, packed {sizes['packed'] / 1e6:5.1f} MB")
    print(f"rootfs: image {digest} in {out / 'image'}, root in {out / 'root'}")
    faults = [f"no licence is known of {name}" for name in unlicensed]
    if total > most * 1e6:
        faults.append(f"{total / 1e6:.1f} MB, more than {most:g}")
    for fault in faults:
        print(f"rootfs: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _manifest(out: Path, digest: str) -> dict[str, list[dict[str, int]]]:
    found: dict[str, list[dict[str, int]]] = json.loads(
        (out / "image" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    )
    return found


def _first(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
