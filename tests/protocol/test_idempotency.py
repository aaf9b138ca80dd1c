"""Idempotency keys: what is one, what its repeats share, and what nothing else shares."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import RequestRefused
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.http_api import Attributes, EventRequest, parse_batch, parse_event
from broadcaster.protocol.idempotency import Attempt, fingerprint, mismatch, parse_key

EVENT = EventRequest("greeting", "{}", (parse_channel("orders"),), "", Attributes())
ATTEMPT = Attempt("1", "key", bytes(32))


@pytest.mark.parametrize(
    ("sent", "signed", "key"),
    [
        ([], None, ""),
        ([b"a"], None, "a"),
        ([], "a", "a"),
        ([b"a", b"a"], "a", "a"),
        ([b'"8e03978e-40d5"'], None, '"8e03978e-40d5"'),
        ([b"a b~"], None, "a b~"),
        ([b"k" * 128], None, "k" * 128),
    ],
)
def test_a_key_comes_from_any_of_its_places(
    sent: list[bytes], signed: str | None, key: str
) -> None:
    assert parse_key(sent, signed) == key


@pytest.mark.parametrize(
    ("sent", "signed", "code"),
    [
        ([b"a", b"b"], None, "idempotency_key_ambiguous"),
        ([b"a"], "b", "idempotency_key_ambiguous"),
        ([b""], None, "invalid_idempotency_key"),
        ([b"k" * 129], None, "invalid_idempotency_key"),
        ([b"a\tb"], None, "invalid_idempotency_key"),
        (["\u00e9".encode()], None, "invalid_idempotency_key"),
        ([], "", "invalid_idempotency_key"),
        ([b"a"], "", "idempotency_key_ambiguous"),
        ([], "\u0661", "invalid_idempotency_key"),
        ([], "a\nb", "invalid_idempotency_key"),
    ],
)
def test_what_is_no_key_is_refused(sent: list[bytes], signed: str | None, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_key(sent, signed)

    assert (caught.value.code, caught.value.status) == (code, 400)


@given(st.lists(st.binary(max_size=140), max_size=3), st.text(max_size=140))
def test_any_bytes_are_a_key_or_refused(sent: list[bytes], signed: str) -> None:
    try:
        key = parse_key(sent, signed)
    except RequestRefused:
        return

    assert len(key) <= 128
    assert key.isascii()


def test_repeats_share_a_fingerprint_whenever_they_were_signed() -> None:
    early = {"auth_key": "k", "auth_timestamp": "1", "auth_signature": "a", "name": "n"}
    late = {"auth_key": "k", "auth_timestamp": "2", "auth_signature": "b", "name": "n"}

    assert fingerprint("POST events", "c", early, b"x") == fingerprint(
        "POST events", "c", late, b"x"
    )


def test_nothing_else_shares_it() -> None:
    prints = {
        fingerprint("POST events", "c", {}, b"x"),
        fingerprint("POST events", "c", {}, b"y"),
        fingerprint("POST events", "d", {}, b"x"),
        fingerprint("POST batch_events", "c", {}, b"x"),
        fingerprint("POST events", "c", {"name": "n"}, b"x"),
        fingerprint("POST events", "c", {"name": "m"}, b"x"),
        fingerprint("POST events", "cx", {}, b""),
        fingerprint("POST events", "", {}, b"cx"),
    }

    assert len(prints) == 8
    assert {len(one) for one in prints} == {32}


def test_every_attempt_publishes_under_the_same_ids() -> None:
    assert ATTEMPT.event_id(0, EVENT) == Attempt("1", "key", bytes(32)).event_id(0, EVENT)
    assert len(ATTEMPT.event_id(0, EVENT)) == 16


def test_other_apps_keys_places_and_events_have_other_ids() -> None:
    ids = {
        ATTEMPT.event_id(0, EVENT),
        ATTEMPT.event_id(1, EVENT),
        ATTEMPT._replace(app_id="2").event_id(0, EVENT),
        ATTEMPT._replace(key="other").event_id(0, EVENT),
        ATTEMPT.event_id(0, EVENT._replace(data="[]")),
        ATTEMPT.event_id(0, EVENT._replace(name="farewell")),
        ATTEMPT.event_id(0, EVENT._replace(socket_id="1.2")),
    }

    assert len(ids) == 7


def test_a_mismatch_names_the_key_and_what_to_do() -> None:
    refused = mismatch("key-1")

    assert (refused.status, refused.code) == (422, "idempotency_mismatch")
    assert "'key-1'" in refused.message


def test_the_body_may_carry_the_key_of_an_event_and_of_a_batch() -> None:
    item = {"name": "a", "data": "", "channel": "c"}
    single = json.dumps({**item, "idempotency_key": "k1"}).encode()
    several = json.dumps({"batch": [item], "idempotency_key": "k2"}).encode()

    assert parse_event(single, max_data_bytes=9, max_event_name=9).idempotency_key == "k1"
    assert parse_batch(several, max_data_bytes=9, max_event_name=9).idempotency_key == "k2"
