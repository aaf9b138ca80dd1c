"""
What can be said about how a job is queued and tried, for its class and for one dispatch.

The words are the same in both places; what a dispatch says wins.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from broadcaster.contracts.settlements import MAX_UNIQUE_SECONDS
from broadcaster.jobs.backoff import as_backoff
from broadcaster.jobs.delay import as_seconds
from broadcaster.protocol.lanes import is_queue
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.jobs.backoff import Backoff
    from broadcaster.jobs.delay import Duration
    from broadcaster.jobs.middleware.contract import Middleware

RetryUntil = float | timedelta | datetime
"""A duration from the dispatch on, or a moment with its time zone."""

UNIQUE_SECONDS = 86_400.0
"""How long a unique job keeps others out, if its class does not say and it does not end."""


class DispatchOptions(TypedDict, total=False):
    """
    Options of one dispatch.

    Attributes:
        delay: seconds before it may run, to the millisecond.
        queue: where it waits.
        connection: name of the queue connection.
        tries: tries allowed; 0 is no limit.
        backoff: seconds before each retry; a list gives one per retry, the last one repeats.
        jitter: the part of each wait that chance may take away, 0 to 1.
        timeout: seconds one try may take; 0 is no limit.
        fail_on_timeout: a try that took too long is not repeated.
        max_exceptions: tries that may end with an exception.
        retry_until: no try begins after it, and tries are not counted.
        delete_when_missing_models: forget it when a model that it refers to is gone.
        after_commit: queue it when the open database transaction commits, and not if it
            rolls back.
    """

    delay: Duration | None
    queue: str | None
    connection: str | None
    tries: int
    backoff: Backoff
    jitter: float
    timeout: Duration
    fail_on_timeout: bool
    max_exceptions: int
    retry_until: RetryUntil
    delete_when_missing_models: bool
    after_commit: bool


class ClassOptions(DispatchOptions, total=False):
    """
    Options of a job class, written in its class line; further ones are `DispatchOptions`.

    Attributes:
        name: what payloads call it.
        unique: it is not queued while another one is: True means one with the same fields,
            names of fields one that has the same there; a method `unique_id` decides itself.
        unique_for: seconds after which another one may be queued in any case.
        unique_until: ``done``, or ``processing`` when one that runs is in nobody's way.
        ordered_by: name of a field; jobs with the same value there run one after the other.
        skip_cancelled: it is skipped when its batch is cancelled before it starts.
        middleware: what its runs go through, the outermost first.
    """

    name: str
    unique: bool | str | Sequence[str]
    unique_for: Duration
    unique_until: Literal["done", "processing"]
    ordered_by: str
    skip_cancelled: bool
    middleware: Sequence[Middleware]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """
    How a job is queued and tried, checked and in plain types; None leaves it to the worker.

    Attributes:
        name: what payloads call it.
        queue: where it waits; None is the default queue.
        connection: name of the queue connection; None is the default one.
        delay: seconds before it may run.
        tries: tries allowed; 0 is no limit.
        backoff: seconds before each retry, the last one repeats.
        jitter: the part of each wait that chance may take away, 0 to 1.
        timeout: seconds one try may take; 0 is no limit.
        fail_on_timeout: a try that took too long is not repeated.
        max_exceptions: tries that may end with an exception; None is no limit.
        retry_for: seconds from its being queued after which no try begins.
        retry_until: Unix seconds after which no try begins.
        delete_when_missing_models: it is forgotten when a model of it is gone.
        after_commit: it is queued when the open transaction commits; None is the
            connection's choice.
        unique: names of the fields that make it unique, all if empty; None: it is not unique.
        unique_for: longest time that its lock holds.
        unique_until: when the lock is freed.
        ordered_by: the field that gives it an order.
        skip_cancelled: it is skipped when its batch is cancelled.
        middleware: what its runs go through.
    """

    name: str
    queue: str | None = None
    connection: str | None = None
    delay: float = 0.0
    tries: int | None = None
    backoff: tuple[float, ...] = ()
    jitter: float = 0.0
    timeout: float | None = None
    fail_on_timeout: bool = False
    max_exceptions: int | None = None
    retry_for: float | None = None
    retry_until: float | None = None
    delete_when_missing_models: bool = False
    after_commit: bool | None = None
    unique: tuple[str, ...] | None = None
    unique_for: float = UNIQUE_SECONDS
    unique_until: Literal["done", "processing"] = "done"
    ordered_by: str | None = None
    skip_cancelled: bool = True
    middleware: tuple[Middleware, ...] = ()


WORDS = tuple(sorted(ClassOptions.__annotations__))
"""Every option that there is."""


def with_options(options: JobOptions, given: Mapping[str, Any]) -> JobOptions:
    """
    Return `options` changed by `given`, options of a class or of a dispatch.

    Raises:
        TypeError: a word that is no option, or a value of the wrong type.
        ValueError: a value that is out of its range.
    """
    if not given:
        return options
    changes: dict[str, Any] = {}
    for word, value in given.items():
        read = _READERS.get(word)
        if read is None:
            hint = did_you_mean(word, WORDS) or f"; there are {', '.join(WORDS)}"
            raise TypeError(f"{options.name} has no option {word!r}{hint}")
        if value is not None:
            changes |= read(options.name, value)
    if given.get("tries") and given.get("retry_until") is not None:
        warnings.warn(
            f"{options.name}: tries={given['tries']} says nothing beside retry_until; "
            "max_exceptions limits how often it may break",
            stacklevel=3,
        )
    return dataclasses.replace(options, **changes)


def _text(word: str) -> Callable[[str, Any], dict[str, Any]]:
    def read(owner: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, str) or not value:
            raise TypeError(f"{owner}: {word} must be a name, not {value!r}")
        return {word: value}

    return read


def _queue(owner: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or not is_queue(value):
        raise TypeError(
            f"{owner}: queue must be a name of letters, digits and - _ . @, not {value!r}"
        )
    return {"queue": value}


def _flag(word: str) -> Callable[[str, Any], dict[str, Any]]:
    def read(owner: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, bool):
            raise TypeError(f"{owner}: {word} must be True or False, not {value!r}")
        return {word: value}

    return read


def _count(word: str, least: int) -> Callable[[str, Any], dict[str, Any]]:
    def read(owner: str, value: Any) -> dict[str, Any]:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{owner}: {word} must be a whole number, not {value!r}")
        if value < least:
            rule = "0 (no limit) or more" if least == 0 else f"{least} or more"
            raise ValueError(f"{owner}: {word} must be {rule}, not {value}")
        return {word: value}

    return read


def _seconds(word: str) -> Callable[[str, Any], dict[str, Any]]:
    def read(_: str, value: Any) -> dict[str, Any]:
        return {word: as_seconds(value, word)}

    return read


def _backoff(_: str, value: Any) -> dict[str, Any]:
    return {"backoff": as_backoff(value)}


def _jitter(owner: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{owner}: jitter is a part of the wait, 0 to 1, not {value!r}")
    return {"jitter": float(value)}


def _retry_until(owner: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, datetime):
        return {"retry_for": as_seconds(value, "retry_until"), "retry_until": None}
    if value.tzinfo is None:
        raise ValueError(
            f"{owner}: retry_until {value} has no time zone; datetime.now(UTC) + ... has one"
        )
    return {"retry_until": value.timestamp(), "retry_for": None}


def _unique(owner: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"unique": () if value else None}
    fields = (value,) if isinstance(value, str) else tuple(value)
    if not fields or not all(isinstance(field, str) and field for field in fields):
        raise TypeError(f"{owner}: unique is True or names of fields, not {value!r}")
    return {"unique": fields}


def _unique_for(owner: str, value: Any) -> dict[str, Any]:
    seconds = as_seconds(value, "unique_for")
    if not 0 < seconds <= MAX_UNIQUE_SECONDS or math.isnan(seconds):
        raise ValueError(
            f"{owner}: unique_for must be over 0 and at most {MAX_UNIQUE_SECONDS:,.0f} seconds "
            f"(a week), not {value!r}"
        )
    return {"unique_for": seconds}


def _unique_until(owner: str, value: Any) -> dict[str, Any]:
    if value not in {"done", "processing"}:
        raise ValueError(f"{owner}: unique_until is 'done' or 'processing', not {value!r}")
    return {"unique_until": value}


def _middleware(owner: str, value: Any) -> dict[str, Any]:
    given = tuple(value) if isinstance(value, Iterable) else (None,)
    classes = [each.__name__ for each in given if isinstance(each, type)]
    if classes:
        raise TypeError(f"{owner}: middleware {classes[0]} is a class: write {classes[0]}(...)")
    if not all(callable(each) or hasattr(each, "around") for each in given):
        raise TypeError(f"{owner}: middleware is a list of objects, not {value!r}")
    return {"middleware": given}


_READERS: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "name": _text("name"),
    "delay": _seconds("delay"),
    "queue": _queue,
    "connection": _text("connection"),
    "tries": _count("tries", 0),
    "backoff": _backoff,
    "jitter": _jitter,
    "timeout": _seconds("timeout"),
    "fail_on_timeout": _flag("fail_on_timeout"),
    "max_exceptions": _count("max_exceptions", 1),
    "retry_until": _retry_until,
    "delete_when_missing_models": _flag("delete_when_missing_models"),
    "after_commit": _flag("after_commit"),
    "unique": _unique,
    "unique_for": _unique_for,
    "unique_until": _unique_until,
    "ordered_by": _text("ordered_by"),
    "skip_cancelled": _flag("skip_cancelled"),
    "middleware": _middleware,
}
