"""
Webhooks: what an endpoint is, which facts it wants, what it is sent, and when again.

One request::

    POST <url>
    Content-Type: application/json                exactly so: receivers compare it
    X-Pusher-Key: <key>
    X-Pusher-Signature: <hex HMAC-SHA256 of the raw body with the secret>
    X-Broadcaster-Webhook-Id: <id of each event, in their order, comma-separated>

    {"time_ms": <Unix ms>, "events": [{"name": "channel_occupied", "channel": "..."}, ...]}

An event has ``name``, ``channel`` and what its row says:

======================  ======================================================
``member_added``        ``user_id``
``member_removed``      ``user_id``
``client_event``        ``event``, ``data``, ``socket_id``, ``user_id`` if any
``subscription_count``  ``subscription_count``
======================  ======================================================

An answer of 2xx ends it. Anything else is tried again with growing pauses until
`GIVE_UP_SECONDS` after the fact.

Source: Pusher Channels, "Webhooks".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.channels import shown
from broadcaster.protocol.facts import FACT_NAMES, Fact
from broadcaster.protocol.signing import hmac_hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.protocol.app import App

CONTENT_TYPE = "application/json"
ID_HEADER = "X-Broadcaster-Webhook-Id"

GIVE_UP_SECONDS = 300.0
FIRST_PAUSE = 1.0
_ENOUGH = 30  # tries, for which all pauses are longer than any fact is tried
LONGEST_PAUSE = 60.0
OLDEST_SECONDS = 240.0
"""Age of the oldest ``time_ms`` that is sent: receivers refuse one of five minutes."""

MAX_EVENTS = 50
"""Facts in one request; their ids must fit into a header."""
MAX_BODY_BYTES = 262_144
"""Bytes after which no further fact goes into a request; one alone may be longer."""

_MAX_URL = 2_000
_MAX_HEADERS = 20
_MAX_HEADER_VALUE = 4_096
_KEYS = ("url", "events", "channel_prefix", "channel_suffix", "batch", "headers")
_URL = re.compile(r"[!-~]+")
_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,100}")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_OUR_HEADERS = ("x-pusher-", "x-broadcaster-", "proxy-")
_FIXED_HEADERS = frozenset(
    {"content-type", "content-length", "content-encoding", "transfer-encoding", "host"}
    | {"connection", "keep-alive", "te", "trailer", "upgrade", "expect"}
)
# Ports on which something else listens that might obey what a request says.
# Source: WHATWG Fetch, "Port blocking".
_BLOCKED_PORTS = frozenset(
    {0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101}
    | {102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389}
    | {427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636}
    | {989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 11211}
)


# -- endpoints ----------------------------------------------------------------------


def parse_webhook(said: Mapping[str, object]) -> Webhook:
    """
    Return the endpoint that a settings file or a database row describes.

    Args:
        said: ``{"url": str, "events"?: [str, ...], "channel_prefix"?: str,
            "channel_suffix"?: str, "batch"?: bool, "headers"?: {str: str}}``.

    Raises:
        ConfigurationError: an unknown key, a URL that cannot be one of a receiver, an event
            that does not exist, a header that is ours, or a value of the wrong type.
    """
    for key in said:
        if key not in _KEYS:
            raise ConfigurationError(
                f"a webhook has no setting {shown(str(key))}; there are {', '.join(_KEYS)}"
            )
    batch = said.get("batch", False)
    if not isinstance(batch, bool):
        raise ConfigurationError("batch of a webhook must be true or false")
    return Webhook(
        url=check_webhook_url(said.get("url")),
        events=_events(said.get("events", ())),
        channel_prefix=_text(said, "channel_prefix"),
        channel_suffix=_text(said, "channel_suffix"),
        batch=batch,
        headers=_headers(said.get("headers", {})),
    )


def check_webhook_url(url: object) -> str:
    """
    Return `url` if requests may be sent there, as far as it can be told from its text.

    Raises:
        ConfigurationError: no URL, not ``http`` or ``https``, credentials or a fragment in
            it, or a port of another protocol.
    """
    if not isinstance(url, str) or not url:
        raise ConfigurationError("a webhook needs a url, such as https://example.com/webhooks")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"the webhook URL {shown_url(url)} is no URL") from error
    if "@" in parts.netloc:
        raise ConfigurationError(
            "a webhook URL must not contain credentials: put them into a header, as in "
            'headers = { Authorization = "Bearer ..." }'
        )
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigurationError(
            f"the webhook URL {shown_url(url)} must begin with https:// or http:// and name a host"
        )
    if len(url) > _MAX_URL or not _URL.fullmatch(url) or "\\" in url or parts.fragment:
        raise ConfigurationError(
            f"the webhook URL {shown_url(url)} must have {_MAX_URL} characters at most, "
            "all of them printable ASCII, and no #fragment"
        )
    if port in _BLOCKED_PORTS:
        raise ConfigurationError(
            f"the webhook URL {shown_url(url)} has port {port}, which belongs to another protocol"
        )
    return url


def shown_url(url: str) -> str:
    """Return `url` for a message or a log: without its query, which may hold a secret."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return shown(f"{scheme}{mark}{host}{slash}{path}", 200).strip("'")


