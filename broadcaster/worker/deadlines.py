"""
Time limits of very many tasks.

`asyncio.timeout` has a timer of its own for each block, made and cancelled again for every
job that is quicker than its limit. Here the blocks of one limit wait in a row, in the order
in which they will be over, and one timer looks at the first of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

from broadcaster.worker.frames import suspended_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

    from broadcaster.worker.frames import Place


class Deadlines:
    """The limits of the tasks of one event loop."""

    def __init__(self) -> None:
        self._rows: dict[float, _Row] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def limits(self) -> int:
        """How many different limits it looks after."""
        return len(self._rows)

    def within(self, seconds: float) -> Deadline:
        """Return a block for ``with`` that may take so long; see `Deadline`."""
        row = self._rows.get(seconds)
        if row is None:
            self._loop = self._loop or asyncio.get_running_loop()
            row = self._rows[seconds] = _Row(seconds, self._loop, self._rows)
        return Deadline(row)

    def close(self) -> None:
        """Limit nothing any more."""
        for row in list(self._rows.values()):
            row.close()


class Deadline:
    """
    A block of a task that is cancelled when it takes too long, as with `asyncio.timeout`.

    The cancellation leaves the block as `TimeoutError`, unless somebody else has cancelled
    the task too.

    Attributes:
        expired: its time was over before it ended.
        hung_at: where the task waited then, the outermost frame first.
    """

    __slots__ = ("_cancelling", "_row", "_task", "at", "expired", "hung_at")

    at: float
    _task: asyncio.Task[Any]
    _cancelling: int

    def __init__(self, row: _Row) -> None:
        self._row = row
        self.expired = False
        self.hung_at: Sequence[Place] = ()

    def __enter__(self) -> Self:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task(self._row.loop))
        self._cancelling = self._task.cancelling()
        self._row.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._row.drop(self)
        if not self.expired:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        self.hung_at = suspended_at(self._task.get_coro())
        self._task.cancel()


class _Row:
    """
    Blocks with the same limit, the first one first.

    Args:
        rows: where it stands, and takes itself away when it is empty.
    """

    __slots__ = ("_rows", "_seconds", "_timer", "_waiting", "loop")

    def __init__(
        self, seconds: float, loop: asyncio.AbstractEventLoop, rows: dict[float, _Row]
    ) -> None:
        self.loop = loop
        self._seconds = seconds
        self._rows = rows
        self._waiting: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, block: Deadline) -> None:
        block.at = self.loop.time() + self._seconds
        self._waiting[block] = None
        if self._timer is None:
            self._timer = self.loop.call_at(block.at, self._look)

    def drop(self, block: Deadline) -> None:
        self._waiting.pop(block, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self._rows.pop(self._seconds, None)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        over: list[Deadline] = []
        for block in self._waiting:
            if block.at > now:
                self._timer = self.loop.call_at(block.at, self._look)
                break
            over.append(block)
        for block in over:
            del self._waiting[block]
            block.expire()
        if not self._waiting:
            self._rows.pop(self._seconds, None)
