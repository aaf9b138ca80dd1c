from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broadcaster.worker.failed_hooks import FailedHooks

if TYPE_CHECKING:
    import pytest


async def test_hooks_are_waited_for() -> None:
    hooks, called = FailedHooks(), list[str]()

    async def hook() -> None:
        await asyncio.sleep(0)
        called.append("hook")

    hooks.call(hook())
    await hooks.finish(10)

    assert called == ["hook"]


async def test_one_that_does_not_end_is_broken_off() -> None:
    hooks, broken_off = FailedHooks(), asyncio.Event()

    async def hook() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()

    hooks.call(hook())
    await hooks.finish(0.01)

    async with asyncio.timeout(10):
        await broken_off.wait()


async def test_what_one_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    hooks = FailedHooks()

    async def hook() -> None:
        raise LookupError("no such mailbox")

    hooks.call(hook())
    await hooks.finish(10)
    await asyncio.sleep(0)

    assert "no such mailbox" in caplog.text


async def test_without_hooks_there_is_nothing_to_wait_for() -> None:
    async with asyncio.timeout(10):
        await FailedHooks().finish(60)
