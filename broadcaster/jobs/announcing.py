"""
Telling the listeners of this process what happens to jobs, queues and workers.

Listeners are plain functions, called where the event happens: in the worker's event loop, or
in the thread that dispatches. They must be quick. One that returns False keeps the event
from those that were added after it; for `Looping` that also means that the worker takes no
new jobs in this round. What a listener raises is logged and goes no further: neither a job
nor a worker depends on who watches it.

Whoever has something to tell asks first, so that nothing is built when nobody listens::

    if wanted(JobProcessed):
        announce(JobProcessed(connection_name="redis", job=taken))
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from broadcaster.jobs.lifecycle import LIFECYCLE_EVENTS, LifecycleEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = logging.getLogger("broadcaster.events")

# What would end the process or the task that has something to tell. Nobody waits in a listener,
# so it is not that task that was cancelled.
_ENDS = (SystemExit, asyncio.CancelledError, GeneratorExit)

E = TypeVar("E", bound=LifecycleEvent)


class LifecycleListeners:
    """Who listens to what: functions by class of event, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: dict[str, tuple[type[LifecycleEvent], Callable[[Any], object]]] = {}
        self._by_class: Mapping[type, tuple[Callable[[Any], object], ...]] = {}

    def add(
        self, event: type[E], listener: Callable[[E], object], *, name: str = ""
    ) -> Callable[[], None]:
        """
        Have `listener` called with each `event`, a class or a base of several.

        Args:
            name: a listener of the same name (a reloaded module) is replaced.

        Returns:
            What takes the listener away again.
        """
        key = f"{event.__name__} {name or id(listener)}"
        with self._lock:
            self._added[key] = (event, listener)
            self._arrange()

        def remove() -> None:
            with self._lock:
                if self._added.get(key) == (event, listener):
                    del self._added[key]
                    self._arrange()

        return remove

    def has(self, event: type[LifecycleEvent], name: str) -> bool:
        """Whether the listener called `name` listens to `event`."""
        return f"{event.__name__} {name}" in self._added

    def wanted(self, event: type[LifecycleEvent]) -> bool:
        """Whether anybody listens to events of this class."""
        return event in self._by_class

    @property
    def any(self) -> bool:
        """Whether anybody listens to anything."""
        return bool(self._by_class)

    def announce(self, event: LifecycleEvent) -> bool:
        """
        Call the listeners of `event`.

        Returns:
            False if one of them returned False: those after it were not called.
        """
        for listener in self._by_class.get(type(event), ()):
            try:
                if listener(event) is False:
                    return False
            except (Exception, *_ENDS):  # noqa: BLE001 - watching must break nothing
                _log.exception(
                    "a listener of %s failed",
                    type(event).__name__,
                    extra={"event": "listener_failed", "listened": type(event).__name__},
                )
        return True

    def _arrange(self) -> None:
        """Write the table anew: readers see the old one or the new one, and need no lock."""
        table: dict[type, tuple[Callable[[Any], object], ...]] = {}
        for known in LIFECYCLE_EVENTS:
            found = tuple(call for event, call in self._added.values() if issubclass(known, event))
            if found:
                table[known] = found
        self._by_class = table


lifecycle_listeners = LifecycleListeners()
"""The listeners of this process."""


def wanted(event: type[LifecycleEvent]) -> bool:
    """Whether anybody in this process listens to events of this class."""
    return lifecycle_listeners.wanted(event)


def anybody_listens() -> bool:
    """Whether anybody in this process listens to lifecycle events at all."""
    return lifecycle_listeners.any


def announce(event: LifecycleEvent) -> bool:
    """Tell the listeners of this process; see `LifecycleListeners.announce`."""
    return lifecycle_listeners.announce(event)
