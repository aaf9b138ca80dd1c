from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broadcaster import current
from tests.jobs.application import JobsApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.application import Application


@pytest.fixture
def app() -> Iterator[JobsApplication]:
    """The current application of the test; its queue records."""
    made = JobsApplication()
    current.use(cast("Application", made))
    yield made
    current.reset()
