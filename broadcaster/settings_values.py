"""Turning what a source says into a checked value: types and ranges, no I/O."""

from __future__ import annotations

import re
import types
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from broadcaster.contracts.apps import App
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown
from broadcaster.protocol.jwks import check_jwks_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.contracts.apps import AppLimits
    from broadcaster.settings_sources import Found

_GRANT_KEY_BYTES = 32
_PLAIN = re.compile(r"[-A-Za-z0-9_]{1,64}")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
# App ids that would spell keys of other things.
_TAKEN = frozenset({"q", "node", "nodes"})
_QUEUE = (re.compile(r"[-A-Za-z0-9_.@]{1,128}"), "must be letters, digits or - _ . @")
_TEXTS = {
    "prefix": (re.compile(r"[-A-Za-z0-9_.:/]{1,64}"), "must be letters, digits or - _ . : /"),
    "broadcast.queue": _QUEUE,
    "queue.default": _QUEUE,
}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})

# Inclusive. Numbers without an entry may be anything from 0 up.
RANGES: dict[str, tuple[float, float]] = {
    "app.limits.max_frame_bytes": (1_024, 16_777_216),
    "app.limits.max_data_bytes": (1, 16_777_216),
    "app.limits.max_event_name": (1, 1_000),
    "app.limits.max_channels": (1, 1_000_000),
    "app.limits.presence_members": (1, 1_000_000),
    "app.limits.presence_id_length": (1, 128),
    "app.limits.watchlist": (0, 1_000),
    "app.limits.authorization_timeout": (0, 86_400),
    "app.limits.activity_timeout": (1, 86_400),
    "app.limits.pong_timeout": (1, 3_600),
    "app.limits.max_backlog_bytes": (65_536, 1_073_741_824),
    "app.limits.stuck_seconds": (1, 3_600),
    "broadcast.max_data_bytes": (1, 16_777_216),
    "endpoint.port": (1, 65_535),
    "endpoint.timeout": (0.05, 60),
    "gateway.port": (0, 65_535),
    "gateway.workers": (1, 256),
    "gateway.drain_seconds": (0, 3_600),
    "gateway.lease_seconds": (0.5, 3_600),
    "gateway.presence_grace": (0, 300),
    "history.dedupe_seconds": (1, 604_800),
    # Gateways renew positions hourly; one that is forgotten in between looks like lost data.
    "history.meta_seconds": (7_200, 31_536_000),
    "queue.lease": (0.5, 86_400),
    "queue.max_crashes": (1, 1_000),
}

# Words of other programs for values of ours.
SYNONYMS: dict[tuple[str, str], str] = {
    ("broadcast.driver", "reverb"): "pusher",
    ("broadcast.driver", "soketi"): "pusher",
}


def convert(path: str, found: Found, hint: object) -> Any:
    """
    Return the value of `found` as the type `hint`.

    Args:
        hint: ``str``, ``int``, ``float``, ``bool``, ``tuple[str, ...]``, a Literal of
            words, or one of these or None.

    Raises:
        ConfigurationError: with the source, the value and what is allowed.
    """
    hint = _without_none(hint)
    value = found.value
    if get_origin(hint) is Literal:
        return _word(path, found, get_args(hint))
    if hint is bool:
        return _bool(path, found)
    if hint is int or hint is float:
        return _number(path, found, whole=hint is int)
    if get_origin(hint) is tuple:
        return _words(path, found)
    if not isinstance(value, str):
        raise refusal(path, found, "must be text")
    pattern, allowed = _TEXTS.get(path, (None, ""))
    if pattern is not None and not pattern.fullmatch(value):
        raise refusal(path, found, allowed)
    if path == "redis_url" and not value.startswith(_REDIS_SCHEMES):
        raise refusal(path, found, f"must begin with {', '.join(_REDIS_SCHEMES)}")
    return value


def check_app(found: Mapping[str, Found], limits: AppLimits) -> App:
    """
    Return the app of a complete set of credentials.

    Raises:
        ConfigurationError: an id, key or secret that could not work, or a grant key that
            is too short for HS256 or the same as the secret.
    """
    app_id, key, secret = (str(found[f"app.{name}"].value) for name in ("id", "key", "secret"))
    if not _PLAIN.fullmatch(app_id) or app_id in _TAKEN:
        raise refusal("app.id", found["app.id"], "must be letters, digits, '-' or '_'")
    if not _PLAIN.fullmatch(key):
        raise refusal("app.key", found["app.key"], "must be letters, digits, '-' or '_'")
    return App(
        id=app_id,
        key=key,
        secret=secret,
        grant_keys=_grant_keys(found, secret),
        jwks_url=_jwks_url(found),
        limits=limits,
    )


def refusal(path: str, found: Found, allowed: str) -> ConfigurationError:
    """Return the error for a value that is not allowed."""
    secret = path in {"app.secret", "app.grant_key", "redis_url"}
    value = "the value given" if secret else shown(str(found.value))
    return ConfigurationError(f"{path} {allowed}, not {value} (from {found.source})")


def _grant_keys(found: Mapping[str, Found], secret: str) -> tuple[tuple[str, str, str], ...]:
    grant = found.get("app.grant_key")
    if grant is None:
        return ()
    text = str(grant.value)
    if len(text.encode()) < _GRANT_KEY_BYTES or text == secret:
        allowed = f"must be {_GRANT_KEY_BYTES} bytes or more and differ from the secret"
        raise refusal("app.grant_key", grant, allowed)
    return (("1", "HS256", text),)


def _jwks_url(found: Mapping[str, Found]) -> str | None:
    item = found.get("app.jwks_url")
    if item is None:
        return None
    try:
        return check_jwks_url(str(item.value))
    except ConfigurationError as error:
        raise ConfigurationError(f"app.jwks_url (from {item.source}): {error.message}") from error


def _without_none(hint: object) -> object:
    if get_origin(hint) in (Union, types.UnionType):
        return next(arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint


def _word(path: str, found: Found, words: tuple[str, ...]) -> str:
    value = str(found.value).lower()
    value = SYNONYMS.get((path, value), value)
    if value not in words:
        raise refusal(path, found, f"must be one of {', '.join(words)}")
    return value


def _bool(path: str, found: Found) -> bool:
    if isinstance(found.value, bool):
        return found.value
    text = str(found.value).lower()
    if text not in _YES | _NO:
        raise refusal(path, found, "must be true or false")
    return text in _YES


def _number(path: str, found: Found, *, whole: bool) -> float:
    value = found.value
    low, high = RANGES.get(path, (0, 2**53))
    what = "a whole number" if whole else "a number"
    wanted = (
        f"must be {what} from {low:,} to {high:,}"
        if path in RANGES
        else f"must be {what}, 0 or more"
    )
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refusal(path, found, wanted)
    try:
        number = int(value) if whole and isinstance(value, str) else float(value)
    except ValueError:
        raise refusal(path, found, wanted) from None
    if not low <= number <= high or (whole and number != int(number)):
        raise refusal(path, found, wanted)
    return int(number) if whole else float(number)


def _words(path: str, found: Found) -> tuple[str, ...]:
    value = found.value
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise refusal(path, found, "must be a list of texts")
