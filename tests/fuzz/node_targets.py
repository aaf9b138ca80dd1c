"""What nodes, queues and Redis say to each other."""

from __future__ import annotations

import logging
import re
from contextlib import suppress

import hiredis
from hypothesis import strategies as st

from broadcaster.drivers.redis.outbox import read_note
from broadcaster.drivers.redis.resp import NOTHING, BrokenStream, PlainReader, Reader
from broadcaster.errors import (
    InvalidJob,
    MalformedMessage,
)
from broadcaster.protocol.envelope import NO_ID, Envelope, decode_envelope, encode_envelope
from broadcaster.protocol.fact_jobs import (
    Delivery,
    encode_delivery,
    encode_event,
    read_delivery,
    read_fact,
)
from broadcaster.protocol.facts import FACT_JOB, Fact
from broadcaster.protocol.payload import decode_payload, encode_payload
from broadcaster.protocol.revocation import RevocationTable, decode_revoked, encode_revoked
from tests.fuzz.json_inputs import encoded, objects, one_of_or_anything, scalars, values
from tests.fuzz.target import Target, refused

# -- between nodes ---------------------------------------------------------------------


def read_envelope(data: bytes) -> object:
    try:
        envelope = decode_envelope(data)
    except MalformedMessage as error:
        return refused(error)
    assert decode_envelope(encode_envelope(envelope)) == envelope
    return envelope.flags


envelopes = st.builds(
    lambda flags, offset, time_ms, ids, excluded, frame: encode_envelope(
        Envelope(flags, offset, time_ms, ids[:16], ids[16:], excluded, frame)
    ),
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["", "1.2", "1" * 255]),
    st.binary(max_size=40),
)
envelope = Target(
    name="envelope",
    check=read_envelope,
    inputs=envelopes,
    seeds=(encode_envelope(Envelope(0, 1, 2, NO_ID, NO_ID, "1.2", b'{"event":"e"}')),),
)


DELIVERY = encode_delivery(
    Delivery(
        url="https://x.example/",
        fact=Fact(id="0" * 32, app_id="1", name="cache_miss", channel="cache-a", time_ms=1),
    )
)


def read_job(data: bytes) -> object:
    outcomes: list[str] = []
    try:
        payload = decode_payload(data)
        with suppress(InvalidJob):  # what can be read need not be what we would write
            assert decode_payload(encode_payload(payload)) == payload
        outcomes.append("payload")
    except InvalidJob as error:
        outcomes.append(refused(error))
    try:
        read_delivery(data)
        outcomes.append("delivery")
    except InvalidJob as error:
        outcomes.append(refused(error))
    return outcomes


payload = Target(
    name="payload",
    check=read_job,
    inputs=encoded(
        objects(
            v=one_of_or_anything(1, 2),
            id=one_of_or_anything("0" * 32),
            job=one_of_or_anything("broadcaster.broadcast", "broadcaster.webhook"),
            data=values,
            tries=scalars,
            backoff=st.lists(scalars, max_size=2) | scalars,
            timeout=scalars,
        )
    ),
    seeds=(
        b'{"v":1,"id":"00000000000000000000000000000000","job":"a.b","data":{"x":1}}',
        DELIVERY,
    ),
)


def read_control(data: bytes) -> object:
    try:
        items = decode_revoked(data)
    except MalformedMessage as error:
        return refused(error)
    assert decode_revoked(encode_revoked(items)) == items
    table = RevocationTable(items)
    table.refuses("1", "private-a", 9.0)
    table.forget(9.0)
    assert len(table) <= len(items)
    return len(items)


control_message = Target(
    name="control_message",
    check=read_control,
    inputs=encoded(
        objects(
            type=one_of_or_anything("revoked"),
            items=st.lists(
                objects(
                    user=one_of_or_anything("1"),
                    channel=one_of_or_anything("", "private-*", "#"),
                    at=one_of_or_anything(1.5, 2),
                    until=one_of_or_anything(9.5),
                ),
                max_size=3,
            ),
        )
    ),
    seeds=(b'{"type":"revoked","items":[{"user":"1","channel":"","at":1.5,"until":9.5}]}',),
)


