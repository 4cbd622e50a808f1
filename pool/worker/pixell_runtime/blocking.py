"""A worker whose handlers are all plain functions, one call at a time: a blocking loop on the main thread.

Enters: calls from the channel. Leaves: one ending frame for each. This is the hot path: what a call costs
here is what a call costs, so the loop keeps to locals and everything unusual is in methods of its own.
"""

from __future__ import annotations

import inspect
import threading
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING, Any, NoReturn

from pixell_runtime import answers, files, spans, streams
from pixell_runtime.channel import Channel
from pixell_runtime.context import SLOT
from pixell_runtime.costs import LONG_NANOSECONDS, TIMED, peak_rss_kb
from pixell_runtime.credit import Credit
from pixell_runtime.file import About, is_async, outgoing
from pixell_runtime.frames import FILES, MAX_BODY, MAX_MICROSECONDS, RESULT, Frame, FrameError
from pixell_runtime.handlers import Handler
from pixell_runtime.journal import RESTING
from pixell_runtime.leaving import leave, leave_by
from pixell_runtime.results import encode

if TYPE_CHECKING:
    import asyncio

#: A finished answer waits at most about this long for others to be written with it. A write and the wake-up
#: behind it cost 5 to 10 µs: much less would write every answer alone, much more would be seen by callers.
HOLD_NANOSECONDS = 150_000


