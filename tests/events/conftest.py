"""A current application that records, for every test of the verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from broadcaster.events import broadcast as verbs
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
