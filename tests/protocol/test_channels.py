from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidChannel, InvalidSocketId
from broadcaster.protocol.channels import (
    MAX_CHANNEL_NAME,
    ChannelKind,
    check_socket_id,
    is_user_id,
    parse_channel,
    shown,
)

ALPHABET = "ABCxyz019_-=@,.;"


@pytest.mark.parametrize(
    ("name", "kind", "cache"),
    [
        ("orders", ChannelKind.PUBLIC, False),
        ("cache-orders", ChannelKind.PUBLIC, True),
        ("private-orders", ChannelKind.PRIVATE, False),
        ("private-cache-orders", ChannelKind.PRIVATE, True),
        ("private-encrypted-orders", ChannelKind.ENCRYPTED, False),
        ("private-encrypted-cache-orders", ChannelKind.ENCRYPTED, True),
        ("presence-chat", ChannelKind.PRESENCE, False),
        ("presence-cache-chat", ChannelKind.PRESENCE, True),
        ("#server-to-user-42", ChannelKind.USER, False),
        ("cache-private-x", ChannelKind.PUBLIC, True),
        ("presence-encrypted-x", ChannelKind.PRESENCE, False),
    ],
)
def test_a_prefix_says_what_a_channel_is(name: str, kind: ChannelKind, *, cache: bool) -> None:
    channel = parse_channel(name)

    assert (channel.name, channel.kind, channel.cache) == (name, kind, cache)


@pytest.mark.parametrize(
    "name", ["privateer", "private", "presences", "presence", "cached", "Private-x", "PRESENCE-x"]
)
def test_a_prefix_counts_with_its_dash_and_its_case(name: str) -> None:
    assert parse_channel(name).kind is ChannelKind.PUBLIC
    assert not parse_channel(name).cache


@pytest.mark.parametrize(
    ("name", "auth", "client_events", "presence"),
    [
        ("orders", False, False, False),
        ("private-x", True, True, False),
        ("private-encrypted-x", True, True, False),
        ("presence-x", True, True, True),
        ("#server-to-user-1", False, False, False),
    ],
)
def test_a_kind_says_what_it_takes_and_offers(
    name: str, *, auth: bool, client_events: bool, presence: bool
) -> None:
    channel = parse_channel(name)

    assert channel.needs_auth is auth
    assert channel.takes_client_events is client_events
    assert channel.is_presence is presence


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a b", "' '"),
        ("a:b", "':'"),
        (":user::{}", "':'"),
        ("private-x\n", r"'\\n'"),
        ("a\x00b", r"'\\x00'"),
        ("a{b}", "'{'"),
        ("a*", r"'\*'"),
        ("caf\u00e9", r"'\\xe9'"),
        ("private-\u0661", r"'\\u0661'"),
        ("a\ud800", r"'\\ud800'"),
        ("a/b", "'/'"),
        ("#", "reserved"),
        ("#other", "reserved"),
        ("#server-to-user-", "id of a user"),
        ("#server-to-user-a:b", "id of a user"),
        ("#server-to-user-" + "1" * 129, "id of a user"),
        ("##server-to-user-1", "reserved"),
    ],
)
def test_a_name_outside_the_grammar_is_refused_and_says_where(name: str, reason: str) -> None:
    with pytest.raises(InvalidChannel, match=reason):
        parse_channel(name)


def test_two_hundred_characters_are_allowed_and_one_more_is_not() -> None:
    assert parse_channel("x" * MAX_CHANNEL_NAME).name
    with pytest.raises(InvalidChannel, match="201 characters; 200 are allowed"):
        parse_channel("x" * (MAX_CHANNEL_NAME + 1))


@given(st.text(ALPHABET, min_size=1, max_size=200))
def test_every_name_of_the_alphabet_is_a_channel(name: str) -> None:
    assert parse_channel(name).name == name


@given(st.text(max_size=300))
def test_any_text_is_a_channel_or_an_invalid_one(name: str) -> None:
    try:
        channel = parse_channel(name)
    except InvalidChannel:
        return
    assert channel.name == name
    assert name.isascii()


@given(st.text(st.characters(exclude_characters=ALPHABET + "#", min_codepoint=128), min_size=1))
def test_a_refusal_shows_hostile_text_in_ascii(name: str) -> None:
    with pytest.raises(InvalidChannel) as caught:
        parse_channel(name)

    assert caught.value.message.isascii()


@pytest.mark.parametrize("socket_id", ["1.1", "1234.5678", "0.0", f"{'9' * 20}.{'9' * 20}"])
def test_a_socket_id_is_two_runs_of_digits_around_a_dot(socket_id: str) -> None:
    assert check_socket_id(socket_id) == socket_id


@pytest.mark.parametrize(
    "socket_id",
    [
        "",
        "1",
        "1.",
        ".1",
        "1.2.3",
        "1.2\n",
        " 1.2",
        "1,2",
        "-1.2",
        "1.2:private-y",
        "1.2::user::",
        "\u0661.\u0662",
        "\uff11.\uff12",
        "1.2\x00",
        f"{'9' * 21}.1",
    ],
)
def test_anything_else_is_an_invalid_socket_id(socket_id: str) -> None:
    with pytest.raises(InvalidSocketId) as caught:
        check_socket_id(socket_id)

    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("42", True),
        ("ada@example.com", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("\u0661", False),
    ],
)
def test_a_user_id_is_1_to_128_of_the_channel_alphabet(text: str, *, is_one: bool) -> None:
    assert is_user_id(text) is is_one


@given(st.text(max_size=200))
def test_hostile_text_is_shown_in_ascii_and_cut(text: str) -> None:
    found = shown(text)

    assert found.isascii()
    assert found.isprintable()
    assert len(found) <= 60 * len(r"\U0010ffff") + 5
