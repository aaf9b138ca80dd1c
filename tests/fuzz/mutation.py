"""Cheap changes to bytes: what an attacker does to something that works."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

LONGEST = 4_096
TOKENS = (
    *(
        b"\0",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b"::",
        b".",
        b"%00",
        b"%",
        b"&",
        b"=",
        b"#",
        b"{}",
        b"[]",
    ),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"null", b"true", b"NaN", b"1e999"),
    *(b"-0", b"9" * 30, b"0.1", b"[" * 200, b'{"a":' * 100, b"]", b"}", b",", b"\xff", b"\xc3"),
    *(b"\xed\xa0\x80", "é".encode(), "٣".encode(), "\uff11".encode(), "\u2028".encode()),
    *(b"private-", b"presence-", b"cache-", b"#server-to-user-", b"pusher:", b"pusher_internal:"),
    *(b"client-", b"__proto__", b"user_id", b"x" * 201, b"\x7f", b"\x80", b"\x81\xfe", b"\x88"),
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"Transfer-Encoding: chunked\r\n", b"*", b"../"),
)


def mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Return `data` with one to four changes, at most `LONGEST` bytes."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        data = _change(data, random, others)
    return data[:LONGEST]


def _change(  # noqa: PLR0911 - one return for each kind of change
    data: bytes, random: Random, others: Sequence[bytes]
) -> bytes:
    size = len(data)
    at = int(random.random() * (size + 1))
    to = min(size, at + int(random.random() ** 3 * 40))
    kind = int(random.random() * 9)
    if kind == 0:
        return data[:at] + random.choice(TOKENS) + data[at:]
    if kind == 1:
        return data[:at] + random.choice(TOKENS) + data[to:]
    if kind == 2:
        return data[:at] + data[to:]
    if kind == 3:
        return data[:at] + data[at:to] + data[at:to] + data[to:]
    if kind == 4:
        other = random.choice(others)
        start = int(random.random() * (len(other) + 1))
        return data[:at] + other[start:]
    if kind == 5:
        return data[:at]
    if kind == 6:
        return data[:at] + random.randbytes(1 + int(random.random() * 4)) + data[at:]
    if at >= size:
        return data
    if kind == 7:
        return data[:at] + bytes((data[at] ^ 1 << int(random.random() * 8),)) + data[at + 1 :]
    return data[:at] + bytes((int(random.random() * 256),)) + data[at + 1 :]
