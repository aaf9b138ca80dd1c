"""What a rule's signature says about its pattern."""

from __future__ import annotations

import inspect
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from broadcaster.errors import ConfigurationError
from broadcaster_auth.patterns import parameter_names

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_signature(pattern: str, rule: Callable[..., object]) -> dict[str, object]:
    """
    Return the annotated types of the pattern's parameters.

    A rule takes the user first, then the parameters of its pattern by name.

    Raises:
        ConfigurationError: a parameter is missing in either, or its annotation cannot be
            resolved.
    """
    parameters = list(inspect.signature(rule).parameters.values())
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        raise ConfigurationError(f"the rule for {pattern!r} must take the user as first parameter")
    rest = {parameter.name: parameter for parameter in parameters[1:]}
    names = parameter_names(pattern)
    anything = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)
    for name in names:
        known = name in rest and rest[name].kind in _NAMED
        if not known and not anything:
            raise ConfigurationError(
                f"the rule for {pattern!r} must have a parameter named {name!r}, as in the pattern"
            )
    for name, parameter in rest.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind in _NAMED
        if needed and name not in names:
            raise ConfigurationError(
                f"the rule for {pattern!r} wants {name!r}, which is not in the pattern"
            )
    return {
        name: _resolve(rest[name].annotation, name, pattern, rule)
        for name in names
        if name in rest and rest[name].annotation is not inspect.Parameter.empty
    }


def _resolve(annotation: Any, name: str, pattern: str, rule: Callable[..., object]) -> object:
    # One by one: the user's own annotation is often importable by type checkers only.
    if not isinstance(annotation, str):
        return _known(annotation)
    holder = SimpleNamespace(__annotations__={name: annotation})
    module_names = getattr(inspect.unwrap(rule), "__globals__", {})
    try:
        return _known(typing.get_type_hints(holder, globalns=module_names)[name])
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise ConfigurationError(
            f"the rule for {pattern!r}: the annotation {annotation!r} of {name!r} cannot be "
            "resolved; import the type outside of TYPE_CHECKING, or put it in the pattern"
        ) from error


def _known(type_: object) -> object:
    return str if type_ is Any or type_ is object else type_
