"""
Queued listeners as jobs: an event becomes a payload, a worker makes the event of it again.

The job of a listener has the event's name and its fields in JSON. The worker knows the
listener by its registered name, and looks for the event's class only among those that this
listener listens to: nothing is imported because a payload says so.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, cast

import msgspec

from broadcaster.errors import InvalidJob
from broadcaster.events.encoding import public_fields
from broadcaster.events.listeners import listeners
from broadcaster.events.naming import event_name, named_event
from broadcaster.jobs.job import Job
from broadcaster.jobs.references import decode_reference, encode_reference, models, references_in
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broadcaster.events.listeners import Listener

PLACE = "__listener__"
"""The attribute of a listener's job class that says where the listener stands."""


def job_class(
    name: str,
    place: str,
    call: Callable[..., Any],
    *,
    failed: Callable[..., Any] | None,
    waits: bool,
    options: Mapping[str, Any],
    made_of: Any,
) -> type[Job]:
    """
    Return the job class of a listener.

    Args:
        name: of the listener, and of its job.
        place: module and qualified name of the function, class or method.
        call: takes the event.
        failed: takes the event and the error when the job was given up.
        waits: `call` is a coroutine function.
        options: as in a job's class line, without ``name``.
        made_of: the function or class that listens, for names and documentation.
    """

    def make_body(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {"event": str, "data": dict[str, Any]}
        namespace["__doc__"] = made_of.__doc__
        namespace["__module__"] = made_of.__module__
        namespace["__qualname__"] = made_of.__qualname__
        namespace[PLACE] = place
        namespace["handle"] = _handle(name, call, waits=waits)
        if failed is not None:
            namespace["failed"] = _failed(name, failed)

    made = types.new_class(made_of.__name__, (Job,), {**options, "name": name}, make_body)
    return cast("type[Job]", made)


def listener_job(listener: Listener, event: object) -> Job:
    """
    Return the job that calls `listener` with `event`.

    Raises:
        InvalidJob: the event has fields without a JSON form, or a worker could not find its
            class.
    """
    cls, name = type(event), event_name(type(event))
    if listeners.event_of(listener.name, name) is not cls:
        other = named_event(name)
        raise InvalidJob(
            f"{cls.__qualname__} cannot be sent to the queued listener {listener.name}: a worker "
            f"could not tell which class {name!r} is; give it a name with @event(...)"
            + (f", another one than {name!r}" if other not in (None, cls) else "")
        )
    data = encode_event(event)
    made: Any = listener.job
    return cast("Job", made(event=name, data=data))


def encode_event(event: object) -> dict[str, Any]:
    """
    Return the fields of `event` in JSON types.

    Raises:
        InvalidJob: it has no fields, or one of them has no JSON form or another type than
            its class says.
    """
    cls = type(event)
    try:
        data = msgspec.to_builtins(event, str_keys=True, enc_hook=encode_reference)
    except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
        raise InvalidJob(
            f"{cls.__qualname__} cannot be queued for its listeners: {error}; make it a dataclass "
            "of numbers, text, dates, ids and containers of these"
        ) from error
    if not isinstance(data, dict):
        raise InvalidJob(f"{cls.__qualname__} has no fields: make it a dataclass")
    fields = cast("dict[str, Any]", data)
    _convert(cls, fields)
    return fields


def decode_event(listener: str, name: str, data: Mapping[str, Any]) -> object:
    """
    Return the event called `name`, as the listener of that name knows it.

    Raises:
        InvalidJob: it listens to no such event, or `data` does not fit it.
    """
    cls = listeners.event_of(listener, name)
    if cls is None:
        raise InvalidJob(
            f"{listener} listens to no event called {shown(name)}: is the module that defines "
            "it imported by the worker?"
        )
    return _convert(cls, data)


def _convert(cls: type, data: Mapping[str, Any]) -> object:
    try:
        return msgspec.convert(dict(data), cls, str_keys=True, dec_hook=decode_reference)
    except (TypeError, ValueError, NameError, NotImplementedError, RecursionError) as error:
        raise InvalidJob(f"{cls.__qualname__} does not fit its fields: {error}") from error


def _handle(listener: str, call: Callable[..., Any], *, waits: bool) -> Callable[..., Any]:
    """Return the `handle` of a listener's job: rows are read, then it is called."""
    handle: Any
    if waits:

        async def ahandle(self: Any, **services: Any) -> None:
            event = decode_event(listener, self.event, self.data)
            for reference in references_in(public_fields(event)):
                reference.loaded(await models.aload(reference.reference))
            await call(event, **services)

        handle = ahandle
    else:

        def shandle(self: Any, **services: Any) -> None:
            event = decode_event(listener, self.event, self.data)
            for reference in references_in(public_fields(event)):
                reference.loaded(models.load(reference.reference))
            call(event, **services)

        handle = shandle
    # Whoever makes services for a job looks at its parameters: the event takes the place of self.
    handle.__wrapped__ = call
    return cast("Callable[..., Any]", handle)


def _failed(listener: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(hook):

        async def afailed(self: Any, error: BaseException) -> None:
            await hook(decode_event(listener, self.event, self.data), error)

        return afailed

    def failed(self: Any, error: BaseException) -> None:
        hook(decode_event(listener, self.event, self.data), error)

    return failed
