"""Results as JSON for machines, HTML and SVG for people."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .run import Seen

WIDTH, ROW, LEFT = 860, 26, 150
# Light and dark: the picture follows whoever looks at it.
STYLE = """
text{font:13px system-ui,sans-serif;fill:#1a1a1a}.p50{fill:#2563eb}.p95{fill:#60a5fa}.p99{fill:#bfdbfe}.bad{fill:#dc2626}
@media (prefers-color-scheme: dark){text{fill:#e5e5e5}.p99{fill:#1e3a8a}}
"""


def picture(seen: Sequence[Seen]) -> str:
    """A bar for each run: p50, p95 and p99 inside each other, on a scale of powers of ten."""
    height = ROW * (len(seen) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>p50, p95 and p99 of every run, in milliseconds</title>",
        f"<style>{STYLE}</style>",
    ]
    for power in range(-1, 5):
        x = _x(10.0**power)
        lines.append(f'<text x="{x:.0f}" y="16" text-anchor="middle">{10.0**power:g} ms</text>')
    for number, each in enumerate(seen):
        y = ROW * (number + 1)
        kind = "" if each.fine else ' class="bad"'
        lines.append(
            f'<text x="{LEFT - 8}" y="{y + 17}" text-anchor="end"{kind}>{html.escape(each.name)}</text>'
        )
        for name, value in (("p99", each.p99), ("p95", each.p95), ("p50", each.p50)):
            wide = max(1.0, _x(value) - LEFT)
            lines.append(
                f'<rect class="{name}" x="{LEFT}" y="{y + 4}" width="{wide:.1f}" height="{ROW - 8}"/>'
            )
        lines.append(f'<text x="{_x(each.p99) + 6:.0f}" y="{y + 17}">{each.p95:.1f}</text>')
    lines.append(f'<text x="{LEFT}" y="{height - 8}">dark to light: p50, p95 (its number), p99</text></svg>')
    return "\n".join(lines) + "\n"


def _x(milliseconds: float) -> float:
    # From 0.1 ms to 10 s.
    power = math.log10(min(max(milliseconds, 0.1), 10_000.0))
    return LEFT + (power + 1) / 5 * (WIDTH - LEFT - 60)


def page(about: dict[str, Any], seen: Sequence[Seen]) -> str:
    """One page that needs nothing else."""
    head = [
        "run",
        "tool",
        "calls",
        "calls/s",
        "failed",
        "dropped",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "worst ms",
        "CPU s",
        "holds",
    ]
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in _cells(each)) + "</tr>"
        for each in seen
    )
    broken = [f"{each.name}: {what}" for each in seen for what, held in each.held.items() if not held]
    told = "".join(f"<li>{html.escape(text)}</li>" for text in broken) or "<li>none</li>"
    facts = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(value))}</dd>" for key, value in about.items()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>PAR under load</title>
<style>body{{font:15px system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}}
td:first-child,th:first-child{{text-align:left}}dl{{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem}}dd{{margin:0}}</style>
<h1>PAR under load</h1>{picture(seen)}
<table><thead><tr>{"".join(f"<th>{name}</th>" for name in head)}</tr></thead><tbody>{rows}</tbody></table>
<h2>Thresholds that do not hold</h2><ul>{told}</ul><h2>Machine</h2><dl>{facts}</dl></html>
"""


def _cells(each: Seen) -> list[str]:
    times = [f"{value:,.2f}" for value in (each.p50, each.p95, each.p99, each.worst)]
    counts = [f"{each.calls:,}", f"{each.rate:,.0f}", str(each.failed), str(each.dropped)]
    return [each.name, each.tool, *counts, *times, f"{each.cpu:.1f}", "yes" if each.fine else "NO"]


def write(folder: Path, about: dict[str, Any], seen: Sequence[Seen]) -> None:
    """All three, side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"about": about, "runs": [each.plain() for each in seen]}
    (folder / "load.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "load.html").write_text(page(about, seen))
    (folder / "load.svg").write_text(picture(seen))
