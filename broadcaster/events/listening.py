"""
Listeners: functions and classes that are called when something has happened.

::

    @listen(OrderPlaced)                                    # called where it is emitted
    def reserve(event: OrderPlaced) -> None: ...

    @listen(OrderPlaced, queue="mail", tries=3, backoff=[1, 10])    # called in a worker
    async def confirm(event: OrderPlaced) -> None: ...

    @listen(OrderPlaced, queue=True)
    class NotifyWarehouse:
        def handle(self, event: OrderPlaced) -> None: ...
        def should_queue(self, event: OrderPlaced) -> bool: ...

    listeners({OrderPlaced: [reserve_stock, NotifyCustomer, (Audit, "order_placed")]})

What happens in an app's channels (`MemberAdded` and its kind) happens elsewhere: those
listeners are always queued. What happens to jobs and workers
(`broadcaster.jobs.lifecycle`) is told in the middle of it: those never are.

A queued listener is a job of its own, with a registered name, a queue and tries: one that
fails is run again without the others. It is called at least once.
"""

from __future__ import annotations

import time
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from broadcaster.contracts.queue import NewJob
from broadcaster.errors import BroadcasterError
from broadcaster.events.facts import FACT_EVENTS, event_data
from broadcaster.events.listeners import listeners as table
from broadcaster.events.registering import MARK, adding, is_pair, method_of
from broadcaster.jobs.bus import payload_of, prepared
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import LIFECYCLE_EVENTS
from broadcaster.protocol.facts import fact_id
from broadcaster.protocol.payload import encode_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from broadcaster.events.registering import QueueOptions
    from broadcaster.protocol.facts import Fact

E = TypeVar("E")
C = TypeVar("C")
R = TypeVar("R")


class Listening(Protocol[E]):
    """What `listen` returns: it takes a listener and returns it as it was."""

    @overload
    def __call__(self, listener: type[C], /) -> type[C]: ...
    @overload
    def __call__(
        self, listener: Callable[Concatenate[E, ...], R], /
    ) -> Callable[Concatenate[E, ...], R]: ...


@overload
def listen(event: type[E], /, **options: Unpack[QueueOptions]) -> Listening[E]: ...
@overload
def listen(*events: type, **options: Unpack[QueueOptions]) -> Listening[Any]: ...
def listen(*events: type, **options: Any) -> Any:
    """
    Have a function or class called with each of `events`; it is returned as it was.

    Args:
        events: classes; events of classes that derive from them are meant too.
        options: ``queue`` (a name, or True for the default queue) has a worker call it; the
            others, as for `Job`, are for queued listeners only.

    A class is made anew for each event, without arguments, and its `handle` is called. If it
    is queued it may also say, as methods that take the event: `should_queue` (whether to
    queue it at all), `via_queue` (where), `with_delay` (how long it waits), and
    ``failed(event, error)`` is called when it was given up.

    Raises:
        TypeError: no event, something that is none, or options that would have no effect.
    """
    if not events:
        raise TypeError("listen() needs an event, as in @listen(OrderPlaced)")
    for event in events:
        _check_event(event)
    return adding(events, options)


def listen_to(*patterns: str, **options: Unpack[QueueOptions]) -> Listening[Any]:
    """
    Have a function or class called with events by their names; see `listen`.

    Args:
        patterns: names such as ``order.placed``; ``*`` stands for anything. A class
            ``OrderPlaced`` is called ``order.placed``, or what `broadcaster.event` says.
    """
    if not patterns or not all(patterns):
        raise TypeError(f"listen_to() takes names of events, as in 'order.*', not {patterns!r}")
    return cast("Listening[Any]", adding(patterns, options))


def queued(**options: Unpack[QueueOptions]) -> Callable[[C], C]:
    """
    Say how a function or class is queued, wherever it will listen; see `listeners`.

    Raises:
        TypeError: it is put on a class that can be no listener; an event that is "queued" has
            no effect: its listeners are.
    """
    given: dict[str, Any] = {"queue": True, **options}

    def decorate(listener: C) -> C:
        if isinstance(listener, type) and method_of(listener) is None:
            raise TypeError(
                f"queued() is for listeners; {listener.__name__} has no handle(). An event is not "
                "queued itself: put it on those who listen"
            )
        setattr(listener, MARK, given)
        return listener

    return decorate


