"""What is shown rather than printed: figures and tables.

Enters: open figures of matplotlib, values of last expressions, whatever code gives to `display()`. Leaves: displays,
objects with a `kind`:

| kind | members |
|---|---|
| `figure` | `content_type` `image/png`, `data` in base64 |
| `dataframe` | `html`, `records`, `columns`, `rows` and whether it is `truncated` |
| `html` | `html` |
| `text` | `text` |

matplotlib and pandas are used only if the code has imported them.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any, Callable

from pixell_runtime.adapters.python_executor import plain

Display = dict[str, Any]
Show = Callable[[Display], None]

#: Rows of a table in an answer. More are read from a file or by further code.
MAX_ROWS = 1_000

#: Rows of its HTML, which people read.
MAX_HTML_ROWS = 60

#: Bytes of one display in its JSON form; a figure of 300 dots an inch on a whole page fits.
MAX_BYTES = 8 << 20

#: Bytes of all displays of one call. With output and globals they fit one frame.
MAX_ALL_BYTES = 32 << 20


class Shown:
    """The displays of the running call. `show` takes each."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._left = MAX_ALL_BYTES

    def add(self, made: Display) -> None:
        """Shows it, or says that there is too much to show."""
        size = sum(len(part) for part in made.values() if isinstance(part, str))
        if "records" in made:
            size += len(json.dumps(made["records"]))
        if size > min(MAX_BYTES, self._left):
            made = {"kind": "text", "text": f"<a {made['kind']} of {size} bytes is too large to be shown>"}
            size = 0
        self._left -= size
        self._show(made)


# One call runs at a time, and `pyplot.show()` and `display()` know of no call.
_shown: list[Shown] = []


def begin(show: Show) -> None:
    """From now on displays are the call's."""
    _shown[:] = [Shown(show)]


def end() -> None:
    """What threads show later has nobody to see it."""
    _shown.clear()


def display(*values: Any) -> None:
    """Shows values. It is among the globals that code begins with."""
    for value in values:
        show(of(value) or {"kind": "text", "text": plain.text(value)})


def show(made: Display) -> None:
    """Shows what was made for it, if a call runs."""
    for shown in _shown:
        shown.add(made)


def show_figures() -> None:
    """Shows all open figures and closes them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    try:
        for number in pyplot.get_fignums():
            _show_figure(pyplot.figure(number))
    finally:
        pyplot.close("all")


def of(value: Any) -> Display | None:
    """The display of a value that has one."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return table(value)
    if pandas is not None and isinstance(value, pandas.Series):
        return table(value.to_frame())
    html = getattr(type(value), "_repr_html_", None)
    if html is not None and not isinstance(value, type):
        made = html(value)
        if isinstance(made, str):
            return {"kind": "html", "html": made}
    return None


def table(frame: Any) -> Display:
    """A data frame."""
    return {
        "kind": "dataframe",
        "html": frame.to_html(max_rows=MAX_HTML_ROWS, notebook=True),
        "records": records(frame),
        "columns": [plain.text(name) for name in frame.columns],
        "rows": len(frame),
        "truncated": len(frame) > MAX_ROWS,
    }


def records(frame: Any) -> list[dict[str, Any]]:
    """The first rows of a data frame as objects. Nothing, NaN and infinity are null, times are ISO 8601."""
    first = frame.head(MAX_ROWS)
    # Columns may share a name, and names may be no text: objects have no such keys.
    first = first.set_axis(_names(first.columns), axis="columns")
    made: list[dict[str, Any]] = json.loads(
        first.to_json(orient="records", date_format="iso", default_handler=str)
    )
    return made


def _names(columns: Any) -> list[str]:
    names: list[str] = []
    for column in columns:
        name = plain.text(column)
        again = sum(1 for known in names if known == name or known.startswith(f"{name}."))
        names.append(f"{name}.{again}" if name in names else name)
    return names


def _show_figure(figure: Any) -> None:
    written = io.BytesIO()
    figure.savefig(written, format="png", bbox_inches="tight")
    data = base64.b64encode(written.getvalue()).decode()
    show({"kind": "figure", "content_type": "image/png", "data": data})
