"""Hooks into clients of language models, set when one of them is imported and never before.

Enters: the import of `openai` or `anthropic`, in the template or in a handler. Leaves: one method of their base
client that also tells `counting` what it was given. It is the same in all their versions since 2023: every answer
goes through it, once as a whole or once for each event of a stream, sync and async.

Whatever is not as expected is left as it is: an agent loses the count of its tokens, never a call.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, Callable

#: Modules in which the base clients are.
MODULES = ("openai._base_client", "anthropic._base_client")
CLASS = "BaseClient"
METHOD = "_process_response_data"

#: Says that a method is ours already.
MARK = "__pixell_runtime__"


def watch() -> None:
    """Hooks in as soon as one of the modules is there. Once for each process and its children."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in MODULES:
        module = sys.modules.get(name)
        if module is not None:
            hook(module)
    sys.meta_path.insert(0, _Finder())


def hook(module: ModuleType) -> bool:
    """Takes part in what a base client reads; false: it is not as expected, and left alone."""
    try:
        base = vars(module)[CLASS]
        original = vars(base)[METHOD]
        if not isinstance(original, FunctionType) or hasattr(original, MARK):
            return False
        # Imported here, so that workers without such clients do not wait for it.
        from pixell_runtime.llm.counting import count

        taken = inspect.signature(original).parameters
        if not all(
            name in taken and taken[name].kind is inspect.Parameter.KEYWORD_ONLY
            for name in ("data", "response")
        ):
            return False
        setattr(base, METHOD, _counting(original, count))
    except Exception:
        return False
    return True


def _counting(original: FunctionType, count: Callable[[Any, Any], None]) -> Any:
    @functools.wraps(original)
    def process(self: Any, *args: Any, **named: Any) -> Any:
        result = original(self, *args, **named)
        try:
            count(named.get("data"), named.get("response"))
        except Exception:
            # Its answer is worth more than its count.
            return result
        return result

    setattr(process, MARK, True)
    return process


class _Finder:
    """Lets the others find a module, and looks at it when it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None: nothing else than without us."""
        if fullname not in MODULES:
            return None
        try:
            return _found(self, fullname, path, target)
        except Exception:
            return None


def _found(
    ours: _Finder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = None if finder is ours else finder.find_spec(fullname, path, target)
        if spec is not None:
            # On the loader of this one module: it stays what it is to everybody who asks for it.
            loader: Any = spec.loader
            loader.exec_module = _hooking(loader.exec_module)
            return spec
    return None


def _hooking(run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        run(module)
        hook(module)

    return exec_module
