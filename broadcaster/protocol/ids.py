"""Ids that sort by time: UUIDv7 as 32 hex digits."""

from __future__ import annotations

import hashlib
import re

_ID = re.compile(r"[-A-Za-z0-9_.]{1,128}")


def uuid7(now: float, randomness: bytes) -> str:
    """
    Return a UUIDv7 as 32 lower-case hex digits.

    Args:
        now: Unix seconds.
        randomness: 10 bytes.

    Source: RFC 9562, section 5.7.
    """
    raw = bytearray(int(now * 1000).to_bytes(6, "big") + randomness)
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return raw.hex()


def may_be_id(text: str) -> bool:
    """Whether this could be the id of a job or a batch; text out of an address may be anything."""
    return _ID.fullmatch(text) is not None


def derived_id(*parts: str | int) -> str:
    """
    Return the id of what `parts` name, 32 lower-case hex digits: the same ones each time.

    Whoever makes the same thing again gives it the same id, so that it is queued once.
    """
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
