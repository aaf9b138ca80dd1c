"""A current application that records, for every test of the verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from broadcaster.events import broadcast as verbs
from broadcaster.events.listeners import listeners
from broadcaster.jobs.announcing import lifecycle_listeners
from tests.events.recording import RecordingApplication

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app() -> Iterator[RecordingApplication]:
    application = RecordingApplication()
    current.use(application)
    verbs._warned.clear()
    yield application
    current.reset()


@pytest.fixture
def own_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens but whom the test adds, and they are gone after it."""
    monkeypatch.setattr(listeners, "_entries", {})
    monkeypatch.setattr(listeners, "_found", {})
    monkeypatch.setattr(lifecycle_listeners, "_added", {})
    monkeypatch.setattr(lifecycle_listeners, "_by_class", {})
