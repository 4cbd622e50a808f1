"""One SVG, drawn by hand: horizontal bars that can be read on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH = 760
LABEL = 220
BAR = 18
GAP = 8
HEAD = 44
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .bar { fill: #8c959f }
  .par { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .bar { fill: #6e7681 }
    .par { fill: #58a6ff }
  }
"""


def draw(bars: Sequence[Mapping[str, Any]]) -> str:
    """Requests per second and CPU per request, each server a bar, PAR in colour."""
    good = [bar for bar in bars if not bar["errors"]]
    panel = HEAD + len(good) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {2 * panel + 12}" role="img" '
        'aria-label="Echo at 32 connections: requests per second and CPU per request">',
        f"<style>{STYLE}</style>",
        *_panel("Requests per second, 32 connections (longer is better)", good, "rate", 0, "{:,.0f}"),
        *_panel("CPU per request, µs (shorter is better)", good, "cpu_us", panel, "{:,.0f}"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(title: str, bars: Sequence[Mapping[str, Any]], key: str, top: int, shape: str) -> list[str]:
    longest = max((bar[key] for bar in bars), default=1.0)
    parts = [f'<text class="title" x="8" y="{top + 28}">{escape(title)}</text>']
    for number, bar in enumerate(bars):
        y = top + HEAD + number * (BAR + GAP)
        length = max(2.0, bar[key] / longest * (WIDTH - LABEL - 80))
        kind = "bar par" if bar["par"] else "bar"
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(bar["title"])}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 14}">{shape.format(bar[key])}</text>',
        ]
    return parts
