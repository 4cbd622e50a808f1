"""What executed code shows: figures and tables; and tables that are analysed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from environments import environment
from executor import AGENTS, ANALYZE, run_in, session
from gateway import Gateway, WorkerEnd


@pytest.fixture
def data(gateway: Callable[..., Gateway]) -> Iterator[WorkerEnd]:
    """A worker with pandas, numpy and matplotlib."""
    found = environment("data")
    yield gateway("", *AGENTS, python=found.python, kits=[found.site]).worker()


def test_figures_are_shown_as_png(data: WorkerEnd) -> None:
    said = run_in(
        data,
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.figure()\nplt.plot([3])\n'done'",
    )
    assert said["status"] == "success", said
    assert said["result"] == "done"
    assert [one["kind"] for one in said["displays"]] == ["figure", "figure"]
    for one in said["displays"]:
        assert one["content_type"] == "image/png"
        assert base64.b64decode(one["data"]).startswith(b"\x89PNG")
    assert said["stderr"] == ""
    assert run_in(data, "plt.get_fignums()")["result"] == []


def test_calls_without_a_session_do_not_share_the_random_numbers_of_numpy(data: WorkerEnd) -> None:
    code = "import numpy\nnumpy.random.random_sample()"
    seen = {run_in(data, code, None)["result"] for _ in range(3)}
    assert len(seen) == 3


def test_tables_are_shown_as_html_and_records(data: WorkerEnd) -> None:
    said = run_in(
        data,
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': [None, 'x'], 'd': pd.to_datetime(['2024-01-02', None])})\ndf",
    )
    (shown,) = said["displays"]
    assert shown["kind"] == "dataframe"
    assert "<table" in shown["html"]
    assert shown["records"] == said["result"]
    assert shown["records"][0] == {"a": 1, "b": None, "d": "2024-01-02T00:00:00.000"}
    assert (shown["rows"], shown["truncated"], shown["columns"]) == (2, False, ["a", "b", "d"])
    twice = run_in(data, "pd.DataFrame([[1, 2]], columns=['a', 'a'])")
    assert twice["result"] == [{"a": 1, "a.1": 2}]
    long = run_in(data, "display(pd.DataFrame({'n': range(5000)}))\nimport numpy as np\nnp.arange(3)")
    assert len(long["displays"][0]["records"]) == 1000
    assert long["displays"][0]["truncated"]
    assert long["result"] == [0, 1, 2]


def test_a_display_that_fails_is_the_codes_failure(data: WorkerEnd) -> None:
    said = run_in(data, "import matplotlib.pyplot as plt\nplt.title('$\\\\nonsense{$')")
    assert said["status"] == "error"
    assert run_in(data, "1")["result"] == 1


def test_a_table_is_analysed(data: WorkerEnd) -> None:
    for table in (
        [{"a": 1, "b": "x"}, {"a": 3, "b": None}],
        {"a": [1, 3], "b": ["x", None]},
        "a,b\n1,x\n3,\n",
    ):
        said = data.ask({"data": table}, export=ANALYZE, meta=session("s"))
        assert said["status"] == "success", said
        found = said["analysis"]
        assert found["shape"] == {"rows": 2, "columns": 2}
        assert found["missing"] == {"a": 0, "b": 1}
        assert found["describe"]["a"]["mean"] == 2.0
        assert found["head"][1] == {"a": 3, "b": None}
        assert found["correlation"] == {"a": {"a": 1.0}}
    assert run_in(data, "len(df)")["result"] == 2
    said = data.ask(
        {"code": "df['c'] = df.a * 2", "operations": ["describe"]}, export=ANALYZE, meta=session("s")
    )
    assert said["analysis"]["describe"]["c"]["max"] == 6.0


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, "/data"),
        ({"data": 1}, "/data"),
        ({"data": [[1], 2]}, "/data"),
        ({"data": "a", "operations": ["drop"]}, "/operations/0"),
        ({"data": "a", "operations": 7}, "/operations"),
    ],
)
def test_what_is_no_table_is_refused(data: WorkerEnd, value: Any, path: str) -> None:
    for meta in (session("new"), session(None)):
        data.call(value, export=ANALYZE, meta=meta)
        said = data.error()
        assert said["kind"] == "input"
        assert said["errors"][0]["path"] == path
