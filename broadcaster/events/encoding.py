"""
An event's data as JSON text, or an error that names the field.

Everything msgspec knows has a JSON form (dataclasses, Structs, attrs classes, dates as
ISO 8601, UUIDs, decimals as text, enums as their value, sets as lists), and so have
pydantic models, other mappings and sequences, and subclasses of str and int. Refused are:
NaN and infinity (no browser parses them), lone surrogates (they are no Unicode), bytes
(they are no text), and objects of other classes. Nothing is ever replaced or dropped.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from broadcaster.errors import InvalidPayload, PayloadTooLarge
from broadcaster.protocol.channels import shown

_BINARY = (bytes, bytearray, memoryview)
_MAX_DEPTH = 200


def encode_data(data: object, *, limit: int, what: str = "data") -> str:
    """
    Return `data` as compact JSON text.

    Args:
        limit: longest result, in UTF-8 bytes.
        what: names the data in messages.

    Raises:
        InvalidPayload: something in it has no JSON form; the message has its path.
        PayloadTooLarge: over the limit; the message has the largest field.
    """
    try:
        text = _encode(data)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        reason = _problem(data, what, _MAX_DEPTH) or f"{what} has no JSON form: {error}"
        raise InvalidPayload(reason) from error
    if size > limit:
        raise _too_large(data, size=size, limit=limit, what=what)
    return text


def public_fields(event: object) -> dict[str, object]:
    """
    Return the fields of an object that do not begin with an underscore.

    Dataclasses, msgspec Structs, attrs and pydantic classes say what their fields are; of
    any other object it is the instance's attributes.
    """
    kind: Any = type(event)
    if dataclasses.is_dataclass(kind):
        names = [item.name for item in dataclasses.fields(kind)]
    elif issubclass(kind, msgspec.Struct):
        names = list(kind.__struct_fields__)
    elif hasattr(kind, "__attrs_attrs__"):
        names = [item.name for item in kind.__attrs_attrs__]
    elif hasattr(kind, "model_fields"):
        names = list(kind.model_fields)
    else:
        names = list(getattr(event, "__dict__", ()))
    return {name: getattr(event, name) for name in names if not name.startswith("_")}


def _encode(data: object) -> str:
    # msgspec makes plain values of what it knows, but would then write NaN as null, bytes
    # as Base64 and a lone surrogate as it is; the strict encoder refuses all three.
    plain = msgspec.to_builtins(data, builtin_types=_BINARY, str_keys=True, enc_hook=_plain)
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> object:
    """Make what msgspec does not know into something it does."""
    match value:
        case str():
            return str.__str__(value)
        case bool() | int():
            return int(value)
        case float():
            return float(value)
        case Mapping():
            return dict(cast("Mapping[object, object]", value))
        case Sequence() if not isinstance(value, _BINARY):
            return list(cast("Sequence[object]", value))
        case _:
            dump: Callable[..., object] | None = getattr(value, "model_dump", None)
            if dump is not None and not isinstance(value, type):
                _check_finite(dump(mode="python"))  # as JSON, pydantic writes NaN as null
                return dump(mode="json")
            raise TypeError(f"{type(value).__qualname__} has no JSON form")


def _check_finite(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in cast("Sequence[object]", value):
            _check_finite(item)


def _problem(value: object, path: str, depth: int) -> str | None:
    """Return what is wrong with the first part of `value` that cannot be encoded."""
    if depth == 0:
        return f"{path[:200]}... is nested too deeply, or contains itself"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}, which JSON cannot carry"
    if isinstance(value, str):
        return _text_problem(value, path)
    if isinstance(value, _BINARY):
        return f"{path} is {type(value).__name__}: decode it, or encode it as Base64 text"
    if isinstance(value, Mapping):
        return _mapping_problem(cast("Mapping[object, object]", value), path, depth)
    if isinstance(value, Sequence | set | frozenset):
        items = enumerate(cast("Sequence[object]", value))
        found = (_problem(item, f"{path}[{index}]", depth - 1) for index, item in items)
        return next((problem for problem in found if problem), None)
    return _object_problem(value, path, depth)


def _text_problem(value: str, path: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"{path} contains a lone surrogate at character {error.start}: {shown(value)}"
    return None


def _mapping_problem(value: Mapping[object, object], path: str, depth: int) -> str | None:
    for key, item in value.items():
        label = shown(str(key), 40)[1:-1]
        try:
            _encode({key: None}).encode()
        except (TypeError, ValueError, RecursionError, OverflowError):
            return f"{path} has the key {shown(repr(key), 40)}, which JSON cannot carry: use text"
        problem = _problem(item, f"{path}.{label}", depth - 1)
        if problem:
            return problem
    return None


def _object_problem(value: object, path: str, depth: int) -> str | None:
    try:
        _encode(value).encode()
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        fields = public_fields(value) if _has_fields(value) else {}
        problem = _mapping_problem(cast("dict[object, object]", fields), path, depth - 1)
        name = type(value).__qualname__
        plain = "return plain values from broadcast_with()"
        return problem or (
            f"{path} is of type {name}, which has no JSON form: {plain}"
            if isinstance(error, TypeError)
            else f"{path} of type {name} has no JSON form ({error}): {plain}"
        )
    return None


def _has_fields(value: object) -> bool:
    kind = type(value)
    known = ("__struct_fields__", "__attrs_attrs__", "model_fields")
    return dataclasses.is_dataclass(kind) or any(hasattr(kind, name) for name in known)


def _too_large(data: object, *, size: int, limit: int, what: str) -> PayloadTooLarge:
    plain: object = msgspec.to_builtins(data, str_keys=True, enc_hook=_plain)
    field, detail = None, ""
    if isinstance(plain, dict) and plain:
        fields = cast("dict[str, object]", plain)
        sizes = {name: len(_encode(value).encode()) for name, value in fields.items()}
        field = max(sizes, key=lambda name: sizes[name])
        detail = f"; its largest field is {shown(field)} with {sizes[field]:,} bytes"
    return PayloadTooLarge(
        f"{what} takes {size:,} bytes, {limit:,} are allowed{detail}. Send an id and let the page "
        "fetch the rest",
        size=size,
        limit=limit,
        field=field,
    )
