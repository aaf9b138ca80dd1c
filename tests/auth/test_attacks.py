"""
What an attacker would try, attack by attack, against signer and verifier alike.

S1 confusing what a signature is for; S2 reusing or altering a signed member; S3 crossing
apps; S18 forging grants. Beside each stands what may never happen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import jwt
import pusher  # type: ignore[import-not-found,unused-ignore]  # ships no type information
import pytest
from broadcaster_auth import Authorizer, Endpoint
from broadcaster_auth.tokens import mint
from broadcaster_auth.verifier import SubscriptionVerifier

from broadcaster.contracts.apps import App
from broadcaster.errors import (
    BroadcasterError,
    InvalidChannel,
    InvalidSignature,
    InvalidSocketId,
    InvalidToken,
)
from broadcaster.protocol.signing import hmac_hex, sign_channel, sign_user, verify_user
from tests.auth.grant_keys import SECRET, SHARED, app_with, key_pair, shared_key

if TYPE_CHECKING:
    from broadcaster.contracts.verifier import Verified

NOW = 1_700_000_000.0
APP = app_with()
SOCKET = "1234.1234"
VERIFIER = SubscriptionVerifier()
MEMBER = '{"user_id":"1","user_info":{"name":"Ada"}}'


def verify(
    auth: str, channel: str, data: str | None = None, *, app: App = APP, socket_id: str = SOCKET
) -> Verified:
    return VERIFIER.verify_subscription(
        app, auth=auth, socket_id=socket_id, channel=channel, channel_data=data, now=NOW
    )


def signed(channel: str, data: str | None = None, app: App = APP) -> str:
    return sign_channel(app.key, app.secret, socket_id=SOCKET, channel=channel, channel_data=data)


def raw(text: str, app: App = APP) -> str:
    """A signature over anything, as a careless backend would make it."""
    return f"{app.key}:{hmac_hex(app.secret, text.encode('utf-8', 'surrogatepass'))}"


BAD_CHANNELS = [
    ':user::{"id":"1"}',
    "private-a:b",
    "private-x:presence-y",
    "private-x\n",
    "private-x\x00",
    "private-x private-y",
    "private-é",
    "private-\u2010x",
    "private-\uff58",
    "private-x\ud800",
    "private-x/../y",
    "private-" + "x" * 200,
    "",
]
BAD_SOCKETS = [
    "1.2:private-y",
    "1234.1234:private-x",
    "١٢٣٤.١٢٣٤",
    "1234.\uff11\uff12\uff13\uff14",
    "1.2\n",
    "\n1.2",
    "1.2.3",
    "1",
    "",
    "-1.2",
    "1e3.2",
]


@pytest.mark.parametrize("channel", BAD_CHANNELS)
def test_s1_a_name_outside_the_grammar_is_neither_signed_nor_verified(channel: str) -> None:
    """`socket::user::data` is what a sign-in signs: such a name would forge an identity."""
    with pytest.raises(InvalidChannel):
        signed(channel)
    with pytest.raises(InvalidChannel):
        verify(raw(f"{SOCKET}:{channel}"), channel)
    rules = Authorizer()
    rules.add("{x}", lambda user, x: True)
    endpoint = Endpoint(app=APP, user=lambda request: 1, authorizer=rules)
    assert endpoint.respond({"socket_id": SOCKET, "channel_name": channel}, user=1).status == 400


@pytest.mark.parametrize("socket_id", BAD_SOCKETS)
def test_s1_a_socket_id_outside_the_grammar_is_neither_signed_nor_verified(socket_id: str) -> None:
    with pytest.raises(InvalidSocketId):
        sign_channel(APP.key, APP.secret, socket_id=socket_id, channel="private-x")
    with pytest.raises(InvalidSocketId):
        sign_user(APP.key, APP.secret, socket_id=socket_id, user_data='{"id":"1"}')
    with pytest.raises(InvalidSocketId):
        verify(raw(f"{socket_id}:private-x"), "private-x", socket_id=socket_id)


def test_s1_a_channel_signature_is_no_sign_in_and_a_sign_in_no_channel_signature() -> None:
    data = '{"id":"1"}'
    sign_in = sign_user(APP.key, APP.secret, socket_id=SOCKET, user_data=data)

    with pytest.raises(InvalidSignature):
        verify_user(
            signed("private-x", data),
            key=APP.key,
            secret=APP.secret,
            socket_id=SOCKET,
            user_data=data,
        )
    for channel in ("private-x", "presence-x", "private-user"):
        with pytest.raises(InvalidSignature):
            verify(sign_in, channel, data)


def test_s1_a_signature_in_any_other_spelling_is_refused() -> None:
    auth = signed("private-x")
    key, _, digest = auth.partition(":")

    assert verify(auth, "private-x")
    for other in (
        f"{key}:{digest.upper()}",
        f"{key}: {digest}",
        f"{key}:{digest} ",
        f"{key}:{digest}\n",
        f"{key}:{digest[:-1]}",
        f"{key}::{digest}",
        digest,
        f"{key}:",
        ":",
        "",
        f"{key}:{digest[:-1]}{chr(0x0660)}",
    ):
        with pytest.raises(InvalidSignature):
            verify(other, "private-x")


def test_s2_a_private_signature_does_not_open_the_presence_channel() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed("private-x"), "presence-x", MEMBER)
    with pytest.raises(InvalidSignature):
        verify(signed("private-x", MEMBER), "presence-x", MEMBER)
    with pytest.raises(InvalidSignature):
        verify(signed("presence-x", MEMBER), "private-x", MEMBER)


def test_s2_a_presence_channel_is_not_entered_without_a_member() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed("presence-x", MEMBER), "presence-x")
    with pytest.raises(InvalidSignature):
        verify(signed("presence-x"), "presence-x")


@pytest.mark.parametrize(
    "changed",
    [
        MEMBER.replace("Ada", "Eve"),
        MEMBER.replace('"1"', '"2"'),
        MEMBER + " ",
        MEMBER.replace(":", ": "),
        '{"user_info":{"name":"Ada"},"user_id":"1"}',
        '{"user_id":"1","user_info":{"name":"Ada"},"user_id":"2"}',
        MEMBER.replace("A", "\\u0041"),
        "",
        *(MEMBER[:at] + "x" + MEMBER[at + 1 :] for at in range(len(MEMBER))),
    ],
)
def test_s2_a_member_changed_by_one_byte_is_refused(changed: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(signed("presence-x", MEMBER), "presence-x", changed)
    with pytest.raises(InvalidSignature):
        verify(signed("private-x", MEMBER), "private-x", changed)


def test_s2_channel_data_cannot_be_added_to_or_taken_from_a_private_signature() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed("private-x"), "private-x", '{"user_id":"1"}')
    with pytest.raises(InvalidSignature):
        verify(signed("private-x", MEMBER), "private-x")


def test_s2_every_json_spelling_is_verified_as_it_was_sent() -> None:
    for data in (
        '{"user_id": "1", "user_info": {"name": "Ada"}}',
        '{"user_id":"1","user_info":{"url":"https:\\/\\/x.example","name":"Zo\\u00eb"}}',
        ' {"user_info":{"name":"Zoë"},"user_id":1} ',
    ):
        assert verify(signed("presence-x", data), "presence-x", data).user_id == "1"


def test_s3_a_signature_of_another_app_is_refused_in_one_shape() -> None:
    other = App(id="4", key="other", secret="another secret")
    forged = [
        signed("private-x", app=other),
        signed("private-x", app=App(id="3", key=APP.key, secret=other.secret)),
        signed("private-x", app=App(id="3", key=other.key, secret=APP.secret)),
        signed("private-x", app=App(id="3", key="", secret=APP.secret)),
    ]

    for auth in forged:
        with pytest.raises(InvalidSignature):
            verify(auth, "private-x")
    assert verify(signed("private-x", app=other), "private-x", app=other)


def test_s3_a_signature_of_another_connection_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed("private-x"), "private-x", socket_id="1234.1235")


def test_the_python_librarys_signatures_verify() -> None:
    library = pusher.Pusher(app_id=APP.id, key=APP.key, secret=APP.secret, host="localhost")

    private = library.authenticate(channel="private-x", socket_id=SOCKET)
    assert verify(private["auth"], "private-x")

    custom = {"user_id": 7, "user_info": {"name": "Zoë", "path": "/a"}}
    presence = library.authenticate(channel="presence-x", socket_id=SOCKET, custom_data=custom)
    verified = verify(presence["auth"], "presence-x", presence["channel_data"])
    assert verified.member_data is not None
    assert json.loads(verified.member_data) == custom

    user = library.authenticate_user(SOCKET, {"id": "7"})
    verify_user(
        user["auth"], key=APP.key, secret=SECRET, socket_id=SOCKET, user_data=user["user_data"]
    )


def test_the_python_library_signs_arabic_digits_and_we_do_not_take_them() -> None:
    library = pusher.Pusher(app_id=APP.id, key=APP.key, secret=APP.secret, host="localhost")
    socket_id = "١٢٣٤.١٢٣٤"

    auth = library.authenticate(channel="private-x", socket_id=socket_id)["auth"]

    with pytest.raises(InvalidSocketId):
        verify(auth, "private-x", socket_id=socket_id)


CLAIMS: dict[str, Any] = {
    "aud": "broadcaster:3",
    "sub": "1",
    "channels": ["private-x"],
    "iat": int(NOW),
    "exp": int(NOW) + 60,
}


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def forged(
    header: dict[str, Any], claims: dict[str, Any] | None = None, key: bytes = b"", digest: str = ""
) -> str:
    """A token made by hand, with none of a library's scruples."""
    body = f"{part(header)}.{part(CLAIMS if claims is None else claims)}"
    mac = hmac.new(key, body.encode(), digest or "sha256").digest()
    return f"{APP.key}:{body}.{part(mac)}"


