"""Tasks with an owner."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from broadcaster.gateway import tasks
from broadcaster.gateway.tasks import TaskOwner
from tests.polling import eventually

if TYPE_CHECKING:
    import pytest


async def test_a_task_that_is_needed_starts_again_when_it_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.01)
    owner = TaskOwner()
    runs: list[int] = []

    async def fail_twice() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise ValueError("garbage")
        await asyncio.Event().wait()

    owner.keep(fail_twice, "needed")
    await eventually(lambda: len(runs) == 3)
    await owner.aclose()

    assert [record.message for record in caplog.records] == [
        "task needed failed; it starts again"
    ] * 2


async def test_a_task_that_is_through_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_SECONDS", 0.0)
    owner = TaskOwner()
    runs: list[int] = []

    async def once() -> None:
        runs.append(1)

    owner.keep(once, "once")
    await eventually(lambda: len(runs) == 1)
    for _ in range(5):
        await asyncio.sleep(0)
    await owner.aclose()

    assert runs == [1]


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_SECONDS", 0.01)
    owner = TaskOwner()
    lost: list[int] = []

    async def deaf_once() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append(1)
        await asyncio.Event().wait()

    owner.spawn(deaf_once(), "deaf")
    await asyncio.sleep(0)
    await owner.aclose()

    assert lost == [1]
    assert not owner._tasks


async def test_a_task_that_never_ends_is_named_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_SECONDS", 0.01)
    owner, may_end = TaskOwner(), asyncio.Event()

    async def deaf() -> None:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    owner.spawn(deaf(), "deaf")
    await asyncio.sleep(0)
    await owner.aclose()
    may_end.set()
    await eventually(lambda: not owner._tasks)

    assert [record.message for record in caplog.records] == ["task deaf does not end"]
