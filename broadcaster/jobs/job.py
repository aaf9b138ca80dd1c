"""
Jobs: typed classes or functions that run later, somewhere else.

::

    class SendMail(Job, queue="mail", tries=3, backoff=[1, 5, 30], timeout=20):
        user_id: int
        template: str = "welcome"

        async def handle(self) -> None: ...

    SendMail(user_id=7).dispatch(delay=minutes(5))

    @job(queue="reports")
    def report(month: str) -> None: ...

    report("2026-11").dispatch()

The fields are a frozen dataclass; their types are those that msgspec can write as JSON
(numbers, text, dates, UUIDs, enums, containers, dataclasses). `handle` may be sync (it
runs in a thread, or with a `timeout` in a process of its own) or async.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import types
import typing
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    ParamSpec,
    Self,
    cast,
    dataclass_transform,
    overload,
)

import msgspec

from broadcaster.errors import InvalidJob
from broadcaster.jobs import bus
from broadcaster.jobs.backoff import Backoff, as_backoff
from broadcaster.jobs.delay import Duration, as_seconds
from broadcaster.jobs.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")

_OPTIONS = ("queue", "tries", "backoff", "timeout", "name")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """
    How a job class is queued and tried; None leaves it to the worker.

    Attributes:
        name: what payloads call it.
        queue: where it waits; None is the default queue.
        tries: tries allowed; 0 is no limit.
        backoff: seconds before each retry, the last one repeats.
        timeout: seconds one try may take; 0 is no limit.
    """

    name: str
    queue: str | None = None
    tries: int | None = None
    backoff: tuple[float, ...] = ()
    timeout: float | None = None


@dataclass_transform(frozen_default=True)
class Job:
    """
    Base of all job classes; see the head of this module.

    Options are given in the class line: ``queue``, ``tries``, ``backoff``, ``timeout``,
    ``name`` (default: the class's name). Unknown ones are refused there, and so is an
    option written as a class attribute, which would be ignored in silence.
    """

    options: ClassVar[JobOptions]

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        queue: str | None = None,
        tries: int | None = None,
        backoff: Backoff = (),
        timeout: Duration | None = None,
        **unknown: object,
    ) -> None:
        """Make the class a frozen dataclass and register it."""
        super().__init_subclass__()
        if unknown:
            raise TypeError(
                f"{cls.__name__} has unknown options {', '.join(unknown)}; "
                f"there are {', '.join(_OPTIONS)}"
            )
        annotated = inspect.get_annotations(cls)
        stray = [word for word in _OPTIONS if word in cls.__dict__ and word not in annotated]
        if stray:
            raise TypeError(
                f"{cls.__name__} sets {stray[0]} as a class attribute; write "
                f"class {cls.__name__}(Job, {stray[0]}=...) instead"
            )
        if tries is not None and tries < 0:
            raise ValueError(f"{cls.__name__}: tries must be 0 (no limit) or more, not {tries}")
        cls.options = JobOptions(
            name=name or cls.__name__,
            queue=queue,
            tries=tries,
            backoff=as_backoff(backoff),
            timeout=None if timeout is None else as_seconds(timeout, "timeout"),
        )
        dataclasses.dataclass(frozen=True)(cls)
        registry.register(cls.options.name, cls)

    def handle(self) -> Any:
        """Do the work; sync or async. An exception means that it is tried again."""
        raise NotImplementedError(f"{type(self).__name__} has no handle()")

    def dispatch(self, *, delay: Duration = 0.0, queue: str | None = None) -> str:
        """
        Queue this job and return its id; blocks for at most one round trip.

        Args:
            delay: wait at least this long before it runs.
            queue: instead of the class's queue.

        Raises:
            InvalidJob: its fields have no JSON form, do not fit their types, or are too large.
            DriverUnavailable: the queue cannot be reached.
            NotConfigured: no queue was configured.
        """
        return bus.dispatch(self, delay=delay, queue=queue)

    async def adispatch(self, *, delay: Duration = 0.0, queue: str | None = None) -> str:
        """Queue this job from a coroutine; see `dispatch`."""
        return await bus.adispatch(self, delay=delay, queue=queue)

    def run_now(self) -> None:
        """
        Run `handle` here and now, without a queue, and raise what it raises.

        Raises:
            RuntimeError: `handle` is async and an event loop is running; use `arun_now`.
        """
        if inspect.iscoroutinefunction(self.handle):
            if _loop_is_running():
                raise RuntimeError(f"{type(self).__name__}.handle is async here: await arun_now()")
            asyncio.run(self.handle())
        else:
            self.handle()

    async def arun_now(self) -> None:
        """Run `handle` in this event loop; a sync one runs in a thread."""
        if inspect.iscoroutinefunction(self.handle):
            await self.handle()
        else:
            await asyncio.to_thread(self.handle)

    def encode_fields(self) -> dict[str, Any]:
        """
        Return the fields in JSON types.

        Raises:
            InvalidJob: a field has no JSON form or does not fit its type.
        """
        data: dict[str, Any] = {}
        for field in dataclasses.fields(cast("Any", self)):
            try:
                data[field.name] = msgspec.to_builtins(getattr(self, field.name), str_keys=True)
            except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
                raise InvalidJob(
                    f"{self.options.name}.{field.name} cannot be queued: {error}; "
                    "pass an id instead of the object"
                ) from error
        type(self).decode_fields(data)
        return data

    @classmethod
    def decode_fields(cls, data: Mapping[str, Any]) -> Self:
        """
        Return the job that has these fields.

        Raises:
            InvalidJob: a field is missing, unknown, or of another type.
        """
        known = {field.name for field in dataclasses.fields(cast("Any", cls))}
        if unknown := sorted(set(data) - known):
            raise InvalidJob(f"{cls.options.name} has no field {unknown[0]!r}")
        try:
            return msgspec.convert(dict(data), cls, str_keys=True)
        except (TypeError, ValueError, NameError, RecursionError) as error:
            raise InvalidJob(f"{cls.options.name} does not fit its fields: {error}") from error


@overload
def job(function: Callable[P, Any], /) -> Callable[P, Job]: ...
@overload
def job(
    *,
    name: str | None = None,
    queue: str | None = None,
    tries: int | None = None,
    backoff: Backoff = (),
    timeout: Duration | None = None,
) -> Callable[[Callable[P, Any]], Callable[P, Job]]: ...
def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """
    Turn a function, sync or async, into a job; options as for `Job`.

    Calling the result makes a job with these arguments and runs nothing:
    ``report("2026-11").dispatch()``, ``report("2026-11").run_now()``.

    Raises:
        TypeError: a parameter has no annotation, or is ``*args`` or ``**kwargs``.
    """
    if function is None:

        def decorate(decorated: Callable[..., Any]) -> type[Job]:
            return _job_of(decorated, options)

        return decorate
    return _job_of(function, options)


def _job_of(function: Callable[..., Any], options: Mapping[str, Any]) -> type[Job]:
    def make_body(namespace: dict[str, Any]) -> None:
        fields, defaults = _fields_of(function)
        namespace |= defaults
        namespace["__annotations__"] = fields
        namespace["__doc__"] = function.__doc__
        namespace["__module__"] = function.__module__
        namespace["__qualname__"] = function.__qualname__
        namespace["handle"] = _handle_of(function, tuple(fields))

    made = types.new_class(function.__name__, (Job,), dict(options), make_body)
    return cast("type[Job]", made)


def _fields_of(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    hints = typing.get_type_hints(function)
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"job {function.__name__} cannot take *{parameter.name}: name each one")
        if parameter.name not in hints:
            raise TypeError(f"job {function.__name__}: parameter {parameter.name} needs a type")
        fields[parameter.name] = hints[parameter.name]
        if parameter.default is not parameter.empty:
            defaults[parameter.name] = parameter.default
    return fields, defaults


def _handle_of(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[[Job], Any]:
    def arguments(self: Job) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    if inspect.iscoroutinefunction(function):

        async def ahandle(self: Job) -> None:
            await function(**arguments(self))

        return ahandle

    def handle(self: Job) -> None:
        function(**arguments(self))

    return handle


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