def refused(auth: str, app: App = APP) -> str:
    with pytest.raises(BroadcasterError) as caught:
        verify(auth, "private-x", app=app)
    assert isinstance(caught.value, InvalidToken | InvalidSignature)
    return caught.value.code


def test_s18_the_forger_of_these_tests_can_make_a_good_token() -> None:
    good = forged({"alg": "HS256", "kid": "1"}, key=SHARED.encode())

    assert verify(good, "private-x").user_id == "1"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 1, [], {}])
def test_s18_no_algorithm_is_no_signature(alg: object) -> None:
    body = f"{part({'alg': alg, 'kid': '1'})}.{part(CLAIMS)}"

    assert refused(f"{APP.key}:{body}.") == "auth_malformed"
    assert refused(f"{APP.key}:{body}") == "auth_malformed"
    assert refused(forged({"alg": alg, "kid": "1"}, key=SHARED.encode())) in (
        "token_wrong_algorithm",
        "token_malformed",
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_s18_a_public_key_is_never_taken_for_a_shared_one(algorithm: str) -> None:
    public = key_pair(algorithm)[1]
    app = app_with(("1", algorithm, public))

    for key in (public, public.strip(), public.replace("\n", "")):
        assert refused(forged({"alg": "HS256", "kid": "1"}, key=key.encode()), app) == (
            "token_wrong_algorithm"
        )
        confused = forged({"alg": algorithm, "kid": "1"}, key=key.encode())
        assert refused(confused, app) == "token_bad_signature"


def test_s18_a_public_key_cannot_be_configured_as_a_shared_one() -> None:
    app = app_with(("1", "HS256", key_pair("RS256")[1]))

    assert refused(forged({"alg": "HS256", "kid": "1"}, key=b"x"), app) == "grants_off"


def test_s18_a_key_verifies_with_its_own_algorithm_only() -> None:
    for alg, digest in (("HS384", "sha384"), ("HS512", "sha512")):
        token = forged({"alg": alg, "kid": "1"}, key=SHARED.encode(), digest=digest)
        assert refused(token) == "token_wrong_algorithm"


@pytest.mark.parametrize(
    "kid",
    ["2", "../../dev/null", "/dev/null", "1' OR '1'='1", "1\x00", "", 1, ["1"], {"1": "1"}, True],
)
def test_s18_a_key_id_is_looked_up_and_nothing_else(kid: object) -> None:
    for key in (b"", SHARED.encode()):
        assert refused(forged({"alg": "HS256", "kid": kid}, key=key)) in (
            "token_unknown_key",
            "token_malformed",
        )


def test_s18_keys_that_a_token_brings_along_are_not_used() -> None:
    private, _ = key_pair("RS256")
    jwk = json.loads(
        jwt.algorithms.RSAAlgorithm.to_jwk(
            jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(private)
        )
    )
    headers = {"kid": "1", "jwk": jwk, "jku": "http://evil.example/keys", "x5u": "http://evil"}
    token = jwt.encode(CLAIMS, private, "RS256", headers=headers)

    assert refused(f"{APP.key}:{token}") == "token_wrong_algorithm"


@pytest.mark.parametrize("extra", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}])
def test_s18_headers_that_change_the_rules_are_refused(extra: dict[str, Any]) -> None:
    token = forged({"alg": "HS256", "kid": "1", **extra}, key=SHARED.encode())

    assert refused(token) == "token_malformed"


