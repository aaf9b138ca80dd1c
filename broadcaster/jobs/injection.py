"""
Services: what `handle` is given by the types of its parameters.

::

    provide(Mailer, Mailer.from_settings)

    @provide(Session)
    def session() -> Iterator[Session]:
        with SessionLocal() as session:
            yield session                       # what follows runs after the job

    class SendMail(Job):
        user_id: int

        async def handle(self, mailer: Mailer, session: Session) -> None: ...

A factory is called anew for each run, with no arguments. It may be sync or async, and a
generator of one value; or it may return a context manager (a value that is not of the type
but can be entered), which is left after the run. Async ones serve async jobs only.

A parameter with a default keeps it when nobody provides its type; `provided` as default says
that it is a service, for type checkers and for functions. `CurrentJob` is always provided.
"""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, overload
from weakref import WeakKeyDictionary

from broadcaster.errors import InvalidJob
from broadcaster.jobs.running import CurrentJob, require_current_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.jobs.job import Job

T = TypeVar("T")
F = TypeVar("F", bound=Callable[[], Any])

Factory = Callable[
    [],
    T
    | Awaitable[T]
    | Iterator[T]
    | AsyncIterator[T]
    | AbstractContextManager[T]
    | AbstractAsyncContextManager[T],
]

_PLAIN: tuple[object, ...] = (
    int,
    float,
    complex,
    str,
    bytes,
    bool,
    list,
    dict,
    set,
    tuple,
    frozenset,
    type(None),
)


class Services:
    """Factories by type."""

    def __init__(self) -> None:
        self._factories: dict[object, Callable[[], Any]] = {}
        self.add(CurrentJob, lambda: require_current_job("CurrentJob"))

    def add(self, kind: object, factory: Callable[[], Any]) -> None:
        """Have `factory` make what parameters of the type `kind` get; a later one replaces it."""
        if inspect.isgeneratorfunction(factory):
            factory = contextlib.contextmanager(factory)
        elif inspect.isasyncgenfunction(factory):
            factory = contextlib.asynccontextmanager(factory)
        self._factories[kind] = factory

    def remove(self, kind: object) -> None:
        """Forget the factory of `kind`."""
        self._factories.pop(kind, None)

    def __contains__(self, kind: object) -> bool:
        return kind in self._factories

    def factory(self, kind: object) -> Callable[[], Any]:
        """Return the factory of `kind`."""
        return self._factories[kind]


services = Services()
"""What is provided in this process."""


@overload
def provide(kind: type[T], factory: Factory[T]) -> None: ...
@overload
def provide(kind: type[T]) -> Callable[[F], F]: ...
def provide(kind: Any, factory: Callable[[], Any] | None = None) -> Any:
    """
    Say how parameters of the type `kind` are made; see the head of this module.

    With a type alone it decorates a factory.
    """
    if factory is not None:
        services.add(kind, factory)
        return None

    def decorate(decorated: F) -> F:
        services.add(kind, decorated)
        return decorated

    return decorate


provided: Any = object()
"""
The default of a parameter that gets its service.

::

    @job(queue="reports")
    def report(month: str, session: Session = provided) -> None: ...

    report("2026-11").dispatch()

Who calls a function that is a job gives no services, and type checkers know it by this.
"""


_parameters: WeakKeyDictionary[type, tuple[Parameter, ...]] = WeakKeyDictionary()


class Parameter(NamedTuple):
    """One service that a handler takes."""

    name: str
    kind: object
    optional: bool


