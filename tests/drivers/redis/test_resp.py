from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.drivers.redis import resp
from broadcaster.drivers.redis.resp import (
    NOTHING,
    BrokenStream,
    PlainReader,
    Reader,
    ReplyError,
    encode_command,
    new_reader,
)

STREAM = (
    b"+PONG\r\n-ERR no\r\n:42\r\n$-1\r\n$0\r\n\r\n*-1\r\n*0\r\n"
    b"*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$4\r\n\r\n\x00\xff\r\n"
)


def _replies(reader: Reader, chunks: list[bytes]) -> list[Any]:
    found: list[Any] = []
    for chunk in chunks:
        reader.feed(chunk)
        while (reply := reader.gets()) is not NOTHING:
            found.append(str(reply) if isinstance(reply, ReplyError) else reply)
    return found


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_both_readers_agree_however_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in itertools.pairwise(edges)]

    plain, fast = _replies(PlainReader(), chunks), _replies(new_reader(), chunks)

    assert plain == fast
    assert plain[-1] == [b"message", b"t", b"\r\n\x00\xff"]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_a_command_is_an_array_of_its_parts(parts: list[bytes]) -> None:
    assert _replies(new_reader(), [encode_command(*parts)]) == [parts]


@given(st.binary(max_size=40))
def test_any_bytes_are_replies_or_broken_or_incomplete(data: bytes) -> None:
    reader = PlainReader()
    reader.feed(data)
    try:
        while reader.gets() is not NOTHING:
            pass
    except BrokenStream:
        return


@pytest.mark.parametrize("data", [b"HTTP/1.1 400\r\n", b":x\r\n", b"$x\r\n", b"*1\r\n" * 20])
def test_what_is_no_resp_is_named_broken(data: bytes) -> None:
    reader = PlainReader()
    reader.feed(data)

    with pytest.raises(BrokenStream):
        reader.gets()


def test_a_bulk_string_over_the_limit_is_refused_before_it_arrives() -> None:
    reader = PlainReader()
    reader.feed(b"$%d\r\n" % (resp.MAX_BULK + 1))

    with pytest.raises(BrokenStream, match="bytes"):
        reader.gets()


def test_without_hiredis_the_plain_reader_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp, "_fast_reader", None)

    assert isinstance(new_reader(), PlainReader)
