"""
Names of events: what wildcards match, and what a queued listener finds its event's class by.

An event of yours is called by the words of its class: ``OrderPlaced`` is ``order.placed``.
`event` gives it another name, and makes it known to listeners that only know names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from broadcaster.events.facts import FACT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_names: dict[type, str] = {cls: name for name, cls in FACT_EVENTS.items()}
_classes: dict[str, type] = dict(FACT_EVENTS.items())


def event(name: str) -> Callable[[type[T]], type[T]]:
    """
    Give a class of events a name: ``@event("order.placed")``.

    A queued listener to a pattern (``listen_to("order.*", queue="mail")``) can be sent only
    events that were named so: by its name, a worker finds the class.

    Raises:
        ValueError: another class has the name, or it is no name but a pattern.
    """
    if not name or "*" in name:
        raise ValueError(f"event({name!r}): a name has at least one character and no '*'")

    def decorate(cls: type[T]) -> type[T]:
        other = _classes.get(name)
        if other is not None and _place(other) != _place(cls):
            raise ValueError(
                f"two events are called {name!r}: {_place(other)} and {_place(cls)}; "
                "give one of them another name"
            )
        _classes[name] = cls
        _names[cls] = name
        return cls

    return decorate


def event_name(cls: type) -> str:
    """Return the name of a class of events."""
    return _names.get(cls) or _WORDS.sub(".", cls.__name__).lower()


def named_event(name: str) -> type | None:
    """Return the class that `event` gave this name, or None."""
    return _classes.get(name)


def class_among(targets: Iterable[type], name: str) -> type | None:
    """Return the class called `name` among `targets` and what derives from them, or None."""
    found = [cls for target in targets for cls in _family(target) if event_name(cls) == name]
    # A slotted dataclass leaves the class that it was made from behind for a while.
    return found[-1] if found else None


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what matches the names that `text` means; ``*`` stands for anything, dots too."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")))


def _family(cls: type) -> Iterator[type]:
    yield cls
    derived: type
    for derived in type.__subclasses__(cls):
        yield from _family(derived)


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
