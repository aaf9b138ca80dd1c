"""Blocking calls in threads: of each kind one at a time, and none is waited for without end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Aside:
    """
    Makes the calls.

    A call that takes too long goes on in its thread, and the next one of its kind begins only
    when it has ended: so what it writes late is never newer than what was written last, and
    calls that hang do not take all threads.
    """

    def __init__(self) -> None:
        self._underway: dict[str, asyncio.Future[Any]] = {}

    async def call(self, kind: str, call: Callable[[], Result], within: float) -> Result:
        """
        Return what `call` does; it runs in a thread.

        Args:
            kind: calls of one kind are made one after another.
            within: seconds that it may take, those for which it waits for the one before included.

        Raises:
            TimeoutError: it has taken longer; or what `call` raises.
        """
        async with asyncio.timeout(within):
            while (before := self._underway.get(kind)) is not None:
                await asyncio.wait([before])
            made = asyncio.ensure_future(asyncio.to_thread(call))
            self._underway[kind] = made
            made.add_done_callback(partial(self._over, kind))
            return await asyncio.shield(made)

    def _over(self, kind: str, made: asyncio.Future[Any]) -> None:
        del self._underway[kind]
        if not made.cancelled():
            made.exception()  # looked at, also if nobody waits any more
