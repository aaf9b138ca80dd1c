"""
Channel patterns: ``orders.{user_id}`` against ``orders.42``.

A parameter matches one or more characters other than a dot; everything else is literal,
dots too, and the whole name must match. A type narrows what a parameter matches, so a
name of another type falls through to the next pattern. It comes from the pattern
(``{order:int}``) or from the annotation of the rule's parameter:

==========  ==================================================================
``str``     anything without a dot (the default)
``int``     decimal digits in their one canonical form: ``7``, not ``007``
``UUID``    lower case with dashes (``uuid`` in a pattern)
an Enum     one of its values, or for integers their decimal digits
==========  ==================================================================

One value has exactly one name on the wire: ``orders.7`` and ``orders.007`` would
otherwise be two channels with one permission.

Source: Laravel's broadcasting patterns (``{x}`` is ``[^.]+``, anchored, in order of
registration); types are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MOST_IN_A_SEGMENT = 3
_TYPE_NAMES: Mapping[str, type] = MappingProxyType({"str": str, "int": int, "uuid": UUID})


class _Kind(NamedTuple):
    regex: str
    convert: Callable[[str], object]


_KINDS: Mapping[type, _Kind] = MappingProxyType(
    {
        str: _Kind(r"[^.]+", str),
        int: _Kind(r"0|-?[1-9][0-9]*", int),
        UUID: _Kind(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", UUID),
    }
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A compiled pattern; made by `compile_pattern`.

    Attributes:
        text: as written.
        names: its parameters in order.
    """

    text: str
    names: tuple[str, ...]
    _regex: re.Pattern[str]
    _converters: Mapping[str, Callable[[str], object]]

    def match(self, name: str) -> dict[str, object] | None:
        """Return the typed parameters if `name` (without channel prefix) matches, else None."""
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        return {key: self._converters[key](text) for key, text in found.groupdict().items()}


def compile_pattern(text: str, types: Mapping[str, object] | None = None) -> Pattern:
    """
    Compile a pattern.

    Args:
        text: like ``chat.{room}`` or ``orders.{order:int}``.
        types: type of each parameter that has one outside of the pattern.

    Raises:
        ConfigurationError: stray braces, a name that is no identifier or comes twice,
            parameters without anything between them, or a type names cannot be read as.
    """
    types = types or {}
    names: list[str] = []
    converters: dict[str, Callable[[str], object]] = {}
    source = ""
    for literal, spec in _split(text):
        source += re.escape(literal)
        if spec is None:
            continue
        name, type_ = _parameter(spec, text, types)
        if name in converters:
            raise ConfigurationError(f"channel pattern {text!r} has two parameters {name!r}")
        kind = _kind_of(type_, name, text)
        names.append(name)
        converters[name] = kind.convert
        source += f"(?P<{name}>{kind.regex})"
    return Pattern(text, tuple(names), re.compile(source), MappingProxyType(converters))


def parameter_names(text: str) -> tuple[str, ...]:
    """
    Return the parameters of a pattern in order, without compiling it.

    Raises:
        ConfigurationError: a pattern that cannot be taken apart; see `compile_pattern`.
    """
    return tuple(spec.partition(":")[0].strip() for _, spec in _split(text) if spec is not None)


def _split(text: str) -> list[tuple[str, str | None]]:
    """Return (literal, parameter after it) pairs; the last has no parameter."""
    if not text:
        raise ConfigurationError("a channel pattern must not be empty")
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        literal = text[end : found.start()]
        if pieces and not literal:
            raise ConfigurationError(
                f"channel pattern {text!r}: put something between two parameters, or nobody "
                "can say where one ends"
            )
        pieces.append((literal, found[1]))
        end = found.end()
    pieces.append((text[end:], None))
    if any("{" in literal or "}" in literal for literal, _ in pieces):
        raise ConfigurationError(f"channel pattern {text!r} has a brace without its partner")
    if any(segment.count("{") > _MOST_IN_A_SEGMENT for segment in text.split(".")):
        raise ConfigurationError(
            f"channel pattern {text!r} has more than {_MOST_IN_A_SEGMENT} parameters between "
            "two dots; matching them would be slow and is rarely meant"
        )
    return pieces


def _parameter(spec: str, text: str, types: Mapping[str, object]) -> tuple[str, object]:
    name, colon, type_name = (part.strip() for part in spec.partition(":"))
    if not (name.isidentifier() and name.isascii()):
        raise ConfigurationError(
            f"channel pattern {text!r}: {name!r} is no parameter name; write {{name}} or {{name:int}}"
        )
    if not colon:
        return name, types.get(name, str)
    if type_name not in _TYPE_NAMES:
        raise ConfigurationError(
            f"channel pattern {text!r}: unknown type {type_name!r}; known are "
            f"{', '.join(_TYPE_NAMES)}; annotate the rule's parameter for an Enum"
        )
    return name, _TYPE_NAMES[type_name]


def _kind_of(type_: object, name: str, text: str) -> _Kind:
    if isinstance(type_, type):
        if issubclass(type_, Enum):
            return _enum_kind(type_)
        if type_ in _KINDS:
            return _KINDS[type_]
    raise ConfigurationError(
        f"channel pattern {text!r}: a channel name cannot be read as {type_!r} for parameter "
        f"{name!r}; take str, int, UUID or an Enum, and load your object in the rule"
    )


def _enum_kind(enum: type[Enum]) -> _Kind:
    by_text = {str(member.value): member for member in enum}
    longest_first = sorted(by_text, key=len, reverse=True)
    return _Kind(
        "|".join(re.escape(text) for text in longest_first) or r"(?!)", by_text.__getitem__
    )
