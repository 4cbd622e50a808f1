"""What `data-analyzer` does: a table in, statistics of it out.

Enters: `data` as records, as columns or as CSV text, and the names of operations. Leaves: one member for each operation.
The table stays in the session as `df`, for code of the same and of later calls. Needs pandas.
"""

from __future__ import annotations

import io
import json
from typing import Any, Callable

from pixell_runtime.adapters.python_executor import display
from pixell_runtime.adapters.python_executor.request import wrong
from pixell_runtime.binding import InputRefused

#: The name of the table for code.
TABLE = "df"


def operations_of(members: dict[str, Any]) -> list[str]:
    """The operations that a request names; all of them if it names none."""
    wanted = members.get("operations", list(OPERATIONS))
    if isinstance(wanted, str):
        wanted = [wanted]
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise wrong("/operations", "must be a list of names")
    for index, one in enumerate(wanted):
        if one not in OPERATIONS:
            raise wrong(f"/operations/{index}", f"must be one of {', '.join(OPERATIONS)}")
    return wanted


def table_of(data: Any) -> Any:
    """A data frame."""
    import pandas

    try:
        if isinstance(data, str):
            return pandas.read_csv(io.StringIO(data))
        if isinstance(data, (list, dict)):
            return pandas.DataFrame(data)
    except Exception as error:
        raise wrong("/data", f"is no table: {error}") from error
    raise wrong("/data", "must be records, columns or CSV text")


def is_table(value: Any) -> bool:
    """Whether it is a data frame."""
    import pandas

    return isinstance(value, pandas.DataFrame)


def no_table() -> InputRefused:
    """The refusal of a request that brings no table to a session that has none."""
    return wrong("/data", f"is missing, and the session has no data frame named {TABLE}")


def analyze(frame: Any, operations: list[str]) -> dict[str, Any]:
    """The results, by operation."""
    return {name: OPERATIONS[name](frame) for name in operations}


def _shape(frame: Any) -> dict[str, int]:
    return {"rows": len(frame), "columns": len(frame.columns)}


def _types(frame: Any) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def _missing(frame: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in frame.isna().sum().items()}


def _describe(frame: Any) -> dict[str, Any]:
    # Values that cannot be compared, as lists in cells, have no statistics, but their column has a count.
    plain = frame.apply(lambda column: column.map(_comparable) if column.dtype == object else column)
    return _columns(plain.describe(include="all")) if len(frame.columns) else {}


def _correlation(frame: Any) -> dict[str, Any]:
    return _columns(frame.corr(numeric_only=True))


def _head(frame: Any) -> list[dict[str, Any]]:
    return display.records(frame.head())


def _comparable(value: Any) -> Any:
    return str(value) if isinstance(value, (list, dict)) else value


def _columns(frame: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(frame.to_json(date_format="iso", default_handler=str))
    return made


#: By name, in the order in which they are told.
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "shape": _shape,
    "types": _types,
    "missing": _missing,
    "describe": _describe,
    "correlation": _correlation,
    "head": _head,
}
