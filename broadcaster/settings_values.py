"""Turning what a source says into a checked value: types and ranges, no I/O."""

from __future__ import annotations

import re
import types
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import LIMIT_RANGES
from broadcaster.protocol.app_table import id_problem, limit_problem
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.settings_sources import Found

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")
_SECRET = frozenset(
    {
        "app.secret",
        "app.grant_key",
        "app.encryption_key",
        "app.webhooks",
        "apps",
        "failed.url",
        "queues",
        "redis_url",
    }
)
_QUEUE = (re.compile(r"[-A-Za-z0-9_.@]{1,128}"), "must be letters, digits or - _ . @")
_TEXTS = {
    "prefix": (re.compile(r"[-A-Za-z0-9_.:/]{1,64}"), "must be letters, digits or - _ . : /"),
    "broadcast.queue": _QUEUE,
    "queue.default": _QUEUE,
    "failed.table": (re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}"), "must be letters, digits or _"),
}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})

# Inclusive. Numbers without an entry may be anything from 0 up.
RANGES: dict[str, tuple[float, float]] = {
    **{f"app.limits.{name}": allowed for name, allowed in LIMIT_RANGES.items()},
    "broadcast.max_data_bytes": (1, 16_777_216),
    "endpoint.port": (1, 65_535),
    "endpoint.timeout": (0.05, 60),
    "gateway.port": (0, 65_535),
    "gateway.workers": (1, 256),
    "gateway.drain_seconds": (0, 3_600),
    "gateway.lease_seconds": (0.5, 3_600),
    "gateway.presence_grace": (0, 300),
    "gateway.vacate_grace": (0, 300),
    "history.dedupe_seconds": (1, 604_800),
    # Gateways renew positions hourly; one that is forgotten in between looks like lost data.
    "history.meta_seconds": (7_200, 31_536_000),
    "queue.lease": (0.5, 86_400),
    "queue.max_crashes": (1, 1_000),
    "queue.lanes": (16, 256),
    "queue.replicas": (0, 100),
    "worker.concurrency": (1, 1_000),
    "worker.processes": (1, 256),
    "worker.reserve_ahead": (0, 1_000),
    "worker.jobs_per_child": (1, 1_000_000),
    "worker.backoff": (0, 31_536_000),
    "worker.sleep": (0.05, 60),
    "worker.health_port": (0, 65_535),
    "webhooks.timeout": (0.1, 60),
    "webhooks.concurrency": (1, 200),
    "webhooks.batch_seconds": (0, 10),
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
    if hint == tuple[float, ...]:
        return _numbers(path, found)
    if get_origin(hint) is tuple:
        return _checked_words(path, found)
    if not isinstance(value, str):
        raise refusal(path, found, "must be text")
    pattern, allowed = _TEXTS.get(path, (None, ""))
    if pattern is not None and not pattern.fullmatch(value):
        raise refusal(path, found, allowed)
    if path == "broadcast.app" and value and (problem := id_problem(value)):
        raise refusal(path, found, problem)
    if path == "redis_url":
        _check_redis_url(path, found, value)
    return value


def _check_redis_url(path: str, found: Found, url: str) -> None:
    """Refuse what is no URL; `RedisClients` looks at the rest of it."""
    if not url.startswith(_REDIS_SCHEMES):
        raise refusal(path, found, f"must begin with {', '.join(_REDIS_SCHEMES)}")
    try:
        urlsplit(url)
    except ValueError:
        raise refusal(path, found, "must be a URL whose host is one") from None


def refusal(path: str, found: Found, allowed: str) -> ConfigurationError:
    """Return the error for a value that is not allowed."""
    value = "the value given" if path in _SECRET else shown(str(found.value))
    return ConfigurationError(f"{path} {allowed}, not {value} (from {found.source})")


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


def _numbers(path: str, found: Found) -> tuple[float, ...]:
    value = found.value
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(
        _number(path, type(found)(item, found.source), whole=False)
        for item in cast("Sequence[object]", items)
    )


def _checked_words(path: str, found: Found) -> tuple[str, ...]:
    words = _words(path, found)
    if path == "app.limits.allowed_origins" and (
        problem := limit_problem("allowed_origins", words)
    ):
        raise refusal(path, found, problem)
    if path == "worker.queue" and not words and isinstance(found.value, str):
        raise refusal(path, found, "must name at least one")
    return words


def _words(path: str, found: Found) -> tuple[str, ...]:
    value = found.value
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise refusal(path, found, "must be a list of texts")