def _events(value: object) -> tuple[str, ...]:
    names = _texts(value)
    if names is None:
        raise ConfigurationError(
            f"events of a webhook must be a list of names: {', '.join(FACT_NAMES)}"
        )
    for name in names:
        if name not in FACT_NAMES:
            raise ConfigurationError(
                f"there is no webhook event {shown(name)}; there are {', '.join(FACT_NAMES)}"
            )
    return tuple(dict.fromkeys(names))


def _texts(value: object) -> list[str] | None:
    if not isinstance(value, list | tuple):
        return None
    items = cast("Sequence[object]", value)
    texts = [item for item in items if isinstance(item, str)]
    return texts if len(texts) == len(items) else None


def _text(said: Mapping[str, object], key: str) -> str:
    value = said.get(key, "")
    if not isinstance(value, str):
        raise ConfigurationError(f"{key} of a webhook must be text")
    return value


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ConfigurationError("headers of a webhook must be a table of names and texts")
    headers = cast("dict[object, object]", value)
    if len(headers) > _MAX_HEADERS:
        raise ConfigurationError(f"a webhook has {_MAX_HEADERS} headers of its own at most")
    found: dict[str, tuple[str, str]] = {}
    for name, text in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{shown(str(name))} is no name of an HTTP header")
        lower = name.lower()
        if lower in _FIXED_HEADERS or lower.startswith(_OUR_HEADERS) or lower in found:
            raise ConfigurationError(
                f"a webhook cannot set the header {name}: it is set by the server, or set twice"
            )
        # What is wrong with a value is said without it: it is often a secret.
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise ConfigurationError(
                f"the header {name} of a webhook must be printable ASCII, without spaces around it"
            )
        if len(text) > _MAX_HEADER_VALUE:
            raise ConfigurationError(
                f"the header {name} of a webhook is longer than {_MAX_HEADER_VALUE} characters"
            )
        found[lower] = (name, text)
    return tuple(found.values())


# -- facts --------------------------------------------------------------------------


def wants(webhook: Webhook, fact: Fact) -> bool:
    """Whether `webhook` is to be told of `fact`."""
    return (
        (not webhook.events or fact.name in webhook.events)
        and fact.channel.startswith(webhook.channel_prefix)
        and fact.channel.endswith(webhook.channel_suffix)
    )


def receivers(app: App, fact: Fact) -> list[str]:
    """Return the URLs that are told of `fact`, each once."""
    return list(dict.fromkeys(hook.url for hook in app.webhooks if wants(hook, fact)))


def find_webhook(app: App, url: str, fact: Fact) -> Webhook | None:
    """
    Return the endpoint of `app` at `url`, or None if it has none any more.

    Of several at one URL it is the first that wants `fact`, or else the first.
    """
    there = [hook for hook in app.webhooks if hook.url == url]
    return next((hook for hook in there if wants(hook, fact)), there[0] if there else None)


