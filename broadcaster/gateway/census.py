"""The connections of this node, by app."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from broadcaster.gateway.connection import Connection

CONNECTIONS = "#connections"
"""The pseudo channel under which the store counts an app's connections."""


class Census:
    """
    Knows who is connected, without those who were refused at the door.

    Args:
        changed: told the app whose number of connections is another now.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._by_app: dict[str, set[Connection]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_app)

    def came(self, connection: Connection) -> None:
        """A connection was admitted."""
        self._by_app.setdefault(connection.app.id, set()).add(connection)
        self._changed(connection.app.id)

    def left(self, connection: Connection) -> None:
        """A connection is gone; nothing happens when it was never admitted."""
        app_id = connection.app.id
        mine = self._by_app.get(app_id)
        if mine is None or connection not in mine:
            return
        mine.discard(connection)
        if not mine:
            del self._by_app[app_id]
        self._changed(app_id)

    def of(self, app_id: str) -> Collection[Connection]:
        """Return the connections that the app has here."""
        return self._by_app.get(app_id, ())

    def count(self, app_id: str) -> int:
        """Return how many connections the app has here."""
        return len(self._by_app.get(app_id, ()))
