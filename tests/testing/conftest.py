from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from broadcaster.testing.broadcast_fake import BroadcastFake
from broadcaster.testing.bus_fake import BusFake
from broadcaster.testing.event_fake import EventFake
from broadcaster.testing.queue_fake import QueueFake
from tests.testing import shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings are anywhere, as in the tests of an application that was never set up."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "BROADCASTER_APP_ID", "BROADCASTER_APP_KEY"):
        monkeypatch.delenv(name, raising=False)
    shop.ran.clear()
    current.reset()
    yield
    current.reset()


@pytest.fixture
def queue() -> Iterator[QueueFake]:
    with QueueFake() as fake:
        yield fake


@pytest.fixture
def bus() -> Iterator[BusFake]:
    with BusFake() as fake:
        yield fake


@pytest.fixture
def events() -> Iterator[EventFake]:
    with EventFake() as fake:
        yield fake


@pytest.fixture
def broadcasts() -> Iterator[BroadcastFake]:
    with BroadcastFake() as fake:
        yield fake
