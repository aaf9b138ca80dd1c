"""Bringing each publication to the driver that it names, and signing it as its app."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

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
        self._opened: dict[str, _Opened] = {}
        self._replaced: list[_Opened] = []

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        for app_id, group in groupby(publications, _app_id):
            with self._used(app_id) as opened:
                opened.driver.publish(list(group))
        for opened in self._unused():
            opened.driver.close()

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        for app_id, group in groupby(publications, _app_id):
            with self._used(app_id) as opened:
                opened.loops = True
                await opened.driver.apublish(list(group))
        for opened in self._unused(loops=True):
            await opened.driver.aclose()

    def close(self) -> None:
        """Close the connections of code without an event loop."""
        for opened in self._all():
            opened.driver.close()

    async def aclose(self) -> None:
        """Close the connections of the running loop, and the others' too."""
        for opened in self._all():
            await opened.driver.aclose()

    @contextmanager
    def _used(self, app_id: str) -> Generator[_Opened]:
        """Lend the driver of an app, as the app is now; nobody closes it meanwhile."""
        app = self._find(app_id)
        with self._lock:
            opened = self._opened.get(app_id)
            if opened is None or opened.app != app:  # its secret may be another now
                if opened is not None:
                    self._replaced.append(opened)
                opened = self._opened[app_id] = _Opened(app, self._open_for(app))
            opened.users += 1
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1

    def _unused(self, *, loops: bool = False) -> list[_Opened]:
        """Take those that were replaced and can be closed; with event loops, only in one."""
        with self._lock:
            unused = [one for one in self._replaced if not one.users and (loops or not one.loops)]
            self._replaced = [one for one in self._replaced if one not in unused]
        return unused

    def _all(self) -> list[_Opened]:
        with self._lock:
            return [*self._opened.values(), *self._replaced]


class _Opened:
    """
    A driver that signs as an app.

    Attributes:
        users: calls under way.
        loops: whether it was used in an event loop.
    """

    def __init__(self, app: App, driver: SigningDriver) -> None:
        self.app = app
        self.driver = driver
        self.users = 0
        self.loops = False


def _app_id(publication: Publication) -> str:
    return publication.app_id


def _connection(publication: Publication) -> str | None:
    return publication.connection
