"""Who may use this server: apps and where they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from broadcaster.protocol.app import App, AppLimits, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broadcaster.protocol.app_table import AppTable

__all__ = [
    "App",
    "AppLimits",
    "AppProvider",
    "AppSource",
    "AppStore",
    "StaticApps",
    "StoredApps",
    "Webhook",
]


class AppProvider(Protocol):
    """
    Finds apps. Every call answers from memory: they are on the path of every request.

    One that can also list its apps is iterable, so that a refusal can name a mixed-up app.
    """

    @property
    def settled(self) -> bool:
        """
        Whether an app that is not found does not exist.

        False while there may be apps that were not read yet: then nobody is turned away for
        good, since a moment later they may be known.
        """
        ...

    def by_id(self, app_id: str) -> App | None:
        """Return the app with this id, or None."""
        ...

    def by_key(self, key: str) -> App | None:
        """Return the app with this key, or None."""
        ...


class StoredApps(NamedTuple):
    """
    What an `AppStore` holds.

    Attributes:
        version: changes with every change; None when nothing was ever kept, or when the data
            is lost.
        tables: by app id; each is what `broadcaster.protocol.app_table.parse_app` reads, but
            an older or newer program may have written one that it refuses.
    """

    version: bytes | None
    tables: Mapping[str, AppTable]


class AppStore(Protocol):
    """
    Keeps apps that come and go while servers run, and tells every node of a change.

    Each change is atomic, changes the version, and is at once a control message to every
    node; a node that was cut off reads again. Raises `DriverUnavailable`, and `DriverError`
    with a code of its own where a call says so; nothing else.
    """

    async def version(self) -> bytes | None:
        """Return the present `StoredApps.version`: cheap, to see whether to read again."""
        ...

    async def read(self) -> StoredApps:
        """Return every app."""
        ...

    async def get(self, app_id: str) -> AppTable | None:
        """Return one app, or None."""
        ...

    async def put(self, table: AppTable, *, replacing: AppTable | None) -> None:
        """
        Add an app, or change one.

        Args:
            table: the whole app.
            replacing: the app as it was read, None for a new one; another change in
                between is not overwritten.

        Raises:
            ConfigurationError: the table is no app, or it is too long.
            DriverError: ``app_exists`` if a new one's id is taken, ``app_changed`` if it is not
                what it was when it was read, ``app_key_taken`` if another has its key,
                ``apps_full`` if there is no room.
        """
        ...

    async def delete(self, app_id: str) -> bool:
        """Remove an app; return whether it was there."""
        ...

    async def restore(self, tables: Mapping[str, AppTable]) -> bool:
        """Write everything back if the store has lost it, and only then; return whether it had."""
        ...


@runtime_checkable
class AppSource(Protocol):
    """The one app of a process, found when it is asked for."""

    def __call__(self) -> App:
        """Return the app; `NotConfigured` without credentials."""
        ...

    @property
    def debug(self) -> bool:
        """Whether refusals of this process may name their cause."""
        ...


class StaticApps:
    """The apps of a settings file."""

    settled = True

    def __init__(self, *apps: App) -> None:
        self._by_id = {app.id: app for app in apps}
        self._by_key = {app.key: app for app in apps}

    def __iter__(self) -> Iterator[App]:
        return iter(self._by_id.values())

    def by_id(self, app_id: str) -> App | None:
        """See `AppProvider.by_id`."""
        return self._by_id.get(app_id)

    def by_key(self, key: str) -> App | None:
        """See `AppProvider.by_key`."""
        return self._by_key.get(key)
