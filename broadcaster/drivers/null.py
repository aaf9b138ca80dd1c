"""The driver ``null``: publishes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publication


class NullPublisher:
    """Accepts publications and forgets them; see `Publisher`."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """Do nothing."""

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """Do nothing."""
