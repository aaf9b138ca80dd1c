"""
Finding listeners by their annotations.

::

    discover("shop.listeners")

imports the package with everything below it, and adds what listens by the look of it:

- functions whose first parameter is called ``event``;
- methods called ``handle`` or ``handle_...`` of classes that can be made without arguments.

Either needs the class of its events as that parameter's annotation; a union means several.
What `listen` has already been told about is left alone. `queued` says which are queued.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
from typing import TYPE_CHECKING, Any, Union

from broadcaster.errors import ConfigurationError
from broadcaster.events.listening import listen
from broadcaster.events.registering import is_known, takes_nothing
from broadcaster.jobs.modules import imported

if TYPE_CHECKING:
    from collections.abc import Iterator

_METHOD = "handle"


def discover(*modules: str) -> int:
    """
    Add the listeners of `modules`, by their annotations; return how many were added.

    Args:
        modules: dotted names of modules or packages, never from outside of the application.

    Raises:
        ConfigurationError: there is no such module, or an annotation names what does not exist.
    """
    return sum(
        _add(found) for name in modules for module in _modules(name) for found in _in(module)
    )


def _modules(name: str) -> Iterator[types.ModuleType]:
    module = imported(
        name,
        lambda _: (
            f"no module is called {name!r}: discover() takes what an import would (shop.listeners)"
        ),
    )
    yield module
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        yield importlib.import_module(found.name)


def _in(module: types.ModuleType) -> Iterator[tuple[Any, Any]]:
    """Yield what may listen in a module: the listener, and the function to look at."""
    for name, thing in list(vars(module).items()):
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            if next(iter(inspect.signature(thing).parameters), None) == "event":
                yield thing, thing
        elif isinstance(thing, type):
            yield from _methods(thing)


def _methods(cls: type) -> Iterator[tuple[Any, Any]]:
    if not takes_nothing(cls):
        return
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if name == _METHOD:
            yield cls, method
        elif name.startswith(f"{_METHOD}_"):
            yield (cls, name), method


def _add(found: tuple[Any, Any]) -> int:
    listener, function = found
    targets = [target for target in _targets(function) if not is_known(target, listener)]
    if targets:
        listen(*targets)(listener)
    return len(targets)


def _targets(function: Any) -> list[type]:
    """Return the classes that the first parameter, `self` apart, is annotated with."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    if not names:
        return []
    try:
        hint = typing.get_type_hints(function).get(names[0])
    except NameError as error:
        raise ConfigurationError(
            f"{function.__module__}.{function.__qualname__} cannot be discovered: {error}; import "
            "the event where the worker can see it, not under TYPE_CHECKING"
        ) from error
    several = typing.get_origin(hint) in (Union, types.UnionType)
    kinds = typing.get_args(hint) if several else (hint,)
    return [kind for kind in kinds if isinstance(kind, type) and kind.__module__ != "builtins"]
