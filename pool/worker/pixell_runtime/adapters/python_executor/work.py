"""What is done in a space: code executed, a table analysed.

Enters: what a request asks for. Leaves: the members of its answer that do not come from the way of the call.
"""

from __future__ import annotations

from typing import Any

from pixell_runtime.adapters.python_executor import analyze, display, plain
from pixell_runtime.adapters.python_executor.call import Said, failed
from pixell_runtime.adapters.python_executor.run import Outcome, failure_of, run
from pixell_runtime.adapters.python_executor.space import Space


def execute(code: str, space: Space) -> Said:
    """Executes code, then shows its value if that is a table, and all figures that it has left open."""
    outcome = run(code, space)
    shown = None
    try:
        display.show_figures()
        shown = None if outcome.failure else display.of(outcome.value)
    except Exception as error:
        # Drawing and `_repr_html_` are code of the session, too.
        outcome = outcome if outcome.failure else Outcome(failure=failure_of(error, ""))
    if outcome.failure is not None:
        return failed(outcome.failure)
    if shown is not None:
        display.show(shown)
    result = shown["records"] if shown and "records" in shown else plain.result(outcome.value)
    return {"status": "success", "result": result, "results": plain.results(space.public())}


def analyse(data: Any, operations: list[str], code: str, space: Space) -> Said:
    """Makes `data` the session's table, executes code with it, and analyses what is then the table."""
    if data is not None:
        space.names[analyze.TABLE] = analyze.table_of(data)
    said = execute(code, space) if code else {"status": "success", "result": None}
    if said["status"] != "success":
        return said
    frame = space.names.get(analyze.TABLE)
    if not analyze.is_table(frame):
        raise analyze.no_table()
    try:
        return {**said, "analysis": analyze.analyze(frame, operations)}
    except Exception as error:
        return failed(failure_of(error, ""))
