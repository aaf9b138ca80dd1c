from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import MalformedMessage
from broadcaster.protocol.envelope import (
    HEADER_SIZE,
    NO_ID,
    START,
    Envelope,
    Flag,
    Position,
    decode_envelope,
    encode_envelope,
    encode_tail,
)

ids = st.binary(min_size=16, max_size=16)
socket_ids = st.one_of(st.just(""), st.from_regex(r"[0-9]{1,20}\.[0-9]{1,20}", fullmatch=True))
envelopes = st.builds(
    Envelope,
    st.integers(0, 255),
    st.integers(0, 2**63),
    st.integers(0, 2**63),
    ids,
    ids,
    socket_ids,
    st.binary(max_size=500),
)
EVENT = Envelope(Flag.NONE, 7, 1_700_000_000_000, b"e" * 16, b"p" * 16, "1.2", b'{"event":"x"}')


@given(envelopes)
def test_an_envelope_reads_back_as_it_was_written(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope


def test_the_layout_is_the_documented_one() -> None:
    data = encode_envelope(EVENT)

    assert HEADER_SIZE == 51
    assert data[0:2] == b"\x01\x00"
    assert int.from_bytes(data[2:10], "big") == 7
    assert int.from_bytes(data[10:18], "big") == 1_700_000_000_000
    assert data[18:34] == b"e" * 16
    assert data[34:50] == b"p" * 16
    assert data[50:54] == b"\x031.2"
    assert data[54:] == EVENT.frame


def test_the_tail_is_what_follows_the_predecessor() -> None:
    assert encode_tail("1.2", EVENT.frame) == encode_envelope(EVENT)[50:]
    assert encode_tail("", b"{}") == b"\x00{}"


@given(st.binary(max_size=120))
def test_any_bytes_are_an_envelope_or_malformed(data: bytes) -> None:
    try:
        envelope = decode_envelope(data)
    except MalformedMessage:
        return
    assert encode_envelope(envelope) == data


@given(envelopes, st.integers(0, 50))
def test_an_envelope_cut_inside_its_header_is_malformed(envelope: Envelope, length: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_envelope(encode_envelope(envelope)[:length])


def test_another_version_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="version 1"):
        decode_envelope(b"\x02" + encode_envelope(EVENT)[1:])


@pytest.mark.parametrize("tail", [b"\x05123", b"\x03\xff\xff\xff{}"])
def test_a_bad_excluded_socket_id_is_malformed(tail: bytes) -> None:
    with pytest.raises(MalformedMessage, match="socket id"):
        decode_envelope(encode_envelope(EVENT)[:50] + tail)


def test_the_start_comes_before_every_event() -> None:
    assert Position(0, NO_ID) == START
