"""The jobs that facts become."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidJob
from broadcaster.protocol.fact_jobs import (
    EVENT_JOB,
    Delivery,
    delivery_id,
    encode_delivery,
    encode_event,
    event_id,
    read_delivery,
    read_fact,
)
from broadcaster.protocol.facts import FACT_JOB, Fact
from broadcaster.protocol.payload import Payload, decode_payload, encode_payload

FACT = Fact(
    id="a" * 32,
    app_id="1",
    name="client_event",
    channel="private-a",
    time_ms=5,
    event="client-x",
    data='{"a":"ü"}',
    socket_id="1.2",
)
URL = "https://example.com/x"


def test_a_delivery_comes_back_as_it_was() -> None:
    delivery = Delivery(url=URL, fact=FACT)

    assert read_delivery(encode_delivery(delivery)) == delivery


def test_an_event_comes_back_as_it_was() -> None:
    payload = decode_payload(encode_event(FACT))

    assert (payload.job, payload.id) == (EVENT_JOB, event_id(FACT))
    assert read_fact(payload) == FACT


def test_ids_follow_from_fact_and_receiver() -> None:
    other = msgspec.structs.replace(FACT, id="b" * 32)
    ids = [delivery_id(FACT, URL), delivery_id(FACT, URL + "2"), delivery_id(other, URL)]

    assert delivery_id(FACT, URL) == ids[0]
    assert len({*ids, event_id(FACT), event_id(other)}) == 5
    assert decode_payload(encode_delivery(Delivery(url=URL, fact=FACT))).id == ids[0]


@pytest.mark.parametrize("data", [{}, {"url": URL}, {"url": URL, "fact": {}}, {"fact": "x"}])
def test_what_is_no_delivery_is_refused(data: dict[str, object]) -> None:
    body = encode_payload(Payload(id="a" * 32, job="broadcaster.webhook", data=data))

    with pytest.raises(InvalidJob, match="carries no webhook"):
        read_delivery(body)


def test_a_job_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidJob, match="another kind"):
        read_delivery(encode_event(FACT))
    with pytest.raises(InvalidJob, match="carries no fact"):
        read_fact(Payload(id="a" * 32, job=FACT_JOB, data={"name": "nothing"}))


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(InvalidJob):
        read_delivery(body)
