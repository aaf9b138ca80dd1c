"""
An app as a table: how settings files, the environment and Redis hold it.

::

    {"id": text, "key": text, "secret": text,
     "grant_key"?: text of 32 bytes or more, "jwks_url"?: text,
     "encryption_key"?: 32 bytes in Base64, "enabled"?: bool, "server_events"?: bool,
     "limits"?: {name: value}, "webhooks"?: [{"url": text, ...}]}

A limit that a table does not name is that of the server (``[app.limits]``), also when it
changes later: what is kept is what was said.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_type_hints

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import LIMIT_RANGES, RESERVED_IDS, App, AppLimits
from broadcaster.protocol.channels import shown
from broadcaster.protocol.encryption import KEY_BYTES
from broadcaster.protocol.jwks import check_jwks_url
from broadcaster.protocol.origins import origin_problem
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.protocol.webhooks import parse_webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.protocol.app import Webhook

AppTable: TypeAlias = "dict[str, object]"

FIELDS = (
    *("id", "key", "secret", "grant_key", "jwks_url", "encryption_key", "enabled"),
    *("server_events", "limits", "webhooks"),
)
SECRETS = frozenset({"secret", "grant_key", "encryption_key"})
GRANT_KEY_BYTES = 32
MAX_WEBHOOKS = 10
MAX_SECRET = 256

_PLAIN = re.compile(r"[-A-Za-z0-9_]{1,64}")
LIMIT_TYPES: Mapping[str, object] = MappingProxyType(get_type_hints(AppLimits))
_NO_LIMITS = AppLimits()


def parse_app(table: Mapping[str, object], *, where: str, base: AppLimits = _NO_LIMITS) -> App:
    """
    Read an app.

    Args:
        table: see the module.
        where: names the table in messages, e.g. ``[[apps]] #2 in broadcaster.toml``.
        base: limits that the table does not name.

    Raises:
        ConfigurationError: it names `where`, the field and what is allowed; no secret.
    """
    where = f"{where} ({_id_shown(table)})" if "id" in table else where
    check_names(table, FIELDS, where)
    app_id, key, secret = (_text(table, name, where) for name in ("id", "key", "secret"))
    for name, problem in (
        ("id", id_problem(app_id)),
        ("key", key_problem(key)),
        ("secret", secret_problem(secret)),
    ):
        _check(name, table, problem, where)
    return App(
        id=app_id,
        key=key,
        secret=secret,
        grant_keys=_grant_keys(table, secret, where),
        jwks_url=_jwks_url(table, where),
        encryption_key=_encryption_key(table, where),
        enabled=_flag(table, "enabled", where, default=True),
        server_events=_flag(table, "server_events", where, default=False),
        webhooks=parse_webhooks(table.get("webhooks", []), where),
        limits=parse_limits(table.get("limits", {}), where=where, base=base),
    )


def parse_limits(value: object, *, where: str, base: AppLimits = _NO_LIMITS) -> AppLimits:
    """
    Read the limits of an app.

    Raises:
        ConfigurationError: an unknown name, or a value of the wrong type or out of range.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: limits must be a table")
    table = cast("dict[str, object]", value)
    check_names(table, LIMIT_TYPES, where, "limits.")
    said: dict[str, Any] = {name: _limit(name, item, where) for name, item in table.items()}
    return replace(base, **said)


def parse_webhooks(value: object, where: str) -> tuple[Webhook, ...]:
    """
    Read the receivers of an app's facts: a list of tables.

    Raises:
        ConfigurationError: one of them cannot be used; the message says which.
    """
    if not isinstance(value, list):
        raise ConfigurationError(f"{where}: webhooks must be a list of tables")
    tables = cast("list[object]", value)
    if len(tables) > MAX_WEBHOOKS:
        raise ConfigurationError(
            f"{where}: {MAX_WEBHOOKS} webhooks at most, not {len(tables)}; let one receiver "
            "pass on what others want"
        )
    return tuple(
        _webhook(table, f"{where}: webhooks #{number}")
        for number, table in enumerate(tables, start=1)
    )


def id_problem(text: str) -> str:
    """Return what is wrong with an app id, as the end of a sentence, or nothing."""
    if not _PLAIN.fullmatch(text) or text in RESERVED_IDS:
        return f"must be letters, digits, '-' or '_', and none of {', '.join(sorted(RESERVED_IDS))}"
    return ""


def key_problem(text: str) -> str:
    """Return what is wrong with an app key, or nothing."""
    return "" if _PLAIN.fullmatch(text) else "must be letters, digits, '-' or '_'"


def secret_problem(text: str) -> str:
    """Return what is wrong with a secret, or nothing."""
    if not text or text != text.strip() or len(text) > MAX_SECRET:
        return f"must be 1 to {MAX_SECRET} characters without a space or line break at an end"
    return ""