class Blocking:
    """Serves calls until the main socket ends."""

    def __init__(self, handlers: list[Handler], channel: Channel) -> None:
        self._handlers = handlers
        self._channel = channel
        self._loop: asyncio.AbstractEventLoop | None = None
        # The processor's clock when the running call began; 0: it is not timed by it.
        self._spun = 0

    def run(self) -> NoReturn:
        """The loop. Ends the process."""
        channel = self._channel
        channel.reader = threading.get_ident()
        calls = channel.calls
        take = calls.popleft
        add = channel.add
        flush = channel.flush
        words = channel.journal.words
        scan = answers.scan
        join = "".join
        slot = SLOT
        spent = slot.usage
        told = slot.spans
        gone = slot.cancelled
        invokes = [handler.invoke for handler in self._handlers]
        # Whether an export's last call was long. A finished answer does not wait behind one of those.
        slow = [True] * len(invokes)
        # How many more calls of an export are timed by the processor's clock. Others are short, and short calls hardly
        # wait: the time that they took is what they cost.
        timed = [TIMED] * len(invokes)
        oldest = 0
        begun = 0
        while True:
            if not calls:
                flush()
                words[0] |= RESTING
                if not channel.receive():
                    leave(channel, 0)
                oldest = 0
                begun = monotonic_ns()
            try:
                frame = take()
            except IndexError:
                continue  # incomplete, or the monitor has given it back
            _, flags, call, index, limit, meta, payload, received = frame
            if index >= len(invokes):
                channel.broken(FrameError(f"there is no export {index}"))
            if oldest and slow[index]:
                flush()
                oldest = 0
                begun = monotonic_ns()
            slot.frame = frame
            words[0] = call
            if gone and self._is_gone(call):
                self._end(frame, answers.CANCELLED_ANSWER, 0)
                continue
            if limit and begun - received > limit * 1_000_000:
                self._end(frame, answers.DEADLINE_ANSWER, 0)
                continue
            try:
                try:
                    text = payload.decode()
                    value, end = scan(text, 0)
                    if end != len(text):
                        value = answers.read_input(payload)
                except (StopIteration, ValueError, RecursionError):
                    value = answers.read_input(payload)
                if flags & FILES:
                    value = files.received(value, meta)
                self._spun = thread_time_ns() if timed[index] else 0
                result = invokes[index](value)
            except SystemExit as error:
                leave_by(channel, error)
            except BaseException as error:
                self._end(frame, answers.raised(error), monotonic_ns() - begun)
                begun = monotonic_ns()
                continue
            try:
                body = join(encode(result, 0)).encode()
            except BaseException:
                # Not plain JSON: bytes, a generator, something to await, or a fault.
                self._finish_unusual(frame, result, begun)
                begun = monotonic_ns()
                continue
            finished = monotonic_ns()
            took = finished - begun
            if spent or told or took > LONG_NANOSECONDS or len(body) > MAX_BODY:
                slow[index] = took > HOLD_NANOSECONDS
                timed[index] = TIMED
                self._end(frame, answers.bounded(body), took)
            elif took > HOLD_NANOSECONDS:
                slow[index] = True
                timed[index] = TIMED
                add(RESULT, 0, call, took // 1000, b"", body, self._cpu(took))
                flush()
                finished = monotonic_ns()
                oldest = 0
            else:
                slow[index] = False
                if timed[index]:
                    timed[index] -= 1
                add(RESULT, 0, call, took // 1000, b"", body, took // 1000)
                if not oldest:
                    oldest = finished
                elif finished - oldest > HOLD_NANOSECONDS:
                    flush()
                    finished = monotonic_ns()
                    oldest = 0
            begun = finished

    # For the monitor's thread

    def recall(self) -> None:
        """Gives back what has not started, and writes what is finished: the running call may take long."""
        channel = self._channel
        if channel.drain():
            channel.returned(channel.take_back_all())

    def cancel(self, ident: int) -> None:
        """Ends a call that has not started; one that runs ends by itself, a generator at its next item."""
        channel = self._channel
        channel.drain()
        if channel.take_back(ident):
            channel.cancelled(ident)
            return
        # It runs, or the loop has just taken it and has not said so yet: it looks here when it has.
        SLOT.cancelled.add(ident)
        streaming, credit = SLOT.credit
        if streaming == ident:
            credit.end()

    def credit(self, ident: int, amount: int) -> None:
        """Lets the running call send more."""
        streaming, credit = SLOT.credit
        if streaming == ident:
            credit.add(amount)

    def stop(self) -> None:
        """Lets the loop read to the end of what was sent, and no further."""
        self._channel.end_receiving()

    # Aside of the hot path

    def _is_gone(self, call: int) -> bool:
        """Whether the caller of a call that is about to begin has left. Those of earlier calls matter no more."""
        gone = SLOT.cancelled
        for ident in tuple(gone):
            if ident < call:
                gone.discard(ident)
        return call in gone

    def _finish_unusual(self, frame: Frame, result: Any, begun: int) -> None:
        try:
            answer = self._answer_unusual(frame, result)
        except SystemExit as error:
            leave_by(self._channel, error)
        except BaseException as error:
            answer = answers.raised(error)
        self._end(frame, answer, monotonic_ns() - begun)

    def _answer_unusual(self, frame: Frame, result: Any) -> answers.Answer:
        call = frame[2]

        def cancelled() -> bool:
            return call in SLOT.cancelled

        def sink(about: About | None) -> streams.Sink:
            credit = Credit()
            SLOT.credit = (call, credit)
            return streams.sink(frame, self._channel, credit, cancelled, about)

        if inspect.isawaitable(result):
            result = self.wait_for(result)
        if inspect.isasyncgen(result):
            # Nothing else runs on this loop, so it may be blocked.
            answer: answers.Answer = self.wait_for(answers.exhausted_async(sink(None), result, _at_once))
            return answer
        if is_async(result):
            answer = self.wait_for(answers.sent(outgoing(result), sink, _at_once))
            return answer
        return answers.returned(result, sink)

    def wait_for(self, awaitable: Any) -> Any:
        """Plain functions that return something to await are rare; for them one loop is kept, so that clients
        which are bound to their loop live on from call to call. It does not run between calls."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()

        async def wait() -> Any:
            return await awaitable

        return self._loop.run_until_complete(wait())

    def _cpu(self, took: int) -> int:
        """Microseconds of processor time of a call that took so many nanoseconds; 0: nobody has looked."""
        if took <= HOLD_NANOSECONDS:
            return took // 1000
        return min(thread_time_ns() - self._spun, took) // 1000 if self._spun else 0

    def _end(self, frame: Frame, answer: answers.Answer, took: int) -> None:
        meta = b""
        peak = peak_rss_kb(took)
        if SLOT.usage or answer.about is not None or peak:
            meta = answers.metadata(SLOT.usage, answer.about, peak)
            SLOT.usage.clear()
        if SLOT.spans:
            spans.send(self._channel, frame[2], SLOT.spans)
        microseconds = min(took // 1000, MAX_MICROSECONDS)
        cpu = self._cpu(took)
        self._channel.add(answer.kind, answer.flags, frame[2], microseconds, meta, answer.payload, cpu)
        # Whatever this was, it was not short: nothing should wait for what comes next.
        self._channel.flush()


async def _at_once(_sink: streams.Sink) -> None:
    """The pace of a loop that has nothing else to do."""
