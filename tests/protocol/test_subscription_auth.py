from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.contracts.apps import App
from broadcaster.errors import BroadcasterError, InvalidSignature, MalformedMessage, ProtocolError
from broadcaster.protocol.signing import hmac_hex, sign_channel
from broadcaster.protocol.subscription_auth import (
    MAX_AUTH,
    AuthKind,
    Verified,
    classify,
    verify_signed,
)

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

APP = App(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
SOCKET = "1234.1234"
NOW = 1_700_000_000.0
DIGEST = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
MR_PUSHER = '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}'


def signed(channel: str, data: str | None = None) -> str:
    return sign_channel(APP.key, APP.secret, socket_id=SOCKET, channel=channel, channel_data=data)


def verify(auth: str, channel: str, data: str | None = None, **options: Any) -> Verified:
    usual: dict[str, Any] = {"socket_id": SOCKET, "now": NOW}
    return verify_signed(APP, auth=auth, channel=channel, channel_data=data, **{**usual, **options})


@pytest.mark.parametrize(
    ("auth", "kind"),
    [
        (f"key:{DIGEST}", AuthKind.HMAC),
        (f":{DIGEST}", AuthKind.HMAC),
        ("key:aa.bb.cc", AuthKind.JWT),
        ("key:a-_0.b.c", AuthKind.JWT),
        ("", AuthKind.MALFORMED),
        (DIGEST, AuthKind.MALFORMED),
        (f"key:{DIGEST.upper()}", AuthKind.MALFORMED),
        (f"key:{DIGEST}\n", AuthKind.MALFORMED),
        (f"key:{DIGEST}0", AuthKind.MALFORMED),
        (f"key:{DIGEST[:-1]}٤", AuthKind.MALFORMED),
        (f"a:b:{DIGEST}", AuthKind.MALFORMED),
        ("key:aa.bb.", AuthKind.MALFORMED),
        ("key:aa.bb", AuthKind.MALFORMED),
        ("key:aa.bb.cc.dd.ee", AuthKind.MALFORMED),
        ("key:aa.bb.cc=", AuthKind.MALFORMED),
        ("key: aa.bb.cc", AuthKind.MALFORMED),
        ("aa.bb.cc", AuthKind.MALFORMED),
        ("key:a.b." + "c" * MAX_AUTH, AuthKind.MALFORMED),
    ],
)
def test_the_shape_of_auth_alone_decides_how_it_is_verified(auth: str, kind: AuthKind) -> None:
    assert classify(auth) is kind


@fuzzed
@given(st.text(max_size=200))
def test_any_auth_has_a_kind(auth: str) -> None:
    assert classify(auth) in AuthKind
    assert classify(f"key:{auth}") in AuthKind


def test_published_vectors_verify() -> None:
    presence = "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"

    assert verify(f"{APP.key}:{DIGEST}", "private-foobar") == Verified()
    assert verify(f"{APP.key}:{presence}", "presence-foobar", MR_PUSHER) == Verified(
        MR_PUSHER, len('{"name":"Mr. Pusher"}'), "10"
    )


def test_claims_in_channel_data_say_who_since_when_and_until_when() -> None:
    data = '{"user_id": 42, "broadcaster": {"iat": 1699999999, "exp": 1700000001.5}}'

    assert verify(signed("private-x", data), "private-x", data) == Verified(
        None, 0, "42", 1_699_999_999, 1_700_000_001.5
    )
    assert verify(signed("presence-x", data), "presence-x", data) == Verified(
        '{"user_id":42}', 0, "42", 1_699_999_999, 1_700_000_001.5
    )


def test_an_expired_signature_is_refused_to_the_second() -> None:
    data = f'{{"user_id":"42","broadcaster":{{"exp":{int(NOW)}}}}}'
    auth = signed("private-x", data)

    assert verify(auth, "private-x", data, now=NOW - 0.1).expires_at == NOW
    with pytest.raises(InvalidSignature, match="expired") as caught:
        verify(auth, "private-x", data)
    assert caught.value.code == "auth_expired"


@pytest.mark.parametrize(
    "claims", ["1", "[]", '"x"', '{"exp":"1700000000"}', '{"exp":true}', '{"iat":[]}', "null"]
)
def test_claims_of_ours_in_another_shape_are_refused(claims: str) -> None:
    data = f'{{"user_id":"42","broadcaster":{claims}}}'

    with pytest.raises(MalformedMessage, match=r"channel_data\.broadcaster"):
        verify(signed("private-x", data), "private-x", data)


@pytest.mark.parametrize("data", ["", "hello", "[1]", "{", "7", '{"user_id":[1]}', "[" * 5_000])
def test_a_private_channel_takes_any_signed_text(data: str) -> None:
    """pusher-js's own suite signs data of its own choice for private channels."""
    assert verify(signed("private-x", data), "private-x", data) == Verified()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "hello",
        "[1]",
        "{}",
        '{"user_id":null}',
        '{"user_id":true}',
        '{"user_id":1.5}',
        '{"user_id":""}',
        '{"user_id":"a\\nb"}',
        '{"user_id":"\\u0000"}',
        json.dumps({"user_id": "x" * 129}),
        '{"user_id":1,"user_info":}',
        "[" * 5_000,
    ],
)
def test_a_presence_channel_takes_only_a_usable_member(data: str) -> None:
    with pytest.raises(MalformedMessage):
        verify(signed("presence-x", data), "presence-x", data)


def test_presence_without_a_member_needs_a_sign_in() -> None:
    auth = signed("presence-x")

    with pytest.raises(InvalidSignature) as caught:
        verify(auth, "presence-x")

    assert caught.value.code == "member_missing"
    assert verify(auth, "presence-x", signed_in=True) == Verified()


def test_channel_data_is_not_looked_at_before_the_signature_holds() -> None:
    with pytest.raises(InvalidSignature):
        verify(f"{APP.key}:{DIGEST}", "presence-x", "not json at all")


@fuzzed
@given(
    st.text(max_size=90),
    st.text(max_size=20),
    st.text(max_size=20),
    st.none() | st.text(max_size=40),
)
def test_any_subscription_is_verified_or_refused_as_ours(
    auth: str, socket_id: str, channel: str, data: str | None
) -> None:
    with pytest.raises(BroadcasterError):
        verify(auth, channel, data, socket_id=socket_id)


@fuzzed
@given(st.text(max_size=60), st.sampled_from(["private-x", "presence-x"]))
def test_any_signed_channel_data_is_usable_or_refused_as_ours(data: str, channel: str) -> None:
    try:
        text = f"{SOCKET}:{channel}:{data}".encode()
    except UnicodeEncodeError:
        text = b""

    try:
        verified = verify(f"{APP.key}:{hmac_hex(APP.secret, text)}", channel, data)
    except ProtocolError:
        return
    assert isinstance(verified, Verified)
