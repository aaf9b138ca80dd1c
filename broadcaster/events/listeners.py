"""
Who listens to which event: a table that is read at every `emit` and written at import.

A listener is added under what it listens to: a class, which means its subclasses too, or a
pattern of names (``order.*``). An event's listeners are called in the order in which they
were added, whatever they were added under.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.events.naming import class_among, event_name, named_event, pattern_of

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from broadcaster.jobs.job import Job

Target = type | str
"""What is listened to: a class of events, or a pattern of names."""


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """
    Something that is called with events.

    Attributes:
        name: unique among listeners: its place, or what was chosen.
        place: module and qualified name of the function, class or method.
        call: takes the event; what it returns is awaited if it is a coroutine function.
        waits: `call` is a coroutine function.
        job: the job that calls it in a worker; None: it is called where the event is emitted.
        owner: makes the object that may have `should_queue`, `via_queue` and `with_delay`.
    """

    name: str
    place: str
    call: Callable[..., Any]
    waits: bool
    job: type[Job] | None = None
    owner: Callable[[], object] | None = None


class _Entry(NamedTuple):
    target: Target
    pattern: re.Pattern[str] | None
    listener: Listener

    def fits(self, cls: type) -> bool:
        if self.pattern is not None:
            return self.pattern.fullmatch(event_name(cls)) is not None
        return isinstance(self.target, type) and issubclass(cls, self.target)


class Listeners:
    """A table of listeners; adding and reading may happen in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._found: dict[type, tuple[Listener, ...]] = {}

    def add(self, target: Target, listener: Listener) -> None:
        """Add a listener; one of the same name to the same (a reloaded module) is replaced."""
        pattern = pattern_of(target) if isinstance(target, str) else None
        with self._lock:
            self._entries[_key(target), listener.name] = _Entry(target, pattern, listener)
            self._found = {}

    def remove(self, target: Target, name: str) -> None:
        """Take the listener called `name` away from `target`."""
        with self._lock:
            self._entries.pop((_key(target), name), None)
            self._found = {}

    def has(self, target: Target, place: str) -> bool:
        """Whether what stands at `place` listens to `target`, under whichever name."""
        key = _key(target)
        return any(
            known == key and entry.listener.place == place
            for (known, _), entry in list(self._entries.items())
        )

    def of(self, event: type) -> tuple[Listener, ...]:
        """Return the listeners of events of this class."""
        table = self._found
        known = table.get(event)
        if known is None:
            entries = list(self._entries.values())
            known = tuple({e.listener.name: e.listener for e in entries if e.fits(event)}.values())
            table[event] = known
        return known

    def event_of(self, listener: str, name: str) -> type | None:
        """
        Return the class of the event called `name`, as the listener of that name knows it.

        Only classes that it listens to are looked at, what derives from them, and, if it
        listens to a pattern or to everything, those that were given this name with `event`.
        """
        mine = [entry for entry in self._entries.values() if entry.listener.name == listener]
        classes = [entry.target for entry in mine if isinstance(entry.target, type)]
        found = class_among([cls for cls in classes if cls is not object], name)
        if found is not None:
            return found
        by_name = object in classes or any(e.pattern and e.pattern.fullmatch(name) for e in mine)
        return named_event(name) if by_name else None


listeners = Listeners()
"""The listeners of this process."""


def _key(target: Target) -> str:
    """Return what stays the same when the module that defines a class is loaded again."""
    if isinstance(target, str):
        return f"name {target}"
    return f"class {target.__module__}.{target.__qualname__}"