def listeners(listening: Mapping[type | str, Iterable[Any] | Any], /) -> None:
    """
    Add listeners by a map: ``listeners({OrderPlaced: [reserve, SendMail, (Audit, "placed")]})``.

    Args:
        listening: by class of events or pattern of names: functions, classes, or pairs of a
            class and the name of its method; one or several. `queued` says which are queued.

    Raises:
        TypeError: see `listen`.
    """
    for target, found in listening.items():
        several = isinstance(found, list | set | frozenset) or (
            isinstance(found, tuple) and not is_pair(found)
        )
        add: Any = listen_to(target) if isinstance(target, str) else listen(target)
        for listener in cast("Iterable[Any]", found) if several else (found,):
            add(listener)


class Registrar:
    """What a subscriber is given to say what it listens to; see `subscribe`."""

    def listen(
        self, target: type | str, listener: Callable[..., Any], **options: Unpack[QueueOptions]
    ) -> None:
        """Have `listener` called with events of this class, or with names of this pattern."""
        if isinstance(target, str):
            listen_to(target, **options)(listener)
        else:
            listen(target, **options)(listener)


class Subscriber(Protocol):
    """
    An object that listens to several events.

    ::

        class UserSubscriber:
            def subscribe(self, events):
                events.listen(SignedIn, self.signed_in, queue="audit")
                return {SignedOut: "signed_out"}
    """

    def subscribe(self, events: Registrar, /) -> Mapping[type | str, str | Iterable[str]] | None:
        """Add listeners to `events`, or return names of methods by what they listen to."""
        ...


def subscribe(subscriber: Subscriber | type[Subscriber]) -> None:
    """
    Add the listeners of a subscriber; a class is made without arguments.

    Raises:
        TypeError: see `listen`.
    """
    made = subscriber() if isinstance(subscriber, type) else subscriber
    registrar = Registrar()
    for target, names in (made.subscribe(registrar) or {}).items():
        for name in (names,) if isinstance(names, str) else names:
            registrar.listen(target, getattr(made, name))


def hears_facts() -> bool:
    """Whether anybody listens to what happens in an app's channels."""
    return any(listener.job for event in FACT_EVENTS.values() for listener in table.of(event))


def listener_jobs(fact: Fact, *, default_queue: str) -> list[NewJob]:
    """
    Return a job for each listener of `fact`.

    Their ids follow from the fact's, so that doing it twice while they wait makes no second
    one.

    Args:
        default_queue: for listeners that name none.
    """
    found = table.of(FACT_EVENTS[fact.name])
    return [_fact_job(fact, one.job, default_queue) for one in found if one.job is not None]


def _fact_job(fact: Fact, made: type[Job], default_queue: str) -> NewJob:
    new: Any = made
    ready = prepared(new(event=fact.name, data=event_data(fact)))
    job_id = fact_id("listener", fact.app_id, fact.id, ready.options.name)
    payload = payload_of(ready, job_id=job_id, now=time.time())
    queue = ready.options.queue or default_queue
    return NewJob(job_id, queue, encode_payload(payload), ready.options.delay)


def _check_event(event: object) -> None:
    if isinstance(event, str):
        raise TypeError(f"listen() takes classes of events: for names say listen_to({event!r})")
    if not isinstance(event, type) or (event.__module__ == "builtins" and event is not object):
        raise TypeError(f"listen() takes classes of events, not {event!r}")
    if issubclass(event, Job):
        raise TypeError(f"listen() takes classes of events; {event.__name__} is a job")
    if issubclass(event, BroadcasterError):  # JobFailed is both, and nobody emits the error
        known = event.__name__ in {each.__name__ for each in LIFECYCLE_EVENTS}
        where = f"; the event is broadcaster.jobs.lifecycle.{event.__name__}" if known else ""
        raise TypeError(f"listen() takes classes of events; {event.__name__} is an error{where}")
