"""Who may use this server: apps and where they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from broadcaster.protocol.app import App, AppLimits, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["App", "AppLimits", "AppProvider", "AppSource", "StaticApps", "Webhook"]


class AppProvider(Protocol):
    """Finds apps. Both calls answer from memory: they are on the path of every request."""

    def by_id(self, app_id: str) -> App | None:
        """Return the app with this id, or None."""
        ...

    def by_key(self, key: str) -> App | None:
        """Return the app with this key, or None."""
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
    """The apps of a settings file; iterable, so that a refusal can name a mixed-up app."""

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
