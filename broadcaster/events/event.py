r"""
What an event may say about its own broadcast.

An event is any class of yours that derives from `ShouldBroadcast`: a dataclass, a
msgspec Struct, an attrs or pydantic class, or a plain one. Its options are the methods
below; all but `broadcast_on` have a default. Names that begin with ``broadcast`` are
reserved for options, so a misspelt one is refused when the class is made instead of
being ignored when it matters.
"""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from broadcaster.errors import PublicationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import Enum

    from broadcaster.events.channels import Channels

OPTIONS = (
    "broadcast_on",
    "broadcast_with",
    "broadcast_as",
    "broadcast_when",
    "broadcast_queue",
    "broadcast_connections",
    "broadcast_after_commit",
)


class ShouldBroadcast:
    """
    Base of events that are broadcast through the queue.

    All options are asked once, at the call of `broadcast`, in the calling process.
    """

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Refuse unknown options, and options that are not plain methods, with a `TypeError`."""
        super().__init_subclass__(**keywords)
        for klass in cls.__mro__:
            if klass is not object and not klass.__module__.startswith("broadcaster.events."):
                _check_options(klass)

    def broadcast_on(self) -> Channels | None:
        """Return the channel or channels; None or an empty list sends nothing."""
        raise PublicationError(
            f"{type(self).__qualname__} does not say where it goes: define broadcast_on() and "
            "return a channel",
            code="no_channels",
        )

    def broadcast_with(self) -> object:
        """
        Return the event's data: a mapping, or anything else that has a JSON form.

        Default: None, which means the public fields of the event.
        """
        return None

    def broadcast_as(self) -> str | Enum | None:
        r"""
        Return the event's name on the wire, exactly; an Enum stands for its value.

        Echo listens for such a name with a leading dot: ``.listen('.order.shipped')``.

        Default: None, which means the namespace and the class name,
        ``App\Events\OrderShipped``, which Echo knows as ``OrderShipped``.
        """
        return None

    def broadcast_when(self) -> bool:
        """Return whether to broadcast at all. Default: True."""
        return True

    def broadcast_queue(self) -> str | None:
        """Return the name of the queue to wait in. Default: None, the configured one."""
        return None

    def broadcast_connections(self) -> Iterable[str | None]:
        """
        Return the drivers to publish through, each once.

        Default: ``(None,)``, the configured one.
        """
        return (None,)

    def broadcast_after_commit(self) -> bool | None:
        """
        Return whether to wait until the open database transaction is committed.

        Default: None, what the ``queue.after_commit`` setting says.
        """
        return None


class ShouldBroadcastNow(ShouldBroadcast):
    """Base of events that are published at once, in the calling process, past the queue."""

    __slots__ = ()


class ShouldRescue:
    """
    Marks events whose failure to be sent must not stop the caller.

    A `DriverError` (Redis or a server cannot be reached, or refuses) is logged with its
    traceback instead of raised. Mistakes in the event itself still raise.
    """

    __slots__ = ()


def _check_options(klass: type) -> None:
    for name, value in _names(klass).items():
        if name in OPTIONS:
            _check_method(klass, name, value)
        elif name.lower().startswith("broadcast"):
            close = difflib.get_close_matches(_snake(name), OPTIONS, n=1, cutoff=0.5)
            hint = f" - did you mean {close[0]!r}?" if close else ""
            raise TypeError(
                f"{klass.__qualname__}.{name} is no option of an event{hint} (names that begin "
                f"with 'broadcast' are reserved; known are {', '.join(OPTIONS)})"
            )
        elif callable(value) and difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.85):
            close = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.85)
            raise TypeError(
                f"{klass.__qualname__}.{name} is no option of an event - did you mean {close[0]!r}?"
            )


def _check_method(klass: type, name: str, value: object) -> None:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if not inspect.isfunction(value):
        what = f"{klass.__qualname__}.{name} must be a method: write 'def {name}(self): return ...'"
        raise TypeError(what)
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        what = f"{klass.__qualname__}.{name} must be a plain method: it is asked from sync code too"
        raise TypeError(what)


def _names(klass: type) -> dict[str, object]:
    try:
        annotated = dict.fromkeys(inspect.get_annotations(klass))
    except NameError:  # evaluated late (Python 3.14), naming what only type checkers import
        annotated = {}
    return {**annotated, **vars(klass)}


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
