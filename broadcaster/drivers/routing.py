"""Bringing each publication to the driver that it names."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.publisher import Publication, Publisher


class RoutingPublisher:
    """
    Publishes each publication through the driver it names; see `Publisher`.

    Order is kept; neighbours for one driver travel in one call.

    Args:
        find: returns a driver by name, None meaning the configured one.
    """

    def __init__(self, find: Callable[[str | None], Publisher]) -> None:
        self._find = find

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        for connection, group in groupby(publications, _connection):
            self._find(connection).publish(list(group))

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        for connection, group in groupby(publications, _connection):
            await self._find(connection).apublish(list(group))


def _connection(publication: Publication) -> str | None:
    return publication.connection
