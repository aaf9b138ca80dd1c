"""Settings for examples that run in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from tests.examples.example_world import configured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.settings import Settings


@pytest.fixture
async def settings(redis_url: str, prefix: str) -> AsyncIterator[Settings]:
    """The settings of this process: the session's server, a prefix of the test's own."""
    with configured(redis_url, prefix) as made:
        yield made
        await current.application().aclose()