def read_fact_job(data: bytes) -> object:
    try:
        fact = read_fact(decode_payload(data))
    except InvalidJob as error:
        return refused(error)
    with suppress(InvalidJob):  # numbers that JSON has and msgspec does not write
        assert read_fact(decode_payload(encode_event(fact))) == fact
    return fact.name


facts = Target(
    name="fact",
    check=read_fact_job,
    inputs=encoded(
        objects(
            id=one_of_or_anything("0" * 32),
            app_id=one_of_or_anything("1"),
            name=one_of_or_anything("member_added", "client_event"),
            channel=one_of_or_anything("presence-a"),
            time_ms=one_of_or_anything(1),
            user_id=scalars,
            data=scalars,
        ).map(lambda said: {"v": 1, "id": "0" * 32, "job": FACT_JOB, "data": said})
    ),
    seeds=(
        (
            b'{"v":1,"id":"00000000000000000000000000000000","job":"broadcaster.fact","data":'
            b'{"id":"00000000000000000000000000000000","app_id":"1","name":"member_added",'
            b'"channel":"presence-a","time_ms":1,"user_id":"1"}}'
        ),
    ),
)


_OUTBOX_LOG = logging.getLogger("broadcaster.facts")


def read_outbox(data: bytes) -> object:
    _OUTBOX_LOG.disabled = True  # where it says of each that it is none
    try:
        note = read_note(data)
    finally:
        _OUTBOX_LOG.disabled = False
    assert note.text == data
    return None if note.fact is None else note.fact.name


notes = Target(
    name="note",
    check=read_outbox,
    inputs=st.tuples(
        st.integers(-1, 2**70).map(str) | st.text(max_size=4),
        st.sampled_from(["member_added", "channel_vacated", "subscription_count", "cache_miss"])
        | st.text(max_size=8),
        st.integers(-1, 2**70).map(str) | st.text(max_size=4),
        st.text(max_size=6),
        st.text(max_size=12),
        st.integers(-1, 2**70).map(str) | st.text(max_size=8),
    ).map(lambda parts: "\0".join(parts).encode()),
    seeds=(
        b"7\0member_added\x001\x001\0presence-a\x0042",
        b"8\0subscription_count\x001\x001\0a\x003",
        b"!",
    ),
)

# -- Redis -----------------------------------------------------------------------------


def replies(reader: Reader, chunks: list[bytes]) -> list[str]:
    found: list[str] = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while (reply := reader.gets()) is not NOTHING:
                found.append(re.sub(r"\w*ReplyError", "ReplyError", repr(reply)))
        # (TypeError: hiredis makes a set of what cannot be in one)
        except (BrokenStream, hiredis.ProtocolError, TypeError):
            return [*found, "broken"]
    return found


def read_replies(data: bytes) -> object:
    """The same replies however they are cut, and those of hiredis where both can read it."""
    data = data[:600]
    whole = replies(PlainReader(), [data])
    assert replies(PlainReader(), [data[:7], data[7:30], data[30:]]) == whole
    theirs = replies(hiredis.Reader(notEnoughData=NOTHING), [data])
    if "broken" not in whole + theirs:
        assert theirs == whole
    return len(whole)


resp = Target(
    name="resp",
    check=read_replies,
    inputs=st.lists(
        st.sampled_from(
            [
                b"+OK\r\n",
                b"-ERR x\r\n",
                b":1\r\n",
                b"$3\r\nabc\r\n",
                b"*2\r\n",
                b"$-1\r\n",
                b"*-1\r\n",
            ]
        )
        | st.integers(-3, 9).map(lambda n: b"$%d\r\n" % n)
        | st.binary(max_size=6),
        max_size=8,
    ).map(b"".join),
    seeds=(
        b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n",
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        b"+PONG\r\n",
    ),
)

TARGETS = (envelope, payload, control_message, facts, notes, resp)