# -- requests -----------------------------------------------------------------------


def webhook_event(fact: Fact) -> dict[str, Any]:
    """Return `fact` as it stands in a request; see the module."""
    event: dict[str, Any] = {"name": fact.name, "channel": fact.channel}
    match fact.name:
        case "member_added" | "member_removed":
            event["user_id"] = fact.user_id or ""
        case "client_event":
            event["event"] = fact.event or ""
            event["data"] = fact.data or ""
            event["socket_id"] = fact.socket_id or ""
            if fact.user_id is not None:
                event["user_id"] = fact.user_id
        case "subscription_count":
            event["subscription_count"] = fact.subscription_count or 0
        case _:
            pass
    return event


def webhook_body(facts: Sequence[Fact], *, now: float) -> bytes:
    """
    Return the body that tells `facts`.

    ``time_ms`` is when the latest of them happened, so that receivers can put requests in
    order; only what is older than `OLDEST_SECONDS` is stamped anew, for receivers
    refuse the signature of a request that seems to be five minutes old.

    Args:
        facts: one or more of the same app.
        now: Unix seconds.
    """
    now_ms = int(now * 1000)
    latest = max(fact.time_ms for fact in facts)
    time_ms = min(max(latest, now_ms - int(OLDEST_SECONDS * 1000)), now_ms)
    events = [webhook_event(fact) for fact in facts]
    return msgspec.json.encode({"time_ms": time_ms, "events": events})


def webhook_headers(
    app: App, webhook: Webhook, facts: Sequence[Fact], body: bytes
) -> list[tuple[str, str]]:
    """Return the headers of a request with `body`, all but those of the connection."""
    return [
        ("Content-Type", CONTENT_TYPE),
        ("X-Pusher-Key", app.key),
        ("X-Pusher-Signature", hmac_hex(app.secret, body)),
        (ID_HEADER, ",".join(fact.id for fact in facts)),
        *webhook.headers,
    ]


def event_bytes(fact: Fact) -> int:
    """Return about how long `fact` is in a body."""
    return 200 + len(fact.channel) + len(fact.event or "") + len((fact.data or "").encode())


# -- again --------------------------------------------------------------------------


def is_accepted(status: int) -> bool:
    """Whether an HTTP status means that the receiver has it."""
    return 200 <= status < 300  # noqa: PLR2004 - HTTP


def time_left(fact: Fact, *, tries: int, now: float, waited: float = 0.0) -> float:
    """
    Return for how many seconds `fact` is tried yet; 0 or less is the end.

    No clock is so wrong that a fact comes from a time after its own end: what says so ends by
    the pauses between its tries, or else it would be tried until that day.

    Args:
        tries: after which a pause has ended.
        now: Unix seconds.
        waited: seconds for which it cannot have been tried.
    """
    age = now - fact.time_ms / 1000
    if age < -GIVE_UP_SECONDS:
        age = max(waited, sum(map(_pause, range(1, min(tries, _ENOUGH) + 1))))
    return GIVE_UP_SECONDS - age


def next_try(fact: Fact, *, attempt: int, now: float, chance: float) -> float | None:
    """
    Return the seconds until the next try after one that failed, or None to give up.

    The pauses are about 1, 2, 4, ... 60 seconds; the last try falls on the end.

    Args:
        attempt: tries so far, this one included.
        now: Unix seconds.
        chance: from 0 up to 1: receivers are not to be asked by everybody at once.
    """
    left = time_left(fact, tries=attempt - 1, now=now)
    if left <= 0:
        return None
    return min(_pause(attempt) * (0.75 + chance / 2), left)


def _pause(attempt: int) -> float:
    """Return about how many seconds pass after a try."""
    return min(FIRST_PAUSE * 2.0 ** min(attempt - 1, 30), LONGEST_PAUSE)