def test_s18_the_apps_secret_makes_no_grants_and_a_grant_key_no_signatures() -> None:
    assert refused(forged({"alg": "HS256", "kid": "1"}, key=SECRET.encode())) == (
        "token_bad_signature"
    )
    by_grant_key = sign_channel(APP.key, SHARED, socket_id=SOCKET, channel="private-x")
    assert refused(by_grant_key) == "auth_mismatch"


@pytest.mark.parametrize("claim", ["aud", "exp", "iat", "sub", "channels"])
def test_s18_a_grant_without_a_required_claim_is_refused(claim: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != claim}

    token = forged({"alg": "HS256", "kid": "1"}, claims, SHARED.encode())

    assert refused(token) == "token_bad_claim"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": int(NOW) - 1}, "token_expired"),
        ({"exp": int(NOW)}, "token_expired"),
        ({"iat": int(NOW) + 3_600, "exp": int(NOW) + 3_700}, "token_not_yet"),
        ({"nbf": int(NOW) + 3_600}, "token_not_yet"),
        ({"aud": "broadcaster:33"}, "token_wrong_audience"),
        ({"aud": "other:3"}, "token_wrong_audience"),
        ({"channels": ["private-y"]}, "token_wrong_channel"),
        ({"channels": ["*"]}, "token_wrong_channel"),
        ({"socket_id": "9.9"}, "token_wrong_socket"),
        ({"exp": float("inf")}, "token_bad_claim"),
        ({"exp": float("nan")}, "token_bad_claim"),
    ],
)
def test_s18_a_grant_for_something_else_is_refused(claims: dict[str, Any], code: str) -> None:
    token = forged({"alg": "HS256", "kid": "1"}, {**CLAIMS, **claims}, SHARED.encode())

    assert refused(token) == code


def test_s18_a_grant_changed_by_one_character_is_refused() -> None:
    token = mint(shared_key(), app_id="3", sub="1", channels=["private-x"], now=NOW, lifetime=60)
    # The last character of a part may carry unused bits, so it is left out.
    ends = {at - 1 for at, letter in enumerate(token) if letter == "."} | {len(token) - 1}

    for at, letter in enumerate(token):
        if letter == "." or at in ends:
            continue
        changed = token[:at] + ("A" if letter != "A" else "B") + token[at + 1 :]
        refused(f"{APP.key}:{changed}")


def test_s18_what_was_not_a_signature_is_never_tried_as_a_grant_and_vice_versa() -> None:
    digest = hashlib.sha256(b"x").hexdigest()

    assert refused(f"{APP.key}:{digest}") == "auth_mismatch"
    assert refused(f"{APP.key}:{digest}.{digest}.{digest}") == "token_malformed"
