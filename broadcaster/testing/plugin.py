"""
Fixtures for pytest, known wherever broadcaster is installed.

A suite that uses none of them pays for this module alone: everything else is imported by
the fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.testing.broadcast_fake import BroadcastFake
    from broadcaster.testing.bus_fake import BusFake
    from broadcaster.testing.clock import FakeClock
    from broadcaster.testing.event_fake import EventFake
    from broadcaster.testing.live import LiveQueue
    from broadcaster.testing.queue_fake import QueueFake


@pytest.fixture
def queue_fake() -> Iterator[QueueFake]:
    """Write down what is pushed instead of queueing it."""
    from broadcaster.testing.queue_fake import QueueFake

    with QueueFake() as fake:
        yield fake


@pytest.fixture
def bus_fake() -> Iterator[BusFake]:
    """Write down what is dispatched, chained, batched or run now."""
    from broadcaster.testing.bus_fake import BusFake

    with BusFake() as fake:
        yield fake


@pytest.fixture
def event_fake() -> Iterator[EventFake]:
    """Write down what is emitted instead of telling listeners."""
    from broadcaster.testing.event_fake import EventFake

    with EventFake() as fake:
        yield fake


@pytest.fixture
def broadcast_fake() -> Iterator[BroadcastFake]:
    """Write down what is broadcast instead of sending it."""
    from broadcaster.testing.broadcast_fake import BroadcastFake

    with BroadcastFake() as fake:
        yield fake


@pytest.fixture
def fake_clock() -> FakeClock:
    """Return a clock that stands still; advancing it moves delayed jobs of `live_queue` too."""
    from broadcaster.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture(scope="session")
def broadcaster_server() -> Iterator[str]:
    """Start a Redis-protocol server for this session; return its URL."""
    from broadcaster.drivers.redis.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server.url


@pytest.fixture
def live_queue(broadcaster_server: str, fake_clock: FakeClock) -> Iterator[LiveQueue]:
    """Make a real, empty queue the current one, to be worked with `drain` and `work_once`."""
    from broadcaster.testing.live import LiveQueue

    with LiveQueue(broadcaster_server) as live:
        fake_clock.followed_by(live.travel)
        yield live
