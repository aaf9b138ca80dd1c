"""How a node sends its connections away."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.gateway import draining

if TYPE_CHECKING:
    from broadcaster.gateway.connection import Connection


class Open:
    """A connection that is closed when it is told to."""

    def __init__(self) -> None:
        self.closing_at: float | None = None

    def close(self, _reason: object) -> None:
        self.closing_at = 1.0


@pytest.mark.parametrize("pause", [0.05, 0.2])
async def test_all_go_in_equal_shares_however_long_the_pauses_take(
    monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """What is left at the end goes at once, and comes back at once."""
    connections = [Open() for _ in range(100)]
    gone: list[int] = []
    time = 0.0

    async def sleep(_seconds: float) -> None:
        nonlocal time
        time += pause
        gone.append(sum(one.closing_at is not None for one in connections))

    monkeypatch.setattr("broadcaster.gateway.draining.asyncio.sleep", sleep)
    await draining.send_away(cast("list[Connection]", connections), seconds=1.0, now=lambda: time)

    shares = [after - before for before, after in zip([0, *gone], gone, strict=False)]
    assert sum(shares) == 100
    assert time <= 1.0 + pause
    assert max(shares) <= 100 * pause + 1


async def test_who_goes_by_themselves_leaves_the_others_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = [Open() for _ in range(100)]
    sent: list[int] = []
    time = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal time
        sent.append(sum(one.closing_at is not None for one in connections))
        time += seconds
        del connections[:: max(8 - len(sent), 1)]

    monkeypatch.setattr("broadcaster.gateway.draining.asyncio.sleep", sleep)
    await draining.send_away(cast("list[Connection]", connections), seconds=1.0, now=lambda: time)

    assert max(sent[:4]) <= 10
