"""What a revocation refuses, and how it travels between nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidChannel, MalformedMessage
from broadcaster.protocol.revocation import (
    ALL_CHANNELS,
    KEPT_SECONDS,
    MAX_ITEMS,
    Revocation,
    RevocationTable,
    decode_revoked,
    encode_revoked,
    revocation,
)

NOW = 1_700_000_000.0
EVERYTHING = Revocation("42", ALL_CHANNELS, NOW, NOW + 100)
ORDERS = Revocation("42", "private-orders.*", NOW, NOW + 100)


def test_a_revocation_is_remembered_longer_than_any_grant_lives() -> None:
    made = revocation(42, None, now=NOW)

    assert made == Revocation("42", ALL_CHANNELS, NOW, NOW + KEPT_SECONDS)
    assert KEPT_SECONDS > 30 * 86_400


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 129, True, None, 1.5, object()])
def test_who_is_meant_must_be_a_user_id(user: object) -> None:
    with pytest.raises(MalformedMessage):
        revocation(user, None, now=NOW)


@pytest.mark.parametrize(
    "channel", ["", "orders.42", "*", "private-a b", "p*-x", "#server-to-user-1"]
)
def test_a_pattern_that_could_match_nothing_is_refused(channel: str) -> None:
    """A revocation that silently revokes nothing would be the worst of answers."""
    with pytest.raises(InvalidChannel):
        revocation("42", channel, now=NOW)


@pytest.mark.parametrize(
    ("item", "user", "channel", "issued_at", "refused", "ended"),
    [
        (EVERYTHING, "42", "private-x", NOW - 1, True, True),
        (EVERYTHING, "42", "private-x", NOW, True, True),
        (EVERYTHING, "42", "private-x", NOW + 0.1, False, False),
        (EVERYTHING, "42", "private-x", None, False, True),
        (EVERYTHING, "7", "private-x", NOW - 1, False, False),
        (ORDERS, "42", "private-orders.1", NOW - 1, True, True),
        (ORDERS, "42", "private-orders.1.2", NOW - 1, False, False),
        (ORDERS, "42", "private-x", None, False, False),
    ],
)
def test_an_authorization_is_refused_up_to_the_moment_of_its_revocation(
    item: Revocation,
    user: str,
    channel: str,
    issued_at: float | None,
    refused: bool,  # noqa: FBT001 - table
    ended: bool,  # noqa: FBT001 - table
) -> None:
    table = RevocationTable([item])

    assert table.refuses(user, channel, issued_at) is refused
    assert table.ends(user, channel, issued_at) is ended


def test_of_two_for_one_user_and_channel_the_later_counts() -> None:
    later = Revocation("42", ALL_CHANNELS, NOW + 5, NOW + 105)
    table = RevocationTable([later])

    assert table.add([EVERYTHING, later, ORDERS]) == [ORDERS]
    assert table.refuses("42", "private-x", NOW + 3)
    assert (len(table), set(table)) == (2, {later, ORDERS})


def test_a_table_forgets_what_has_expired() -> None:
    table = RevocationTable([EVERYTHING, ORDERS, Revocation("7", ALL_CHANNELS, NOW, NOW + 200)])

    table.forget(NOW + 100)

    assert [item.user for item in table] == ["7"]


def test_a_control_message_comes_back_as_it_was_sent() -> None:
    assert decode_revoked(encode_revoked([EVERYTHING, ORDERS])) == [EVERYTHING, ORDERS]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"type":"other","items":[]}',
        b'{"type":"revoked"}',
        b'{"type":"revoked","items":[{"user":42,"channel":"","at":1,"until":2}]}',
        b'{"type":"revoked","items":[{"user":"","channel":"","at":1,"until":2}]}',
        b'{"type":"revoked","items":[{"user":"42","channel":"","at":NaN,"until":2}]}',
        b'{"type":"revoked","items":[{"user":"42","channel":"","at":1e999,"until":2}]}',
        encode_revoked([EVERYTHING] * (MAX_ITEMS + 1)),
        b"[" * 10_000,
    ],
)
def test_another_shape_is_no_control_message(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_revoked(body)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_control_message_or_malformed(body: bytes) -> None:
    try:
        decode_revoked(body)
    except MalformedMessage:
        return
