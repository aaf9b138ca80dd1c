"""The null driver."""

from __future__ import annotations

from broadcaster.drivers.null import NullPublisher
from tests.drivers.publications import make_publication


async def test_whatever_is_published_is_forgotten() -> None:
    NullPublisher().publish([make_publication()])
    await NullPublisher().apublish([make_publication()])
