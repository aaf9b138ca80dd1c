"""Counts of connections on their way to the store."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from broadcaster.contracts.presence import NOTHING, Lease, Total
from broadcaster.errors import DriverRefused
from broadcaster.gateway import occupancy
from broadcaster.gateway.occupancy import Occupancy
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


class Store:
    """Refuses the first write."""

    def __init__(self) -> None:
        self.refusals = 1
        self.written: list[tuple[str, dict[str, int]]] = []

    async def occupy(
        self, _: Lease, app_id: str, counts: Mapping[str, int], **__: object
    ) -> dict[str, Total]:
        if self.refusals:
            self.refusals -= 1
            raise DriverRefused("WRONGTYPE")
        self.written.append((app_id, dict(counts)))
        return {}


class HeldLease:
    async def current(self) -> Lease:
        return Lease("node", 1, 0)


async def test_counts_that_redis_refuses_are_kept_and_written_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(occupancy, "REFUSED_SECONDS", 0.0)
    store, channel = Store(), SimpleNamespace(topic=b"1:a", app_id="1", name="a")
    hub = SimpleNamespace(channels={b"1:a": ["one", "two"]})
    counts = Occupancy(
        cast("Any", hub),
        cast("Any", store),
        cast("Any", HeldLease()),
        wanted=lambda _: NOTHING,
        wake=lambda: None,
    )
    task = asyncio.create_task(counts.run())

    counts.changed(cast("Any", channel))
    await eventually(lambda: store.written)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert store.written == [("1", {"a": 2})]
    assert "counts not written: WRONGTYPE" in caplog.text
