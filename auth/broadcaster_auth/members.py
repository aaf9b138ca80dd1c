"""Who a user is to a presence channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec

from broadcaster.errors import ConfigurationError, InvalidPayload, MalformedMessage
from broadcaster.protocol.subscription_auth import check_user_id


class Member(NamedTuple):
    """
    A member as the rule described them.

    Attributes:
        user_id: in the type the rule gave; it reaches clients as that JSON type.
        info: anything JSON can say; Echo's ``here()`` sees nothing else.
    """

    user_id: str | int
    info: object


def user_id_of(user: object) -> str | int | None:
    """
    Return the id of a user, or None if there is no such thing.

    That is ``id``, ``pk`` or ``user_id``, as attribute or key, or the user itself if that is
    a string or an integer. An id of another type (a UUID) is turned into text.
    """
    if isinstance(user, str | int) and not isinstance(user, bool):
        return user
    for name in ("id", "pk", "user_id"):
        value = _field(user, name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return value
        if value is not None and not callable(value):
            return str(value)  # a UUID, say
    return None


def member_of(result: object, user_id: str | int | None, *, pattern: str) -> Member:
    """
    Return the member that a presence rule's true `result` describes.

    Args:
        result: a mapping or dataclass, ``True``, or anything else that has a JSON form.
        user_id: of the user, for results without an ``id``.
        pattern: of the rule, for messages.

    Raises:
        ConfigurationError: no id to be found.
        InvalidPayload: no JSON form.
    """
    plain = _plain(result, pattern)
    if isinstance(plain, dict):
        fields = cast("dict[str, Any]", plain)
        found = fields.get("id", user_id)
        info: object = fields.get("info", fields)
    else:
        found = user_id
        info = {"id": user_id} if plain is True else plain
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise ConfigurationError(
            f"the rule for {pattern!r} named no member: return a dict with an 'id' (a string or "
            "an integer), or give users an 'id'"
        )
    try:
        check_user_id(str(found))
    except MalformedMessage as error:
        raise InvalidPayload(f"the rule for {pattern!r}: {error.message}") from error
    return Member(found, info)


def _field(user: object, name: str) -> object | None:
    if isinstance(user, Mapping):
        fields = cast("Mapping[str, object]", user)
        return fields.get(name)
    return getattr(user, name, None)


def _plain(result: object, pattern: str) -> object:
    dump = getattr(result, "model_dump", None)  # pydantic
    if callable(dump):
        result = dump()
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = dataclasses.asdict(result)
    try:
        return msgspec.json.decode(msgspec.json.encode(result))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"what the rule for {pattern!r} returned has no JSON form: {error}"
        ) from error
