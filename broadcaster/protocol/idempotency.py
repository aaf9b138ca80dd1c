"""
Keys that make a publish safe to repeat.

Whoever publishes may name the request with a key of their own: a repeat within
`WINDOW_SECONDS` is answered as the first was, and not delivered twice, on any node. Two
things see to it. Event ids are derived from the key, so that whatever a first attempt got
done is known to the store by its id; and the first answer is kept, with a fingerprint of
the request, so that a key cannot be used for another one.

The key comes in the header ``Idempotency-Key`` or ``X-Idempotency-Key``, which no
signature covers, or in the body's field ``idempotency_key``, which is signed like the rest.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.errors import RequestRefused
from broadcaster.protocol.channels import shown
from broadcaster.protocol.http_query import AUTH_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.protocol.http_api import EventRequest

WINDOW_SECONDS = 600
HEADERS = frozenset((b"idempotency-key", b"x-idempotency-key"))
_KEY = re.compile(r"[\x20-\x7e]{1,128}")


class Attempt(NamedTuple):
    """
    One attempt to serve a request that has a key.

    Attributes:
        fingerprint: 32 bytes; those of a repeat are the same.
    """

    app_id: str
    key: str
    fingerprint: bytes

    def event_id(self, index: int, event: EventRequest) -> bytes:
        """Return the id (16 bytes) under which every attempt publishes event number `index`."""
        parts = (self.app_id, self.key, str(index), event.name, event.data, event.socket_id)
        return _digest(part.encode() for part in parts)[:16]


def parse_key(sent: Iterable[bytes], signed: str | None) -> str:
    """
    Return the key of a request, or the empty string when it has none.

    Args:
        sent: the values of every header in `HEADERS`.
        signed: the body's ``idempotency_key``.

    Raises:
        RequestRefused: it is no key, or there are two that differ.
    """
    keys = {value.decode("latin-1") for value in sent}
    if signed is not None:
        keys.add(signed)
    if len(keys) > 1:
        raise RequestRefused(
            "the headers Idempotency-Key and X-Idempotency-Key and the body's idempotency_key "
            "differ; send one of them",
            code="idempotency_key_ambiguous",
        )
    for key in keys:
        if not _KEY.fullmatch(key):
            raise RequestRefused(
                f"idempotency key {shown(key)} has {len(key)} characters; it must be 1 to 128 "
                "printable ASCII characters",
                code="invalid_idempotency_key",
            )
        return key
    return ""


def fingerprint(resource: str, channel: str, params: Mapping[str, str], body: bytes) -> bytes:
    """
    Return 32 bytes that the repeats of a request share, whenever each was signed.

    Args:
        resource: what the path names.
        channel: the channel in the path, or the empty string.
    """
    own = [f"{name}={params[name]}" for name in sorted(params) if name not in AUTH_PARAMETERS]
    return _digest((resource.encode(), channel.encode(), *(part.encode() for part in own), body))


def mismatch(key: str) -> RequestRefused:
    """Return the refusal of a key that another request has used."""
    return RequestRefused(
        f"idempotency key {shown(key)} was used for another request within the last "
        f"{WINDOW_SECONDS // 60} minutes; a repeat has the same path, query and body, another "
        "request a key of its own",
        status=422,
        code="idempotency_mismatch",
    )


def _digest(parts: Iterable[bytes]) -> bytes:
    """Return SHA-256 over parts of any content: each is preceded by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
