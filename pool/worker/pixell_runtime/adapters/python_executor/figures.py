"""A backend of matplotlib for code that nobody watches: `show()` hands figures over instead of opening windows.

matplotlib loads it by the name in `MPLBACKEND`. It draws as Agg does.
"""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from pixell_runtime.adapters.python_executor import display

#: What matplotlib looks for in a backend.
FigureCanvas = FigureCanvasAgg


def show(*_: Any, **__: Any) -> None:
    """`pyplot.show()`."""
    display.show_figures()
