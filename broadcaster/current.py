"""
The application that `broadcast()` and `dispatch()` mean.

There is one per process. `configure` sets it; the first verb does that by itself with
whatever `load_settings` finds. A forked child gets an application of its own, since
connections cannot be shared between processes.
"""

from __future__ import annotations

import importlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.apps import App
    from broadcaster.settings import Settings

# A string, so that importing this module does not import every driver.
_FACTORY = "broadcaster.wiring.backend:open_backend"


class _Current:
    """The application, the process it belongs to, and what it was made from."""

    __slots__ = ("application", "lock", "pid", "settings")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.application: Application | None = None
        self.settings: Settings | None = None
        self.pid = 0


_current = _Current()


def configure(settings: Settings | None = None) -> Application:
    """
    Set the current application.

    Args:
        settings: what to use instead of what the environment and files say.

    Raises:
        ConfigurationError: a setting is wrong. What is merely missing is reported by the
            first verb that needs it (`NotConfigured`).
    """
    with _current.lock:
        _replace(settings)
        return _made()


def application() -> Application:
    """
    Return the current application; make it if `configure` was not called.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    known = _current.application
    if known is not None and _current.pid == os.getpid():
        return known
    with _current.lock:
        if _current.application is None:
            _replace(None)
        elif _current.pid != os.getpid():
            # The parent's connections stay the parent's: they are dropped here unclosed.
            _current.application = None
            _replace(_current.settings)
        return _made()


class Credentials:
    """
    Id, key and secret of the current application, as the endpoints that sign want them.

    ::

        app.mount("/broadcasting", broadcasting_auth(credentials, user=current_user))

    Call it for the `App`. Nothing is read before that: settings may come later. Where one
    process signs for several apps, give each endpoint its own, ``credentials.of("blog")``, or
    choose per request with `broadcaster.using_app`.

    Implements `broadcaster.contracts.apps.AppSource`.
    """

    __slots__ = ("_app_id",)

    def __init__(self, app_id: str | None = None) -> None:
        self._app_id = app_id

    def __call__(self) -> App:
        """
        Return the app of the current application.

        Raises:
            NotConfigured: no credentials were found, or no app of this id; the message says
                what to set.
            ConfigurationError: a setting is wrong.
            DriverUnavailable: the app is one that Redis holds, and it does not answer.
        """
        return application().app if self._app_id is None else application().find_app(self._app_id)

    def of(self, app_id: str) -> Credentials:
        """Return those of one of several apps; it is looked up when it is first used."""
        return Credentials(app_id)

    @property
    def debug(self) -> bool:
        """Whether refusals may name their cause: the setting ``debug``."""
        return application().debug


credentials = Credentials()


def use(replacement: Application) -> None:
    """Make `replacement` the current application: tests, and processes wired by hand."""
    with _current.lock:
        _current.application = replacement
        _current.settings = None
        _current.pid = os.getpid()


@contextmanager
def replaced(replacement: Application) -> Generator[None, None, None]:
    """Make `replacement` the current application in this block, for every thread."""
    with _current.lock:
        before = _current.application, _current.settings, _current.pid
        _current.application, _current.settings, _current.pid = replacement, None, os.getpid()
    try:
        yield
    finally:
        with _current.lock:
            _current.application, _current.settings, _current.pid = before


def reset() -> None:
    """Close and forget the current application; the next verb looks for settings anew."""
    with _current.lock:
        if _current.application is not None and _current.pid == os.getpid():
            _current.application.close()
        _current.application = None
        _current.settings = None


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that is not there may have held it."""
    _current.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _replace(settings: Settings | None) -> None:
    module, _, name = _FACTORY.partition(":")
    factory = getattr(importlib.import_module(module), name)
    made: Application = factory(settings)
    if _current.application is not None and _current.pid == os.getpid():
        _current.application.close()
    _current.application = made
    _current.settings = settings
    _current.pid = os.getpid()


def _made() -> Application:
    if _current.application is None:  # pragma: no cover - both callers have just set it
        raise RuntimeError("no application")
    return _current.application
