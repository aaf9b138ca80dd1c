"""Failed jobs are carried where they are kept, again and again (row 43)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.errors import DriverUnavailable
from broadcaster.worker.carrying import FailedCarrier
from tests.polling import eventually

if TYPE_CHECKING:
    import pytest


class Store:
    """Fails as told, and counts calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.trouble: Exception | None = None

    def carry(self) -> int:
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        return 1


async def test_it_carries_now_and_then_and_once_more_at_the_end() -> None:
    store = Store()
    carrier = FailedCarrier(store.carry, seconds=0.01)

    carrier.start()
    await eventually(lambda: store.calls >= 3)
    await carrier.stop()
    known = store.calls
    await carrier.stop()

    assert store.calls == known


async def test_a_worker_that_stops_at_once_has_carried() -> None:
    store = Store()
    carrier = FailedCarrier(store.carry)

    carrier.start()
    await carrier.stop()

    assert store.calls >= 1


async def test_what_cannot_be_carried_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    store = Store()
    store.trouble = DriverUnavailable("the database of failed jobs: gone")
    carrier = FailedCarrier(store.carry, seconds=0.01)

    carrier.start()
    await eventually(lambda: store.calls >= 3)
    store.trouble = None
    await eventually(lambda: "failed jobs are kept again" in caplog.text)
    await carrier.stop()

    assert caplog.text.count("stay in Redis for now: the database of failed jobs: gone") == 1


async def test_a_bug_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.trouble = RuntimeError("a bug")
    carrier = FailedCarrier(store.carry, seconds=0.01)

    carrier.start()
    await eventually(lambda: store.calls >= 2)
    store.trouble = None
    await carrier.stop()

    assert "a bug" in caplog.text
