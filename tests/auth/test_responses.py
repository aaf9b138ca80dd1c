from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from broadcaster_auth.authorizer import Allowed
from broadcaster_auth.members import Member
from broadcaster_auth.responses import channel_answer, user_answer

from broadcaster.errors import InvalidPayload, NotConfigured
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.signing import verify_user
from broadcaster.protocol.subscription_auth import verify_signed
from tests.auth.grant_keys import app_with

APP = app_with()
SOCKET = "1234.1234"
NOW = 1_700_000_000.75
EXP = 1_700_086_400


def answer(channel: str, user_id: str | None = "42", member: Member | None = None, **options):  # type: ignore[no-untyped-def]  # options are passed through
    allowed = Allowed(parse_channel(channel), user_id, member)
    app = options.pop("app", APP)
    return channel_answer(app, allowed, socket_id=SOCKET, now=NOW, **options)


def test_a_private_answer_signs_who_since_when_and_until_when() -> None:
    made = answer("private-x")

    assert made["channel_data"] == (
        f'{{"user_id":"42","broadcaster":{{"iat":1700000000,"exp":{EXP}}}}}'
    )
    verified = verify_signed(
        APP, auth=made["auth"], socket_id=SOCKET, channel="private-x",
        channel_data=made["channel_data"], now=NOW,
    )  # fmt: skip
    assert (verified.user_id, verified.issued_at, verified.expires_at) == ("42", 1_700_000_000, EXP)


def test_a_presence_answer_keeps_the_json_type_of_the_id() -> None:
    for user_id in (10, "10"):
        made = answer("presence-x", "10", Member(user_id, {"name": "Zoë"}))

        data = json.loads(made["channel_data"])
        assert data["user_id"] == user_id
        assert data["user_info"] == {"name": "Zoë"}
        verified = verify_signed(
            APP, auth=made["auth"], socket_id=SOCKET, channel="presence-x",
            channel_data=made["channel_data"], now=NOW,
        )  # fmt: skip
        assert verified.member_data == json.dumps(
            {"user_id": user_id, "user_info": {"name": "Zoë"}},
            separators=(",", ":"),
            ensure_ascii=False,
        )


def test_without_claims_answers_are_those_of_any_pusher_library() -> None:
    assert set(answer("private-foobar", claims=False)) == {"auth"}
    assert answer("private-foobar", claims=False)["auth"].endswith(
        ":58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    )
    made = answer("presence-foobar", "10", Member(10, {"name": "Mr. Pusher"}), claims=False)
    assert made["channel_data"] == '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}'
    assert made["auth"].endswith(
        ":afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"
    )


def test_a_subscription_may_stand_for_ever() -> None:
    assert json.loads(answer("private-x", ttl=None)["channel_data"]) == {
        "user_id": "42",
        "broadcaster": {"iat": 1_700_000_000},
    }


def test_a_user_without_an_id_still_gets_an_expiry() -> None:
    assert json.loads(answer("private-x", None)["channel_data"]) == {
        "broadcaster": {"iat": 1_700_000_000, "exp": EXP}
    }


@pytest.mark.parametrize("channel", ["private-encrypted-x", "private-encrypted-cache-x"])
def test_the_answer_for_an_encrypted_channel_has_its_secret(channel: str) -> None:
    key = bytes(range(32))

    made = answer(channel, app=replace(APP, encryption_key=key))

    secret = hashlib.sha256(channel.encode() + key).digest()
    assert base64.b64decode(made["shared_secret"]) == secret
    assert made["auth"] == answer(channel, app=replace(APP, encryption_key=bytes(32)))["auth"]


@pytest.mark.parametrize("channel", ["private-x", "private-cache-x", "private-encrypted"])
def test_no_other_answer_has_a_secret(channel: str) -> None:
    assert "shared_secret" not in answer(channel, app=replace(APP, encryption_key=bytes(32)))


def test_without_a_master_key_the_error_names_the_setting() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ENCRYPTION_KEY"):
        answer("private-encrypted-x")


def test_a_sign_in_is_signed_with_a_text_id() -> None:
    made = user_answer(APP, {"id": 42, "user_info": {"name": "Ada"}}, socket_id=SOCKET)

    assert made["user_data"] == '{"id":"42","user_info":{"name":"Ada"}}'
    verify_user(
        made["auth"],
        key=APP.key,
        secret=APP.secret,
        socket_id=SOCKET,
        user_data=made["user_data"],
    )


def test_the_published_sign_in_vector_is_reproduced() -> None:
    made = user_answer(APP, {"id": "12345"}, socket_id=SOCKET)

    assert made["auth"].endswith(
        ":4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"id": ""},
        {"id": None},
        {"id": True},
        {"id": False},
        {"id": 1.5},
        {"id": "a:b"},
        {"id": "a b"},
        {"id": "1", "x": object()},
        {"id": "1", "x": "\ud800"},
        {"id": "1", "x": SimpleNamespace()},
    ],
)
def test_user_data_that_no_client_could_use_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidPayload):
        user_answer(APP, data, socket_id=SOCKET)
