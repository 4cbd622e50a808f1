"""The execution of one code.

Enters: source text and a `Space`. Leaves: an `Outcome`: the value of its last expression, or how it failed and in
which line. Output is not caught here.
"""

from __future__ import annotations

import ast
import sys
from typing import Any, NamedTuple

from pixell_runtime.adapters.python_executor.space import Space
from pixell_runtime.failures import MAX_MESSAGE, clip, message_of, traceback_of
from pixell_runtime.results import type_name

#: The name whose value is the result of a code that assigns it and does not end in an expression.
_RESULT = "result"

#: What reading a text as Python can raise: a NUL character, lone surrogates, too many brackets.
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


class Failure(NamedTuple):
    """How code failed. `line` counts from 1; None if no line of this code is to blame."""

    type: str
    message: str
    line: int | None
    traceback: str


class Outcome(NamedTuple):
    """`value` is meant only without `failure`."""

    value: Any = None
    failure: Failure | None = None


def run(code: str, space: Space) -> Outcome:
    """Executes; whatever the code raises is an outcome."""
    name = space.enter(code)
    try:
        steps = _compile(code, name)
    except _UNREADABLE as error:
        return Outcome(failure=_unreadable(error))
    try:
        return Outcome(_follow(steps, space))
    except SystemExit as error:
        # The code has ended itself, as a script does; that is its right, and no failure without a code.
        return Outcome() if error.code in (None, 0) else Outcome(failure=failure_of(error, name))
    except BaseException as error:
        return Outcome(failure=failure_of(error, name))


class _Steps(NamedTuple):
    """Compiled code: all statements, or all but a last expression."""

    body: Any
    last: Any
    assigns_result: bool


def _compile(code: str, name: str) -> _Steps:
    tree = ast.parse(code, name)
    assigns = any(_stores_result(node) for node in ast.walk(tree))
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        expression = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        last = compile(expression, name, "eval", dont_inherit=True)
    return _Steps(compile(tree, name, "exec", dont_inherit=True), last, assigns)


def _stores_result(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == _RESULT and isinstance(node.ctx, ast.Store)


def _follow(steps: _Steps, space: Space) -> Any:
    exec(steps.body, space.names)
    if steps.last is not None:
        return eval(steps.last, space.names)
    return space.names.get(_RESULT) if steps.assigns_result else None


def _unreadable(error: BaseException) -> Failure:
    line = getattr(error, "lineno", None)
    message = clip(f"Syntax error: {message_of(error)}", MAX_MESSAGE)
    # Our own frames say nothing about a text that cannot be read; `ast` has one, too.
    error.__traceback__ = None
    return Failure(type_name(type(error)), message, line, traceback_of(error))


def failure_of(error: BaseException, name: str) -> Failure:
    """The failure for what was raised while the code with this file name ran."""
    line = None
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == name:
            line = step.tb_lineno
        step = step.tb_next
    message = clip(message_of(error) or type_name(type(error)), MAX_MESSAGE)
    return Failure(type_name(type(error)), message, line, traceback_of(error))


def python_version() -> str:
    """As `3.11.7`."""
    return ".".join(str(part) for part in sys.version_info[:3])
