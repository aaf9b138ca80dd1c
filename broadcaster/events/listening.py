"""
Listeners: functions that a worker calls when something has happened.

::

    @listen(MemberAdded)
    async def greet(event: MemberAdded) -> None: ...

    @listen(MemberAdded, MemberRemoved, queue="stats", tries=5, backoff=[1, 10, 60])
    def count(event: MemberAdded | MemberRemoved) -> None: ...

Each listener is a job of its own, with a registered name, a queue and tries: one that fails
is run again without the others. An event becomes those jobs in a worker, the only process
that knows the listeners; their ids follow from the event's, so that doing it twice
while they wait makes no second one. A listener is called at least once.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from broadcaster.contracts.queue import NewJob
from broadcaster.events.facts import FACT_EVENTS, FactEvent, decode_event, event_data
from broadcaster.jobs.job import Job
from broadcaster.protocol.facts import fact_id
from broadcaster.protocol.payload import Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.jobs.backoff import Backoff
    from broadcaster.jobs.delay import Duration
    from broadcaster.protocol.facts import Fact

E = TypeVar("E", bound=FactEvent)
R = TypeVar("R")


class Listeners:
    """Who listens to which event: job classes by the event's name, in order of definition."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, type[Job]]] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, event: str, job: type[Job]) -> None:
        """Add a listener; one of the same name (a reloaded module) is replaced."""
        self._jobs.setdefault(event, {})[job.options.name] = job

    def of(self, event: str) -> list[type[Job]]:
        """Return the listeners of an event."""
        return list(self._jobs.get(event, {}).values())


listeners = Listeners()
"""The listeners of this process: functions enter when they are decorated."""


@overload
def listen(
    event: type[E],
    /,
    *,
    name: str | None = None,
    queue: str | None = None,
    tries: int | None = None,
    backoff: Backoff = (),
    timeout: Duration | None = None,
) -> Callable[[Callable[[E], R]], Callable[[E], R]]: ...
@overload
def listen(
    *events: type[FactEvent],
    name: str | None = None,
    queue: str | None = None,
    tries: int | None = None,
    backoff: Backoff = (),
    timeout: Duration | None = None,
) -> Callable[[Callable[[Any], R]], Callable[[Any], R]]: ...
def listen(*events: type[FactEvent], **options: Any) -> Any:
    """
    Have a function, sync or async, called with each of `events`; it is returned as it was.

    Args:
        events: classes such as `MemberAdded`.
        options: ``queue``, ``tries``, ``backoff`` and ``timeout`` as for `Job`; ``name`` is
            the job's, by default module and name of the function.

    Raises:
        TypeError: no event, or something that is none; a function that cannot be called
            with one argument.
    """
    names = [_event_name(event) for event in events]
    if not names:
        raise TypeError("listen() needs an event, as in @listen(MemberAdded)")

    def decorate(function: Callable[[Any], R]) -> Callable[[Any], R]:
        _check_parameters(function, events)
        made = _job_of(function, options)
        for name in names:
            listeners.add(name, made)
        return function

    return decorate


def listener_jobs(fact: Fact, *, default_queue: str) -> list[NewJob]:
    """
    Return a job for each listener of `fact`.

    Args:
        default_queue: for listeners that name none.
    """
    return [_new_job(fact, made, default_queue) for made in listeners.of(fact.name)]


def _new_job(fact: Fact, made: type[Job], default_queue: str) -> NewJob:
    options = made.options
    payload = Payload(
        id=fact_id("listener", fact.app_id, fact.id, options.name),
        job=options.name,
        data={"event": fact.name, "data": event_data(fact)},
        tries=options.tries,
        backoff=options.backoff,
        timeout=options.timeout,
    )
    return NewJob(payload.id, options.queue or default_queue, encode_payload(payload))


def _event_name(event: type[FactEvent]) -> str:
    name = {cls: name for name, cls in FACT_EVENTS.items()}.get(event)
    if name is None:
        known = ", ".join(cls.__name__ for cls in FACT_EVENTS.values())
        raise TypeError(f"listen() takes events, not {event!r}; there are {known}")
    return name


def _check_parameters(function: Callable[..., object], events: Sequence[type[FactEvent]]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some built-in functions nobody knows it
        return
    try:
        signature.bind(None)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        kinds = " | ".join(event.__name__ for event in events)
        raise TypeError(
            f"{name}{signature} cannot listen: it is called with the event alone, as in "
            f"def {getattr(function, '__name__', 'listener')}(event: {kinds}) ({error})"
        ) from None


def _job_of(function: Callable[[Any], object], options: Mapping[str, Any]) -> type[Job]:
    given = {"name": f"{function.__module__}.{function.__qualname__}"}
    given |= {word: value for word, value in options.items() if value is not None}

    def make_body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {"event": str, "data": dict[str, Any]}
        namespace["__doc__"] = function.__doc__
        namespace["__module__"] = function.__module__
        namespace["__qualname__"] = function.__qualname__
        namespace["handle"] = _handle_of(function)

    return cast("type[Job]", types.new_class(function.__name__, (Job,), given, make_body))


def _handle_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if inspect.iscoroutinefunction(function):

        async def ahandle(self: Any) -> None:
            await function(decode_event(self.event, self.data))

        return ahandle

    def handle(self: Any) -> None:
        function(decode_event(self.event, self.data))

    return handle
