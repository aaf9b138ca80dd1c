from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth.tokens import mint
from broadcaster_auth.verifier import SubscriptionVerifier

from broadcaster.contracts.apps import StaticApps
from broadcaster.errors import BroadcasterError, InvalidSignature, InvalidToken
from broadcaster.protocol.signing import sign_channel
from tests.auth.grant_keys import SHARED, app_with, shared_key

if TYPE_CHECKING:
    from broadcaster.contracts.apps import App
    from broadcaster.contracts.verifier import Verified, Verifier

NOW = 1_700_000_000.0
APP = app_with()
SOCKET = "1234.5678"
VERIFIER: Verifier = SubscriptionVerifier()
INFO = {"name": "Ada", "age": 36}


def grant(*channels: str, **options: Any) -> str:
    usual: dict[str, Any] = {"app_id": APP.id, "sub": "42", "now": NOW, "lifetime": 60}
    return f"{APP.key}:{mint(shared_key(), channels=channels, **{**usual, **options})}"


def verify(
    auth: str, channel: str, channel_data: str | None = None, app: App = APP, **options: Any
) -> Verified:
    usual: dict[str, Any] = {"socket_id": SOCKET, "now": NOW}
    return VERIFIER.verify_subscription(
        app, auth=auth, channel=channel, channel_data=channel_data, **{**usual, **options}
    )


def code_of(*args: Any, **options: Any) -> str:
    with pytest.raises(BroadcasterError) as caught:
        verify(*args, **options)
    return caught.value.code


def test_one_grant_admits_to_many_channels_and_after_reconnects() -> None:
    auth = grant("private-orders.42", "private-news.*")

    for channel in ("private-orders.42", "private-news.sport"):
        for socket in (SOCKET, "9.9"):
            verified = verify(auth, channel, socket_id=socket)
            assert verified.member_data is None
            assert (verified.user_id, verified.issued_at) == ("42", NOW)
            assert verified.expires_at == NOW + 60


def test_the_member_is_the_subject_of_the_grant() -> None:
    verified = verify(grant("presence-chat.*", info=INFO), "presence-chat.1")

    assert verified.member_data is not None
    assert json.loads(verified.member_data) == {"user_id": "42", "user_info": INFO}
    assert verified.info_size == len('{"name":"Ada","age":36}')
    assert verified.user_id == "42"


@pytest.mark.parametrize(
    "data",
    [
        '{"user_id":"42","user_info":{"name":"Ada","age":36}}',
        '{"user_info": {"age": 36, "name": "Ada"}, "user_id": "42"}',
        '{"user_id":42,"user_info":{"name":"Ada","age":36}}',
    ],
)
def test_channel_data_that_says_the_same_as_the_grant_is_fine(data: str) -> None:
    auth = grant("presence-chat", "private-x", info=INFO)

    assert verify(auth, "presence-chat", data).user_id == "42"
    assert verify(auth, "private-x", data).user_id == "42"


@pytest.mark.parametrize(
    "data",
    [
        '{"user_id":"43","user_info":{"name":"Ada","age":36}}',
        '{"user_id":"42","user_info":{"name":"Eve","age":36}}',
        '{"user_id":"42","user_info":{"name":"Ada","age":"36"}}',
        '{"user_id":"42","user_info":{"name":"Ada","age":true}}',
        '{"user_id":"42","user_info":{"name":"Ada","age":36},"admin":true}',
        '{"user_id":"42"}',
        '{"user_id":true}',
        "{}",
        "[]",
        "null",
        "",
        "{",
        "[" * 5_000,
    ],
)
def test_channel_data_that_says_anything_else_is_refused(data: str) -> None:
    """Nobody signed it: a client could otherwise name itself."""
    auth = grant("presence-chat", "private-x", info=INFO)

    assert code_of(auth, "presence-chat", data) == "token_member_mismatch"
    assert code_of(auth, "private-x", data) == "token_member_mismatch"


def test_a_grant_without_info_makes_a_member_without_info() -> None:
    verified = verify(grant("presence-chat"), "presence-chat", '{"user_id":"42"}')

    assert (verified.member_data, verified.info_size) == ('{"user_id":"42"}', 0)


def test_a_grant_for_one_connection_admits_no_other() -> None:
    auth = grant("private-x", socket_id=SOCKET)

    assert verify(auth, "private-x").user_id == "42"
    assert code_of(auth, "private-x", socket_id="1234.5679") == "token_wrong_socket"


def test_a_grant_under_another_apps_key_is_refused() -> None:
    token = grant("private-x").partition(":")[2]

    assert code_of(f"other:{token}", "private-x") == "auth_wrong_key"
    assert code_of(f":{token}", "private-x") == "auth_wrong_key"
    assert code_of(f"\ud800:{token}", "private-x") == "auth_wrong_key"
    assert code_of(token, "private-x") == "auth_malformed"


def test_an_app_without_usable_grant_keys_takes_no_grants_but_still_signatures() -> None:
    for app in (app_with(("1", "HS256", "short")), app_with(("1", "RS256", SHARED))):
        assert code_of(grant("private-x"), "private-x", app=app) == "grants_off"
        signed = sign_channel(app.key, app.secret, socket_id=SOCKET, channel="private-x")
        assert verify(signed, "private-x", app=app).user_id is None


def test_signatures_are_verified_as_ever() -> None:
    data = '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}'
    signed = sign_channel(
        APP.key, APP.secret, socket_id=SOCKET, channel="presence-x", channel_data=data
    )

    assert verify(signed, "presence-x", data).member_data == data
    with pytest.raises(InvalidSignature):
        verify(signed, "presence-y", data)


def test_a_refused_grant_is_explained() -> None:
    auth = grant("private-*")

    def explained(channel: str) -> str:
        options: dict[str, Any] = {
            "auth": auth,
            "socket_id": SOCKET,
            "channel": channel,
            "channel_data": None,
            "now": NOW,
        }
        with pytest.raises(InvalidToken) as caught:
            VERIFIER.verify_subscription(APP, **options)
        return VERIFIER.explain_refusal(APP, StaticApps(APP), caught.value, **options)

    assert "matches no encrypted channel" in explained("private-encrypted-x")
    assert "stays between two dots" in explained("private-x.y")


def test_what_explains_itself_is_passed_on() -> None:
    error = InvalidToken("the grant expired 3 s ago", code="token_expired")

    assert (
        VERIFIER.explain_refusal(
            APP,
            StaticApps(APP),
            error,
            auth="",
            socket_id=SOCKET,
            channel="private-x",
            channel_data=None,
            now=NOW,
        )
        == error.message
    )
