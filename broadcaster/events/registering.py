"""From what is given as a listener to an entry in the tables: how a function or class listens."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from broadcaster.events.facts import FactEvent
from broadcaster.events.listener_jobs import job_class
from broadcaster.events.listeners import Listener
from broadcaster.events.listeners import listeners as table
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import LifecycleEvent
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.events.listeners import Target
    from broadcaster.jobs.backoff import Backoff
    from broadcaster.jobs.delay import Duration
    from broadcaster.jobs.middleware.contract import Middleware
    from broadcaster.jobs.options import RetryUntil

MARK = "__queued_listener__"
"""The attribute of a function or class that says how it is queued, wherever it listens."""

_METHODS = ("handle", "__call__")


class QueueOptions(TypedDict, total=False):
    """
    How a listener is queued; `broadcaster.jobs.options` says what the words mean.

    Attributes:
        queue: where it waits; True is the default queue, False is none: it is called where
            the event is emitted.
        name: of the listener and its job; default: module and name of the function or class.
    """

    queue: str | bool
    name: str
    connection: str
    delay: Duration
    tries: int
    backoff: Backoff
    jitter: float
    timeout: Duration
    fail_on_timeout: bool
    max_exceptions: int
    retry_until: RetryUntil
    delete_when_missing_models: bool
    after_commit: bool
    middleware: Sequence[Middleware]


def adding(targets: Sequence[Target], options: Mapping[str, Any]) -> Callable[[Any], Any]:
    """
    Return what adds a listener to all of `targets`, and returns it as it was.

    Raises:
        TypeError: an unknown option; and, when the listener is given, one that cannot listen,
            or that has options without effect.
    """
    if unknown := sorted(options.keys() - QueueOptions.__annotations__.keys()):
        known = QueueOptions.__annotations__
        hint = did_you_mean(unknown[0], known) or f"; there are {', '.join(known)}"
        raise TypeError(f"a listener has no option {unknown[0]!r}{hint}")
    chosen = {word: value for word, value in options.items() if value is not None}

    def decorate(thing: Any) -> Any:
        if inspect.isfunction(thing):
            _check_parameters(thing, targets)
        for target in targets:
            _add(target, _made(thing), {**getattr(thing, MARK, {}), **chosen})
        return thing

    return decorate


def _check_parameters(function: Callable[..., object], targets: Sequence[Target]) -> None:
    """Refuse a function that cannot be given the event; what else it takes are services."""
    signature = inspect.signature(function)
    try:
        signature.bind_partial(None)
    except TypeError as error:
        kinds = " | ".join(each.__name__ for each in targets if isinstance(each, type))
        raise TypeError(
            f"{function.__qualname__}{signature} cannot listen: it is called with the event, as in "
            f"def {function.__name__}(event: {kinds or 'object'}) ({error})"
        ) from None


def is_known(target: Target, thing: Any) -> bool:
    """Whether `thing` listens to `target` already."""
    found = getattr(thing[0], thing[1], None) if is_pair(thing) else thing
    if not hasattr(found, "__qualname__"):
        return False
    place = _place(found)
    if isinstance(target, type) and issubclass(target, LifecycleEvent):
        return lifecycle_listeners.has(target, place)
    return table.has(target, place)


class _Made(NamedTuple):
    """
    A listener as it was given.

    Attributes:
        thing: function or class, for names and documentation.
        place: module and qualified name.
        call: takes the event.
        waits: `call` is a coroutine function.
        owner: the class, if it is one.
    """

    thing: Any
    place: str
    call: Callable[..., Any]
    waits: bool
    owner: type | None = None


def _add(target: Target, made: _Made, options: Mapping[str, Any]) -> None:
    queue = options.get("queue")
    if isinstance(target, type) and issubclass(target, LifecycleEvent):
        _add_to_lifecycle(target, made, options)
        return
    if isinstance(target, type) and issubclass(target, FactEvent):
        if queue is False:
            raise TypeError(f"{target.__name__} happens elsewhere: its listeners are queued")
        queue = queue or True
    name = options.get("name") or made.place
    if not queue:
        if idle := sorted(options.keys() - {"queue", "name"}):
            raise TypeError(
                f"{name}: {idle[0]} has an effect on queued listeners only; add queue=True"
            )
        if "<" in name:  # functions inside functions: several may share a name
            name = f"{name} {id(made.thing):x}"
        table.add(target, Listener(name, made.place, made.call, made.waits, None, made.owner))
        return
    given = {word: value for word, value in options.items() if word not in {"name", "queue"}}
    if isinstance(queue, str):
        given["queue"] = queue
    job = job_class(
        name,
        made.place,
        made.call,
        failed=_failed(made.owner),
        waits=made.waits,
        options=given,
        made_of=made.thing,
    )
    table.add(target, Listener(name, made.place, made.call, made.waits, job, made.owner))


def _add_to_lifecycle(
    target: type[LifecycleEvent], made: _Made, options: Mapping[str, Any]
) -> None:
    name = options.get("name") or made.place
    if idle := sorted(options.keys() - {"name"}):
        raise TypeError(
            f"{name} has the option {idle[0]}, but {target.__name__} is told in the middle of it: "
            "dispatch a job there if it takes long"
        )
    if made.waits:
        raise TypeError(
            f"{name} is async, but {target.__name__} is told in the middle of it: make it a plain "
            "function, and dispatch a job there if it takes long"
        )
    if "<" in name:
        name = f"{name} {id(made.thing):x}"
    lifecycle_listeners.add(target, made.call, name=name)


def _made(thing: Any) -> _Made:
    if is_pair(thing):
        owner, method = thing
        if not callable(getattr(owner, method, None)):
            raise TypeError(f"{owner.__name__} has no method {method!r} to listen with")
        return _of_class(owner, method, _place(getattr(owner, method)))
    if isinstance(thing, type):
        method = method_of(thing)
        if method is None:
            raise TypeError(f"{thing.__name__} cannot listen: it has no method handle()")
        return _of_class(thing, method, _place(thing))
    if not callable(thing) or not hasattr(thing, "__qualname__"):
        raise TypeError(f"{thing!r} cannot listen: it is no function and no class")
    return _Made(thing, _place(thing), thing, inspect.iscoroutinefunction(thing))


def _of_class(owner: Any, method: str, place: str) -> _Made:
    if not takes_nothing(owner):
        raise TypeError(
            f"{owner.__name__} cannot listen: it needs arguments, and is made anew for each event, "
            f"without any; if it is queued, {method}() can take services behind the event"
        )
    waits = inspect.iscoroutinefunction(getattr(owner, method))
    if waits:

        async def acall(event: object, **services: Any) -> Any:
            return await getattr(owner(), method)(event, **services)

        made: Any = acall
    else:

        def call(event: object, **services: Any) -> Any:
            return getattr(owner(), method)(event, **services)

        made = call
    made.__wrapped__ = types.MethodType(getattr(owner, method), owner)  # its parameters, no self
    return _Made(owner, place, made, waits=waits, owner=owner)


def _failed(owner: Any) -> Callable[..., Any] | None:
    """Return what calls the hook of a class when its job was given up, or None."""
    hook = getattr(owner, "failed", None)
    if hook is None:
        return None
    if inspect.iscoroutinefunction(hook):

        async def afailed(event: object, error: BaseException) -> None:
            await owner().failed(event, error)

        return afailed

    def failed(event: object, error: BaseException) -> None:
        owner().failed(event, error)

    return failed


def takes_nothing(cls: type) -> bool:
    """Whether `cls` can be made without arguments, as far as its signature tells."""
    try:
        inspect.signature(cls).bind()
    except TypeError:
        return False
    except ValueError:  # written in C, and says nothing
        return True
    return True


def method_of(cls: type) -> str | None:
    """Return the name of the method that listens, or None; every class has the one of type."""
    return next(
        (name for name in _METHODS if any(name in base.__dict__ for base in cls.__mro__)), None
    )


def is_pair(thing: Any) -> bool:
    """Whether this is a class and the name of one of its methods."""
    return isinstance(thing, tuple) and [
        isinstance(part, kind) for part, kind in zip(thing, (type, str), strict=False)
    ] == [True, True]


def _place(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
