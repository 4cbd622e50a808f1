"""Start and end of an ASGI application.

Enters: an application. Leaves: it has started, with the state that its requests share, or what it has raised.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable

from pixell_runtime.surfaces.asgi import Application, Scope


class StartupFailed(Exception):
    """The application has said so, without an exception to tell."""


class Lifespan:
    """One per application. An application that knows no lifespan has none."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        #: What the application has put there for its requests.
        self.state: dict[str, Any] = {}

    async def start(self, lost: Callable[[BaseException], None]) -> None:
        """Raises what the application raises. `lost` is told if it fails later than that."""
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = asyncio.ensure_future(self._run(scope))
        answer = await self._ask("lifespan.startup")
        if answer is None:
            # It ended without a word: it knows no lifespan.
            self._task = None
        elif answer["type"] == "lifespan.startup.failed":
            raise await self._cause() or StartupFailed(str(answer.get("message", "")))
        else:
            self._task.add_done_callback(lambda task: self._ended(task, lost))

    async def stop(self) -> None:
        """Raises what the application raises."""
        self._stopping = True
        task = self._task
        if task is None or task.done():
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            raise await _error_of(task) or StartupFailed(str(answer.get("message", "")))

    async def _run(self, scope: Scope) -> None:
        await self._application(scope, self._to_application.get, self._answers.put)

    async def _ask(self, kind: str) -> dict[str, Any] | None:
        task = self._task
        if task is None:
            return None
        await self._to_application.put({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _cause(self) -> BaseException | None:
        return None if self._task is None else await _error_of(self._task)

    def _ended(self, task: asyncio.Task[None], lost: Callable[[BaseException], None]) -> None:
        if not self._stopping and not task.cancelled():
            error = task.exception()
            if error is not None:
                lost(error)


async def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    """What it raises after it has said that it failed; frameworks do it in the same step."""
    await asyncio.wait({task}, timeout=1.0)
    if task.done() and not task.cancelled():
        return task.exception()
    task.cancel()
    return None
