from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.contracts.apps import App, StaticApps
from broadcaster.errors import BroadcasterError, InvalidSignature, InvalidToken
from broadcaster.protocol.hmac_verifier import HmacVerifier
from broadcaster.protocol.signing import hmac_hex, sign_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.verifier import Verifier

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

APP = App(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
OTHER = App(id="4", key="other-key", secret="other-secret")
SOCKET = "1234.5678"
DATA = '{"user_id":"1","user_info":{"path":"/a","name":"Zoë"}}'
VERIFIER: Verifier = HmacVerifier()


class ListedApps(StaticApps):
    def __iter__(self) -> Iterator[App]:
        return iter((APP, OTHER))


def explained(auth: str, *, channel: str = "private-x", data: str | None = None) -> str:
    options: dict[str, Any] = {
        "auth": auth,
        "socket_id": SOCKET,
        "channel": channel,
        "channel_data": data,
        "now": 0.0,
    }
    with pytest.raises(BroadcasterError) as caught:
        VERIFIER.verify_subscription(APP, **options)
    said = VERIFIER.explain_refusal(APP, ListedApps(APP, OTHER), caught.value, **options)
    assert APP.secret not in said
    return said


def over(text: str, secret: str = APP.secret) -> str:
    return f"{APP.key}:{hmac_hex(secret, text.encode())}"


def test_a_good_signature_is_verified() -> None:
    auth = sign_channel(APP.key, APP.secret, socket_id=SOCKET, channel="private-x")

    VERIFIER.verify_subscription(
        APP, auth=auth, socket_id=SOCKET, channel="private-x", channel_data=None, now=0
    )


def test_grants_are_for_another_verifier() -> None:
    with pytest.raises(InvalidToken) as caught:
        VERIFIER.verify_subscription(
            APP,
            auth=f"{APP.key}:a.b.c",
            socket_id=SOCKET,
            channel="private-x",
            channel_data=None,
            now=0,
        )

    assert caught.value.code == "grants_off"


@pytest.mark.parametrize(
    ("auth", "cause"),
    [
        ("", "sent no auth"),
        ("nonsense", "is neither"),
        (over("x").partition(":")[2], "lacks the app key in front"),
        ("a.b.c", "lacks the app key in front"),
        (over("x").replace(APP.key, "K").upper(), "capital letters"),
        (f"{OTHER.key}:{'0' * 64}", "for another app of this server"),
        (f"stranger:{'0' * 64}", "an app this server does not know"),
        (over(f"{SOCKET}:x"), "without its prefix"),
        (over(f"{SOCKET}:presence-x"), "signed for 'presence-x', not for 'private-x'"),
        (over(f"{SOCKET}:private-encrypted-x"), "signed for 'private-encrypted-x'"),
        (over(":private-x"), "signed for the socket_id ''"),
        (over("undefined:private-x"), "signed for the socket_id 'undefined'"),
        (over("5678.1234:private-x"), "signed for the socket_id '5678.1234'"),
        (over(f"{SOCKET}:private-x:"), "empty channel_data"),
        (over(f"{SOCKET}:private-x", OTHER.secret), "the secret of another app"),
        (over(f"{SOCKET}:private-x", APP.secret + "\n"), "ends in a line break"),
        (over("9.9:private-x"), "another socket_id"),
    ],
)
def test_the_cause_of_a_refusal_is_found(auth: str, cause: str) -> None:
    assert cause in explained(auth)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"{SOCKET}:presence-x", "does not cover the channel_data"),
        (f"{SOCKET}::user::{DATA}", "the signature of a sign-in"),
        (f"{SOCKET}:presence-x:{json.dumps(json.loads(DATA))}", "encoded again"),
        (
            f"{SOCKET}:presence-x:"
            + json.dumps(json.loads(DATA), separators=(",", ":")).replace("/", "\\/"),
            "encoded again",
        ),
        (f"{SOCKET}:presence-x:{json.dumps(json.loads(DATA), sort_keys=True)}", "encoded again"),
        (f"{SOCKET}:x:{DATA}", "without its prefix"),
        (f"{SOCKET}:private-x:{DATA}", "signed for 'private-x'"),
    ],
)
def test_the_cause_is_found_where_there_is_channel_data(text: str, cause: str) -> None:
    assert cause in explained(over(text), channel="presence-x", data=DATA)


def test_an_expired_signature_says_so_itself() -> None:
    data = '{"user_id":"1","broadcaster":{"exp":-5}}'

    assert "expired 5 s ago" in explained(over(f"{SOCKET}:private-x:{data}"), data=data)


@fuzzed
@given(st.text(max_size=80), st.none() | st.text(max_size=30))
def test_explaining_never_raises(auth: str, data: str | None) -> None:
    for code in ("auth_missing", "auth_malformed", "auth_wrong_key", "auth_mismatch", "other"):
        said = VERIFIER.explain_refusal(
            APP,
            ListedApps(APP, OTHER),
            InvalidSignature("because", code=code),
            auth=auth,
            socket_id=SOCKET,
            channel="presence-x",
            channel_data=data,
            now=0,
        )
        assert said
        assert said.isascii() or code == "other"
