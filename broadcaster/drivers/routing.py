"""Bringing each publication to the driver that it names, and signing it as its app."""

from __future__ import annotations

import threading
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.publisher import Publication, Publisher


class SigningDriver(Protocol):
    """A `Publisher` that signs as one app, and holds connections."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        ...

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        ...

    def close(self) -> None:
        """Close the connections of code without an event loop."""
        ...

    async def aclose(self) -> None:
        """Close the connections of the running loop, and the others' too."""
        ...


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


class SigningPublisher:
    """
    Publishes through a driver that signs, as the app of each publication; see `Publisher`.

    Args:
        find: returns an app by id, as it is now.
        open_for: returns a publisher that signs as this app.
    """

    def __init__(
        self, find: Callable[[str], App], open_for: Callable[[App], SigningDriver]
    ) -> None:
        self._find = find
        self._open_for = open_for
        self._lock = threading.Lock()
        self._opened: dict[str, tuple[App, SigningDriver]] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        for app_id, group in groupby(publications, _app_id):
            self._driver(app_id).publish(list(group))

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        for app_id, group in groupby(publications, _app_id):
            await self._driver(app_id).apublish(list(group))

    def close(self) -> None:
        """Close the connections of code without an event loop."""
        for _, driver in list(self._opened.values()):
            driver.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop, and the others' too."""
        for _, driver in list(self._opened.values()):
            await driver.aclose()

    def _driver(self, app_id: str) -> SigningDriver:
        app = self._find(app_id)
        with self._lock:
            known = self._opened.get(app_id)
            if known is None or known[0] != app:  # its secret may be another now
                known = self._opened[app_id] = (app, self._open_for(app))
            return known[1]


def _app_id(publication: Publication) -> str:
    return publication.app_id


def _connection(publication: Publication) -> str | None:
    return publication.connection