def grant_key_problem(text: str, secret: str) -> str:
    """Return what is wrong with an HS256 key for grants, or nothing."""
    if len(text.encode()) < GRANT_KEY_BYTES or text == secret:
        return f"must be {GRANT_KEY_BYTES} bytes or more and differ from the secret"
    return ""


def encryption_key_problem(text: str) -> str:
    """Return what is wrong with a master key of encrypted channels, or nothing."""
    try:
        if len(base64.b64decode(text, validate=True)) == KEY_BYTES:
            return ""
    except (binascii.Error, ValueError):
        pass
    return f"must be {KEY_BYTES} bytes in Base64 (`openssl rand -base64 32` makes one)"


def limit_problem(name: str, value: object) -> str:
    """Return what is wrong with the value of a limit, as the end of a sentence, or nothing."""
    hint = LIMIT_TYPES[name]
    if hint is bool:
        return "" if isinstance(value, bool) else "must be true or false"
    if hint is int or hint is float:
        return _number_problem(name, value, whole=hint is int)
    if not isinstance(value, list | tuple):
        return "must be a list of texts"
    for item in cast("Iterable[object]", value):
        if not isinstance(item, str):
            return "must be a list of texts"
        if problem := origin_problem(item):
            return problem
    return ""


def check_names(
    table: Mapping[str, object], known: Iterable[str], where: str, above: str = ""
) -> None:
    """
    Refuse names that mean nothing.

    Raises:
        ConfigurationError: with a suggestion.
    """
    names = list(known)
    for name in table:
        if name not in names:
            hint = did_you_mean(name, names, above=above)
            if "limits" in names and name in LIMIT_TYPES:
                hint = f" - did you mean 'limits.{name}'?"
            raise ConfigurationError(f"{where}: unknown setting {shown(above + name)}{hint}")


def _webhook(value: object, where: str) -> Webhook:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a table")
    try:
        return parse_webhook(cast("dict[str, object]", value))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}") from error


def _number_problem(name: str, value: object, *, whole: bool) -> str:
    low, high = LIMIT_RANGES.get(name, (0, 2**53))
    what = "a whole number" if whole else "a number"
    wanted = f"must be {what} from {low:,} to {high:,}"
    if name not in LIMIT_RANGES:
        wanted = f"must be {what}, 0 or more"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return wanted
    return "" if low <= value <= high and (not whole or value == int(value)) else wanted


def _limit(name: str, value: object, where: str) -> Any:
    problem = limit_problem(name, value)
    if problem:
        raise ConfigurationError(f"{where}: limits.{name} {problem}, not {shown(str(value))}")
    if isinstance(value, list):
        return tuple(cast("list[str]", value))
    if isinstance(value, float) and LIMIT_TYPES[name] is int:
        return int(value)
    if isinstance(value, int) and LIMIT_TYPES[name] is float:
        return float(value)
    return value


def _check(name: str, table: Mapping[str, object], problem: str, where: str) -> None:
    if problem:
        value = "the value given" if name in SECRETS else shown(str(table[name]))
        raise ConfigurationError(f"{where}: {name} {problem}, not {value}")


def _text(table: Mapping[str, object], name: str, where: str) -> str:
    value = table.get(name)
    if isinstance(value, str):
        return value
    if name not in table:
        raise ConfigurationError(f"{where}: {name} is missing")
    # An id of digits is easily written without quotes.
    raise ConfigurationError(f"{where}: {name} must be text in quotes")


def _optional(table: Mapping[str, object], name: str, where: str) -> str | None:
    return _text(table, name, where) if name in table else None


def _flag(table: Mapping[str, object], name: str, where: str, *, default: bool) -> bool:
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where}: {name} must be true or false, not {shown(str(value))}")
    return value


def _grant_keys(
    table: Mapping[str, object], secret: str, where: str
) -> tuple[tuple[str, str, str], ...]:
    text = _optional(table, "grant_key", where)
    if text is None:
        return ()
    _check("grant_key", table, grant_key_problem(text, secret), where)
    return (("1", "HS256", text),)


def _jwks_url(table: Mapping[str, object], where: str) -> str | None:
    text = _optional(table, "jwks_url", where)
    if text is None:
        return None
    try:
        return check_jwks_url(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: jwks_url: {error.message}") from error


def _encryption_key(table: Mapping[str, object], where: str) -> bytes | None:
    text = _optional(table, "encryption_key", where)
    if text is None:
        return None
    _check("encryption_key", table, encryption_key_problem(text), where)
    return base64.b64decode(text)


def _id_shown(table: Mapping[str, object]) -> str:
    return f"id {shown(str(table['id']))}"
