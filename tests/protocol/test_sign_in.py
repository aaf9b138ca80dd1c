"""Who a sign-in says it is, and what they watch."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidSignature, MalformedMessage
from broadcaster.protocol.app import App
from broadcaster.protocol.channels import is_user_id
from broadcaster.protocol.messages import SignIn
from broadcaster.protocol.sign_in import User, parse_user_data, verify_sign_in
from broadcaster.protocol.signing import sign_user

APP = App(id="1", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")


def user_of(max_watched: int = 100, **fields: object) -> User:
    return parse_user_data(json.dumps({"id": "ada", **fields}), max_watched=max_watched)


def test_the_published_vector_signs_in() -> None:
    digest = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    message = SignIn(f"{APP.key}:{digest}", '{"id":"12345"}')

    assert verify_sign_in(APP, "1234.1234", message).id == "12345"


@pytest.mark.parametrize("socket_id", ["1234.1235", "1234.12341"])
def test_a_signature_holds_for_its_own_socket_alone(socket_id: str) -> None:
    auth = sign_user(APP.key, APP.secret, socket_id="1234.1234", user_data='{"id":"1"}')

    with pytest.raises(InvalidSignature):
        verify_sign_in(APP, socket_id, SignIn(auth, '{"id":"1"}'))


def test_the_exact_text_is_signed_and_not_its_meaning() -> None:
    auth = sign_user(APP.key, APP.secret, socket_id="1.1", user_data='{"id":"1"}')

    with pytest.raises(InvalidSignature):
        verify_sign_in(APP, "1.1", SignIn(auth, '{"id": "1"}'))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "not JSON"),
        ("[]", "non-empty string 'id'"),
        ("{}", "non-empty string 'id'"),
        ('{"id":7}', "non-empty string 'id'"),
        ('{"id":""}', "non-empty string 'id'"),
        ('{"id":null}', "non-empty string 'id'"),
        ("[" * 5_000, "nested too deeply"),
        ('{"id":"a","user_info":' + "[" * 5_000, "nested too deeply"),
        ('{"id":"a","user_info":nul}', "not JSON"),
        ("\ud800", "not JSON"),
        ("7", "non-empty string 'id'"),
        ('{"id":"a b"}', "cannot carry"),
        ('{"id":"a\\n"}', "cannot carry"),
        ('{"id":"' + "x" * 129 + '"}', "longer than 128"),
        ('{"id":"\\u0661"}', "cannot carry"),
    ],
)
def test_what_names_no_user_is_malformed(text: str, cause: str) -> None:
    with pytest.raises(MalformedMessage, match=cause):
        parse_user_data(text, max_watched=100)


@given(st.text(max_size=60))
def test_any_text_is_a_user_or_malformed(text: str) -> None:
    for candidate in (text, '{"id":' + text + "}", '{"id":"a","watchlist":' + text + "}"):
        try:
            user = parse_user_data(candidate, max_watched=2)
        except MalformedMessage:
            continue
        assert is_user_id(user.id)
        assert len(user.watchlist) <= 2


def test_an_id_may_fill_its_channel_name() -> None:
    assert user_of(id="x" * 128).id == "x" * 128


def test_user_info_is_what_presence_channels_show() -> None:
    user = parse_user_data('{"id":"7","user_info":{"name": "Ada"}}', max_watched=1)

    assert user.member_data == '{"user_id":"7","user_info":{"name": "Ada"}}'
    assert user.info_size == len('{"name": "Ada"}')


def test_a_user_without_info_is_a_member_without_info() -> None:
    assert user_of().member_data == '{"user_id":"ada"}'


# -- watchlist ------------------------------------------------------------------------


def test_a_watchlist_names_each_user_once() -> None:
    user = user_of(watchlist=["b", "a", "b"])

    assert (user.watchlist, user.complaint) == (("b", "a"), "")


@pytest.mark.parametrize("watchlist", [None, []])
def test_an_empty_watchlist_is_none(watchlist: object) -> None:
    assert user_of(watchlist=watchlist)[3:] == ((), "")


def test_what_is_over_the_limit_is_left_out_and_the_accepted_are_named() -> None:
    user = user_of(2, watchlist=["a", "b", "c"])

    assert user.watchlist == ("a", "b")
    assert user.complaint == "3 users are over the limit of 2; watched are: a, b"


@pytest.mark.parametrize("bad", [7, None, "", "a b", ["a"], {"id": "a"}, "x" * 129])
def test_an_entry_that_is_no_user_id_is_left_out_and_said(bad: object) -> None:
    user = user_of(watchlist=["a", bad])

    assert user.watchlist == ("a",)
    assert user.complaint.startswith("1 of 2 entries are not user ids (")
    assert user.complaint.endswith("; watched are: a")


@pytest.mark.parametrize("bad", ["a", 7, {"a": 1}, True])
def test_a_watchlist_that_is_no_list_watches_nobody(bad: object) -> None:
    user = user_of(watchlist=bad)

    assert user.watchlist == ()
    assert "must be a list of user ids" in user.complaint


def test_an_app_that_allows_no_watchlists_says_so() -> None:
    user = user_of(0, watchlist=["a"])

    assert user.complaint == "1 users are over the limit of 0; watched are: nobody"
