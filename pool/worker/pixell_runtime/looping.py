"""A worker that serves several calls at once: async handlers as tasks of one event loop, plain functions on
threads.

Enters: calls from the channel. Leaves: one ending frame for each; those of one turn of the loop are written
together.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import traceback
from collections.abc import Coroutine
from time import monotonic_ns, thread_time_ns
from typing import Any, Callable, NoReturn

from pixell_runtime import answers, files, spans, streams
from pixell_runtime.channel import Channel
from pixell_runtime.context import CALL, Call
from pixell_runtime.costs import peak_rss_kb
from pixell_runtime.credit import Credit
from pixell_runtime.file import About, is_async, is_file, outgoing
from pixell_runtime.frames import FILES, MAX_MICROSECONDS, FrameError
from pixell_runtime.handlers import Handler
from pixell_runtime.journal import RESTING
from pixell_runtime.leaving import leave, leave_by
from pixell_runtime.threads import Threads

#: From 3.12 on a task can take its first step at once: a handler that never waits needs no turn.
_EAGER = sys.version_info >= (3, 12)

#: Items of a generator that never waits between two turns of the loop: others would wait for all of them.
_TURN = 16


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop if the package's environment has it: 5 µs less for a call."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class Looping:
    """Serves calls until the main socket ends."""

    def __init__(
        self,
        handlers: list[Handler],
        channel: Channel,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """`close` is waited for when the last call has ended, before the process does."""
        self._close = close
        self._handlers = handlers
        self._channel = channel
        self._loop = loop
        self._starting = threading.Lock()
        self._settling = False
        self._stopping = False
        self._ended = False
        self._closing: asyncio.Task[None] | None = None
        # Every call that was dispatched and has not ended, waiting ones included.
        self._active: dict[int, Call] = {}
        # Async calls of this turn, whose timers are set after their first step: most need none.
        self._fresh: list[Call] = []
        sync = [handler.threads for handler in handlers if handler.lane == "sync"]
        self._threads = Threads(max(sync, default=0), self._serve_on_thread)

    def run(self) -> NoReturn:
        """Runs the loop. Ends the process."""
        self._threads.start()
        self._rest()
        asyncio.set_event_loop(self._loop)
        self._channel.looper = threading.get_ident()
        self._loop.add_reader(self._channel.fileno(), self._receive)
        try:
            self._loop.run_forever()
        except SystemExit as error:
            # From a task that a handler has started and left alone.
            leave_by(self._channel, error)
        leave(self._channel, 0)

    def wait_for(self, awaitable: Any) -> None:
        """Waits on the loop that will serve, before it does."""

        async def wait() -> None:
            await awaitable

        self._loop.run_until_complete(wait())

    # For the monitor's thread

    def recall(self) -> None:
        """Gives back what has not started: what waits for a thread, and what a blocked loop has not read."""
        channel = self._channel
        channel.drain()
        idents = self._threads.take_back_all() + channel.take_back_all()
        for ident in idents:
            self._forget(ident)
        channel.returned(idents)
        self._wake()

    def cancel(self, ident: int) -> None:
        """Ends a call that has not started; a task is cancelled, a plain function ends by itself."""
        channel = self._channel
        channel.drain()
        if channel.take_back(ident) or self._threads.take_back(ident):
            self._forget(ident)
            channel.cancelled(ident)
        else:
            self._loop.call_soon_threadsafe(self._cancel, ident)
        self._wake()

    def credit(self, ident: int, amount: int) -> None:
        """Lets a call send more."""
        call = self._active.get(ident)
        if call is None or call.credit is None:
            return
        call.credit.add(amount)
        # Always: a task may be about to wait.
        self._loop.call_soon_threadsafe(_grant, call)

    def stop(self) -> None:
        """Reads to the end of what was sent, finishes it, and ends."""
        self._stopping = True
        self._channel.end_receiving()

    def _wake(self) -> None:
        # What was drained is no longer in the socket, where the loop would find it.
        self._loop.call_soon_threadsafe(self._dispatch)

    # On the loop

    def _receive(self) -> None:
        if self._channel.receive_now():
            self._dispatch()
            return
        self._loop.remove_reader(self._channel.fileno())
        if not self._stopping:
            # par has closed the socket: nobody would get the answers.
            leave(self._channel, 0)
        self._ended = True
        self._dispatch()

    def _dispatch(self) -> None:
        calls = self._channel.calls
        due = self._settling
        # What ends in its first step need not ask for it.
        self._settling = True
        while calls:
            try:
                frame = calls.popleft()
            except IndexError:
                break
            if frame[3] >= len(self._handlers):
                self._channel.broken(FrameError(f"there is no export {frame[3]}"))
            handler = self._handlers[frame[3]]
            call = self._active[frame[2]] = Call(frame)
            if handler.lane == "async":
                self._start(call, functools.partial(_invoke, handler, call))
            else:
                self._threads.put(call)
        if _EAGER:
            self._settle()
        elif not due:
            self._loop.call_soon(self._settle)

    def _start(self, call: Call, begin: Callable[[], Any]) -> None:
        self._fresh.append(call)
        coroutine = self._serve(call, begin)
        if _EAGER:
            call.task = asyncio.Task(coroutine, loop=self._loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
        else:
            call.task = self._loop.create_task(coroutine)

    def _adopt(self, call: Call, result: Any) -> None:
        """Goes on with what a plain function has returned to be awaited."""
        self._start(call, lambda: result)
        self._settle_soon()

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """Runs behind everything that was due in this turn."""
        self._settling = False
        self._channel.flush()
        for call in self._fresh:
            limit = call.frame[4]
            if limit and not call.streams and not call.task.done():
                left = call.frame[7] / 1e9 + limit / 1e3 - monotonic_ns() / 1e9
                call.timer = self._loop.call_later(max(0.0, left), self._expire, call)
        self._fresh.clear()
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._ended and not self._active and not self._channel.calls:
            if self._close is None:
                leave(self._channel, 0)
            if self._closing is None:
                self._closing = self._loop.create_task(self._close_and_leave(self._close))

    async def _close_and_leave(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._channel.flush()
        try:
            await close()
        except Exception:
            traceback.print_exc()
            leave(self._channel, 1)
        leave(self._channel, 0)

    def _cancel(self, ident: int) -> None:
        call = self._active.get(ident)
        if call is not None:
            call.cancelled = True
            if call.credit is not None:
                call.credit.end()
            self._interrupt(call)

    def _expire(self, call: Call) -> None:
        call.expired = True
        self._interrupt(call)

    def _interrupt(self, call: Call) -> None:
        # A task that is cancelled before its first step never runs: nobody would end the call. One that has
        # not entered looks at the flags when it does.
        if call.entered:
            call.task.cancel()

    async def _serve(self, call: Call, begin: Callable[[], Any]) -> None:
        call.entered = True
        CALL.set(call)
        if not call.begun:
            self._begin(call)
        answer = None
        if not (call.cancelled or call.expired):
            try:
                answer = await self._answer(call, begin())
            except SystemExit as error:
                leave_by(self._channel, error)
            except BaseException as error:
                answer = answers.raised(error)
        if answer is None or call.cancelled or call.expired:
            # Also if a result came after all: the caller has been answered without it.
            answer = answers.CANCELLED_ANSWER if call.cancelled else answers.DEADLINE_ANSWER
        self._finish(call, answer)
        self._settle_soon()

    async def _answer(self, call: Call, result: Any) -> answers.Answer:
        if inspect.isawaitable(result):
            result = await result
        if inspect.isgenerator(result):
            result = streams.stepwise(result)
        if inspect.isasyncgen(result):
            return await answers.exhausted_async(self._sink(call, None), result, self._pacer(call))
        if is_file(result):
            sink = functools.partial(self._sink, call)
            return await answers.sent(outgoing(result), sink, self._pacer(call))
        return answers.returned(result, functools.partial(self._sink, call))

    def _pacer(self, call: Call) -> Callable[[streams.Sink], Coroutine[Any, Any, None]]:
        count = 0

        async def pace(sink: streams.Sink) -> None:
            nonlocal count
            count += 1
            if sink.sends:
                call.streams = True
                if call.timer is not None:
                    call.timer.cancel()
            while sink.spent:
                call.granted = self._loop.create_future()
                # What was granted since the look rings on this thread, and not before the next turn.
                await call.granted
            call.granted = None
            if count % _TURN == 0:
                await asyncio.sleep(0)

        return pace

    def _sink(self, call: Call, about: About | None) -> streams.Sink:
        call.credit = Credit()
        return streams.sink(call.frame, self._channel, call.credit, lambda: call.cancelled, about)

    # On the threads

    def _serve_on_thread(self, call: Call) -> None:
        CALL.set(call)
        self._begin(call)
        spun = thread_time_ns()
        if call.cancelled or call.expired:
            answer = answers.CANCELLED_ANSWER if call.cancelled else answers.DEADLINE_ANSWER
        else:
            try:
                result = _invoke(self._handlers[call.frame[3]], call)
                if inspect.isawaitable(result) or inspect.isasyncgen(result) or is_async(result):
                    self._loop.call_soon_threadsafe(self._adopt, call, result)
                    return
                answer = answers.returned(result, functools.partial(self._sink, call))
            except SystemExit as error:
                leave_by(self._channel, error)
            except BaseException as error:
                answer = answers.raised(error)
        self._finish(call, answer, (thread_time_ns() - spun) // 1000)
        self._channel.flush()
        if self._ended:
            self._loop.call_soon_threadsafe(self._leave_if_done)

    # On both

    def _begin(self, call: Call) -> None:
        _, _, ident, _, limit, _, _, received = call.frame
        words = self._channel.journal.words
        with self._starting:
            # Calls of different threads may begin out of order; `started` may not go back.
            words[0] = max(words[0] & ~RESTING, ident)
        call.begun = monotonic_ns()
        if limit and call.begun - received > limit * 1_000_000:
            call.expired = True

    def _rest(self) -> None:
        # Under the lock: the next call has come or has not, and if it has, it says so when it begins.
        with self._starting:
            if not self._active:
                self._channel.journal.words[0] |= RESTING

    def _forget(self, ident: int) -> None:
        self._active.pop(ident, None)
        if not self._active:
            self._rest()

    def _finish(self, call: Call, answer: answers.Answer, cpu: int = 0) -> None:
        """Ends a call. `cpu`: microseconds of its thread; tasks share one, and what one of them took nobody knows."""
        took = monotonic_ns() - call.begun
        ident = call.frame[2]
        meta = b""
        peak = peak_rss_kb(took)
        if call.usage or answer.about is not None or peak:
            meta = answers.metadata(call.usage, answer.about, peak)
        if call.spans:
            spans.send(self._channel, ident, call.spans)
        a = min(took // 1000, MAX_MICROSECONDS)
        b = min(cpu, MAX_MICROSECONDS)
        self._channel.add(answer.kind, answer.flags, ident, a, meta, answer.payload, b)
        self._forget(ident)
        if call.timer is not None:
            call.timer.cancel()


def _grant(call: Call) -> None:
    if call.granted is not None and not call.granted.done():
        call.granted.set_result(None)


def _invoke(handler: Handler, call: Call) -> Any:
    value = _input_of(call)
    if call.frame[1] & FILES:
        value = files.received(value, call.frame[5])
    return handler.invoke(value)


def _input_of(call: Call) -> Any:
    payload = call.frame[6]
    try:
        text = payload.decode()
        value, end = answers.scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return answers.read_input(payload)
    return value if end == len(text) else answers.read_input(payload)
