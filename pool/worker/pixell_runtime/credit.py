"""How much a stream may send.

Enters: credit from `par`, on the monitor's thread. Leaves: the permission to send an item, as soon as there is
any credit: the item may be larger than what is left.
"""

from __future__ import annotations

import threading

#: Bytes that may be sent before the first CREDIT; the same number as on the other side.
FIRST = 262_144

#: What an item takes besides its bytes; the same number as on the other side.
WEIGHT = 64


class Credit:
    """The credit of one call. Waiting costs nothing until there is none."""

    __slots__ = ("_changed", "_left", "_over")

    def __init__(self) -> None:
        self._left = FIRST
        self._over = False
        self._changed = threading.Condition()

    def add(self, amount: int) -> None:
        """The caller has taken so many bytes."""
        with self._changed:
            self._left += amount
            self._changed.notify_all()

    def end(self) -> None:
        """The caller has left: whoever waits gets nothing any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def spent(self) -> bool:
        """Whether `take` would wait."""
        return self._left <= 0 and not self._over

    def take(self, amount: int) -> bool:
        """Waits for credit and takes it for an item of so many bytes. False if the caller has left."""
        with self._changed:
            while self._left <= 0 and not self._over:
                self._changed.wait()
            self._left -= amount + WEIGHT
            return not self._over
