"""Functions as jobs: the decorator `job`."""

from __future__ import annotations

import inspect
import types
import typing
from typing import TYPE_CHECKING, Any, ParamSpec, cast, overload

from broadcaster.jobs.injection import provided, refuse_generator, services
from broadcaster.jobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from broadcaster.jobs.options import ClassOptions

P = ParamSpec("P")


@overload
def job(function: Callable[P, Any], /) -> Callable[P, Job]: ...
@overload
def job(**options: Unpack[ClassOptions]) -> Callable[[Callable[P, Any]], Callable[P, Job]]: ...
def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """
    Turn a function, sync or async, into a job; options as for `Job`.

    Calling the result makes a job with these arguments and runs nothing:
    ``report("2026-11").dispatch()``, ``report("2026-11").run_now()``. A parameter whose default
    is `broadcaster.jobs.injection.provided`, or whose type was provided before
    (`broadcaster.jobs.injection.provide`), is no argument: it gets its service.

    Raises:
        TypeError: a parameter has no annotation, or is ``*args`` or ``**kwargs``; or the function
            yields, so that calling it runs nothing.
    """
    if function is None:

        def decorate(decorated: Callable[..., Any]) -> type[Job]:
            return _job_of(decorated, options)

        return decorate
    return _job_of(function, options)


def _job_of(function: Callable[..., Any], options: Mapping[str, Any]) -> type[Job]:
    refuse_generator(function, f"job {function.__name__}")

    def make_body(namespace: dict[str, Any]) -> None:
        fields, defaults = _fields_of(function)
        wanted = {
            name: kind
            for name, kind in fields.items()
            if defaults.get(name) is provided or _is_service(kind)
        }
        for name in wanted:
            del fields[name]
            defaults.pop(name, None)
        namespace |= defaults
        namespace["__annotations__"] = fields
        namespace["__doc__"] = function.__doc__
        namespace["__module__"] = function.__module__
        namespace["__qualname__"] = function.__qualname__
        namespace["handle"] = _handle_of(function, tuple(fields), wanted)

    made = types.new_class(function.__name__, (Job,), dict(options), make_body)
    return cast("type[Job]", made)


def _is_service(kind: object) -> bool:
    try:
        return kind in services
    except TypeError:  # unhashable, as some annotations are
        return False


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


def _handle_of(
    function: Callable[..., Any], names: tuple[str, ...], wanted: Mapping[str, Any]
) -> Callable[..., Any]:
    def arguments(self: Job) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    made: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        async def ahandle(self: Job, **given: Any) -> Any:
            return await function(**arguments(self), **given)

        made = ahandle
    else:

        def handle(self: Job, **given: Any) -> Any:
            return function(**arguments(self), **given)

        made = handle
    described: Any = made
    described.__annotations__ = dict(wanted)
    described.__signature__ = inspect.Signature(
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
                for name, kind in wanted.items()
            ),
        ]
    )
    return made
