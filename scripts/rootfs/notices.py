"""The licences' own texts: most of them may be passed on only together with what they cover."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .bom import Part, run

# How authors name such files, at the root of a package or in a folder LICENSES (reuse.software).
_NAMED = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)(\b|[-_.])", re.IGNORECASE)
_CODE = {".rs", ".py", ".toml", ".json", ".yml", ".sh"}
_RULE = "=" * 100


def _is_text(path: Path) -> bool:
    return bool(_NAMED.match(path.name)) and path.suffix not in _CODE and path.is_file()


@dataclass(frozen=True)
class Held:
    """A part, and the texts that came with it; none where its authors gave the licence's name alone."""

    part: Part
    texts: tuple[str, ...]


def of_crates(parts: Iterable[Part], checkout: Path) -> list[Held]:
    """The texts in the sources of crates, as cargo unpacked them."""
    (host,) = re.findall(r"^host: (\S+)$", run(["rustc", "-vV"], checkout), re.MULTILINE)
    # Without a platform it would fetch the crates of all others.
    told = run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host], checkout
    )
    places: Mapping[tuple[str, str], Path] = {
        (each["name"], each["version"]): Path(each["manifest_path"]).parent
        for each in json.loads(told)["packages"]
    }
    return [Held(part, tuple(texts(places[part.name, part.version]))) for part in parts]


def of_uv(part: Part, program: Path) -> Held:
    """Those of the package of PyPI beside which the program was installed."""
    places = program.resolve().parent.parent.glob(
        f"lib/python3*/*-packages/uv-{part.version}.dist-info/licenses"
    )
    return Held(part, tuple(text for place in sorted(places) for text in texts(place)))


def texts(folder: Path) -> list[str]:
    """What a folder of sources has of them, in the order of names. Crates of C libraries have these in a folder."""
    files = [each for each in folder.iterdir() if _is_text(each)]
    files += [each for each in folder.glob("LICENSES/*") if each.is_file()]
    if re.search(r"-sys-[\d.]+", folder.name):
        files += [each for each in folder.glob("*/*") if _is_text(each)]
    found = (each.read_text("utf-8", "replace") for each in sorted(files))
    return [text.replace("\r\n", "\n").strip() for text in found if text.strip()]


def page(held: Iterable[Held]) -> str:
    """Every text once, below the names of all that came with it."""
    covered: dict[str, tuple[str, list[str]]] = {}
    bare: list[str] = []
    for one in held:
        named = f"{one.part.name} {one.part.version}"
        if not one.texts:
            bare.append(f"{named}: {' AND '.join(one.part.licences)}")
        for text in one.texts:
            # The same words in other lines are the same text.
            covered.setdefault(" ".join(text.split()), (text, []))[1].append(named)
    chapters = [f"{', '.join(names)}\n\n{text}" for text, names in covered.values()]
    if bare:
        chapters.append(
            "These came with no text of their own, but with the name of their licence:\n\n" + "\n".join(bare)
        )
    return f"\n\n{_RULE}\n\n".join(chapters) + "\n"
