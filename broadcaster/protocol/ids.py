"""Ids that sort by time: UUIDv7 as 32 hex digits."""

from __future__ import annotations


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
