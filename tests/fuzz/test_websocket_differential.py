"""S7: RFC 6455 as `websockets` reads it, frame by frame; and where ours is meant to differ."""

from __future__ import annotations

import pytest

from broadcaster.protocol.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT
from tests.fuzz.run import fuzz
from tests.fuzz.wire_targets import (
    DEVIATIONS,
    LIMIT,
    STRICTER,
    authority,
    compare,
    frame_bytes,
    ours,
    websocket,
)

FILLER = bytes(LIMIT + 20)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, width: int = 0
) -> bytes:
    return frame_bytes(opcode, payload, fin, reserved, True, width)


def test_s07_the_verdict_is_the_authority_s_for_random_streams_in_random_cuts() -> None:
    outcome = fuzz(websocket, 4_000, seed=11)

    assert outcome.failure is None, outcome.failure


# What both sides say, where they are meant to differ: (stream, ours, the authority's).
WANTED = {
    "a length in two bytes that fits one": (frame(TEXT, b"{}", width=1), 1002, 1002),
    "a length in eight bytes that fits one": (frame(TEXT, b"{}", width=2), 1002, 1002),
    "a thousand empty fragments": (
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 2_000,
        1009,
        1002,
    ),
    "a binary message": (frame(BINARY, b"x"), 1003, 1003),
    "a close between fragments": (frame(TEXT, b"a", fin=False) + frame(CLOSE), None, None),
    "a long ping": (frame(PING, b"x" * (LIMIT + 1)), 1002, 1009),
    "a reserved bit on a long frame": (
        frame(TEXT, b"x" * (LIMIT + 1), reserved=4),
        1002,
        1009,
    ),
}


@pytest.mark.parametrize("name", WANTED)
def test_s07_where_ours_differs_it_is_meant_to(name: str) -> None:
    data, our_code, their_code = WANTED[name]

    assert ours([data + FILLER])[1] == our_code
    assert authority(data + FILLER)[1] == their_code
    compare(data)


def test_s07_every_deviation_has_its_reason() -> None:
    assert all(reason for reason in (*DEVIATIONS.values(), *STRICTER.values()))
    assert {code for code, _ in DEVIATIONS} <= {1002, 1003, 1009}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 999, 1_000, 1_001, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("cut", [1, 2, 3, 9, 13, 14])
def test_s07_every_way_to_write_a_length_is_read(size: int, cut: int) -> None:
    data = frame(TEXT, b"x" * size)
    events, code, _ = ours([data[:cut], data[cut:]])

    assert (events, code) == (([(TEXT, b"x" * size)], None) if size <= LIMIT else ([], 1009))