def refuse_generator(function: Callable[..., object], name: str) -> None:
    """Raise `TypeError` if calling `function` would run nothing of it."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{name} yields, so nobody would run it: use a loop, and return when it is done"
        )


def check_handler(job: type[Job]) -> None:
    """
    Refuse a `handle` whose parameters can be no services.

    Types that are not known yet are left to `unprovided` and to the run.

    Raises:
        TypeError: a parameter has no type, is ``*args``, or is a number, text or container,
            which are fields of the job; or it yields, so that calling it runs nothing.
    """
    refuse_generator(job.handle, f"{job.__name__}.handle")
    for parameter in _signature(job):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if getattr(job.handle, "__qualname__", "").startswith("Job."):
                continue
            raise TypeError(f"{job.__name__}.handle cannot take *{parameter.name}: name each one")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{job.__name__}.handle: {parameter.name} must not be positional-only")
        if parameter.annotation is parameter.empty:
            raise TypeError(f"{job.__name__}.handle: parameter {parameter.name} needs a type")
    with contextlib.suppress(NameError):  # a class that is imported later
        for service in parameters_of(job):
            if service.kind in _PLAIN and not service.optional:
                shown = getattr(service.kind, "__name__", service.kind)
                raise TypeError(
                    f"{job.__name__}.handle: {service.name} is {shown}, which nobody provides; "
                    "what a job is about belongs into its fields"
                )


def unprovided(job: type[Job]) -> list[str]:
    """Return a sentence for each parameter of `handle` that nobody provides here."""
    try:
        parameters = parameters_of(job)
    except NameError as error:
        return [f"{job.options.name}.handle: {error}; import that name where a worker sees it"]
    return [
        _missing(job, parameter)
        for parameter in parameters
        if parameter.kind not in services and not parameter.optional
    ]


def parameters_of(job: type[Job]) -> tuple[Parameter, ...]:
    """
    Return the services that `handle` takes.

    Raises:
        NameError: a type is not imported where the job is defined.
    """
    known = _parameters.get(job)
    if known is None:
        known = _parameters[job] = _read_parameters(job)
    return known


def takes_services(job: type[Job]) -> bool:
    """Whether `handle` has parameters, known or not."""
    try:
        return bool(parameters_of(job))
    except NameError:
        return True


def enter(job: Job, stack: ExitStack) -> Mapping[str, Any]:
    """
    Return the services of a sync `handle`, whatever is to be closed being on `stack`.

    Raises:
        InvalidJob: nobody provides one, or its factory is async.
    """
    given: dict[str, Any] = {}
    for parameter in _wanted(job):
        made = services.factory(parameter.kind)()
        if inspect.isawaitable(made) or _is_async_context(made, parameter.kind):
            if inspect.iscoroutine(made):
                made.close()
            raise InvalidJob(
                f"{job.options.name}.handle is sync and cannot await the factory of "
                f"{parameter.name}: make one of them async or both sync"
            )
        given[parameter.name] = (
            stack.enter_context(made) if _is_context(made, parameter.kind) else made
        )
    return given


async def aenter(job: Job, stack: AsyncExitStack) -> Mapping[str, Any]:
    """Return the services of an async `handle`; see `enter`."""
    given: dict[str, Any] = {}
    for parameter in _wanted(job):
        made = services.factory(parameter.kind)()
        if inspect.isawaitable(made) and not _is_async_context(made, parameter.kind):
            made = await made
        if _is_async_context(made, parameter.kind):
            given[parameter.name] = await stack.enter_async_context(cast("Any", made))
        elif _is_context(made, parameter.kind):
            given[parameter.name] = stack.enter_context(cast("Any", made))
        else:
            given[parameter.name] = made
    return given


def _wanted(job: Job) -> list[Parameter]:
    kind = type(job)
    if not takes_services(kind):
        return []
    missing = unprovided(kind)
    if missing:
        raise InvalidJob(missing[0])
    return [parameter for parameter in parameters_of(kind) if parameter.kind in services]


def _missing(job: type[Job], parameter: Parameter) -> str:
    shown = getattr(parameter.kind, "__name__", parameter.kind)
    return (
        f"{job.options.name}.handle takes {parameter.name}: {shown}, which nobody provides; "
        f"provide({shown}, factory) in a module that the worker imports"
    )


def _handler(job: type[Job]) -> Any:
    return inspect.unwrap(job.handle)


def _read_parameters(job: type[Job]) -> tuple[Parameter, ...]:
    signature = _signature(job)
    if not signature:
        return ()
    hints = typing.get_type_hints(_handler(job))
    return tuple(
        Parameter(
            parameter.name,
            hints.get(parameter.name, parameter.annotation),
            optional=parameter.default not in (parameter.empty, provided),
        )
        for parameter in signature
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )


def _signature(job: type[Job]) -> list[inspect.Parameter]:
    return list(inspect.signature(_handler(job)).parameters.values())[1:]


def _is_context(made: object, kind: object) -> bool:
    return isinstance(made, AbstractContextManager) and not _is_a(cast("Any", made), kind)


def _is_async_context(made: object, kind: object) -> bool:
    return isinstance(made, AbstractAsyncContextManager) and not _is_a(cast("Any", made), kind)


def _is_a(made: object, kind: object) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and isinstance(made, origin)
