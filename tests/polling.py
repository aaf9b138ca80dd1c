"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], object], *, within: float = 10.0) -> None:
    """Wait until `condition()` is true; fail when it is not `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"still false after {within} s"
        await asyncio.sleep(0.005)


async def eventually_async(
    condition: Callable[[], Awaitable[object]], *, within: float = 10.0
) -> None:
    """Like `eventually`, for a condition that has to be asked."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"still false after {within} s"
        await asyncio.sleep(0.02)
