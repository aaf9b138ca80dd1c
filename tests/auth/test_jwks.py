"""Keys of a JWK Set: each for one algorithm, and none that does not belong there."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from broadcaster_auth.jwks import load_jwks
from broadcaster_auth.tokens import load_key, mint
from broadcaster_auth.verifier import SubscriptionVerifier
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from broadcaster.contracts.public_keys import KeyDocument
from broadcaster.drivers.http.jwks import HttpPublicKeys
from broadcaster.errors import AuthorizationPending, InvalidToken, MalformedMessage
from tests.auth.grant_keys import SECRET, SHARED, app_with, key_pair

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000.0
URL = "https://id.example/keys"
APP = replace(app_with(), jwks_url=URL)
PUBLIC_ONLY = replace(APP, grant_keys=())
CHANNEL = "private-orders.42"


def jwk_of(algorithm: str, kid: str | None = "k1", **changes: Any) -> dict[str, Any]:
    """The public key of `key_pair(algorithm)` as a JWK; None takes a field away."""
    kind: Any = {"R": RSAAlgorithm, "P": RSAAlgorithm, "E": ECAlgorithm}[algorithm[0]]
    if algorithm == "EdDSA":
        kind = OKPAlgorithm
    jwk = {**kind.to_jwk(public_key(algorithm), as_dict=True), "kid": kid, **changes}
    jwk.pop("key_ops", None) if "key_ops" not in changes else None
    return {name: value for name, value in jwk.items() if value is not None}


@cache
def public_key(algorithm: str) -> Any:
    """To load a private key costs as much as a hundred other steps of these tests."""
    return load_pem_private_key(key_pair(algorithm)[0].encode(), None).public_key()


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def grant(algorithm: str = "RS256", kid: str = "k1", **options: Any) -> str:
    key = load_key(kid, algorithm, key_pair(algorithm)[0], app_secret=SECRET)
    usual: dict[str, Any] = {"app_id": APP.id, "sub": "42", "now": NOW, "lifetime": 60}
    return f"{APP.key}:{mint(key, channels=[CHANNEL], **{**usual, **options})}"


class Keys:
    """Key documents in memory; notes what is asked for."""

    def __init__(self, body: bytes | None = None, read_at: float = NOW - 5) -> None:
        self.known = None if body is None else KeyDocument(body, read_at)
        self.asked: list[str] = []

    def find(self, url: str) -> KeyDocument | None:
        assert url == URL
        return self.known

    def refresh(self, url: str) -> None:
        self.asked.append(url)

    def on_read(self, callback: Callable[[], None]) -> None: ...

    async def run(self) -> None: ...


def verify(keys: Keys, auth: str, **options: Any) -> str | None:
    app = options.pop("app", APP)
    usual: dict[str, Any] = {"socket_id": "1.2", "channel": CHANNEL, "channel_data": None}
    verifier = SubscriptionVerifier(keys)
    return verifier.verify_subscription(app, auth=auth, now=NOW, **{**usual, **options}).user_id


def code_of(keys: Keys, auth: str, **options: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(keys, auth, **options)
    return caught.value.code


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"])
def test_a_grant_signed_with_the_private_half_is_good(algorithm: str) -> None:
    keys = Keys(document(jwk_of(algorithm, alg=algorithm)))

    assert verify(keys, grant(algorithm)) == "42"
    assert verify(keys, grant(algorithm), app=PUBLIC_ONLY) == "42"
    assert keys.asked == []


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_key_without_alg_has_the_usual_one_of_its_kind(algorithm: str) -> None:
    [key] = load_jwks(document(jwk_of(algorithm, alg=None))).keys

    assert key.algorithm == algorithm


def test_a_key_works_with_one_algorithm_only() -> None:
    keys = Keys(document(jwk_of("RS256", alg=None)))

    assert code_of(keys, grant("RS512")) == "token_wrong_algorithm"


def test_a_public_key_is_never_a_shared_secret() -> None:
    """Attack S18: HS256 with the text of the public key as its secret."""
    public = key_pair("RS256")[1]
    for secret in (public.encode(), document(jwk_of("RS256")), jwk_of("RS256")["n"].encode()):
        claims = {"aud": "broadcaster:3", "sub": "42", "channels": [CHANNEL]}
        header = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"k1"}').decode()
        payload = jwt.utils.base64url_encode(
            json.dumps({**claims, "iat": NOW, "exp": NOW + 60}).encode()
        ).decode()
        algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = algorithm.sign(f"{header}.{payload}".encode(), secret)
        token = f"{header}.{payload}.{jwt.utils.base64url_encode(signature).decode()}"

        keys = Keys(document(jwk_of("RS256")))
        assert code_of(keys, f"{APP.key}:{token}") == "token_wrong_algorithm"


@pytest.mark.parametrize(
    "unusable",
    [
        {
            "kty": "oct",
            "kid": "k1",
            "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA",
            "alg": "HS256",
        },
        {},
        {"kty": 7},
        {"kty": "RSA", "kid": "k1"},
        {"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-521", "kid": "k1"},
        {"kty": "EC", "crv": "P-256", "kid": "k1", "x": "", "y": ""},
        {"kty": "OKP", "crv": "Ed448", "kid": "k1"},
        jwk_of("RS256", alg="HS256"),
        jwk_of("RS256", alg="none"),
        jwk_of("RS256", alg="ES256"),
        jwk_of("RS256", alg=["RS256"]),
        jwk_of("RS256", use="enc"),
        jwk_of("RS256", key_ops=["encrypt"]),
        jwk_of("RS256", key_ops=7),
        jwk_of("RS256", kid=7),  # type: ignore[arg-type] # what documents get wrong
        jwk_of("RS256", n=7),
        jwk_of("ES256", crv=["P-256"]),
    ],
    ids=range(18),
)
def test_a_key_that_cannot_be_used_is_passed_over_with_its_reason(unusable: dict[str, Any]) -> None:
    loaded = load_jwks(document(unusable, jwk_of("ES256", "good")))

    assert [key.kid for key in loaded.keys] == ["good"]
    assert len(loaded.problems) == 1


def test_an_rsa_key_of_1024_bits_is_too_small() -> None:
    private: Any = load_pem_private_key(key_pair("RS256", 1024)[0].encode(), None)
    jwk: dict[str, Any] = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)

    loaded = load_jwks(document({**jwk, "kid": "small"}))

    assert loaded.keys == ()
    assert "2048 bits" in loaded.problems[0]


def test_a_private_key_in_the_document_is_used_for_its_public_half_only() -> None:
    private: Any = load_pem_private_key(key_pair("ES256")[0].encode(), None)
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(private, as_dict=True)
    assert "d" in jwk

    [key] = load_jwks(document({**jwk, "kid": "k1"})).keys

    assert not hasattr(key.signing, "private_numbers")


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    loaded = load_jwks(document(jwk_of("RS256"), jwk_of("ES256")))

    assert [key.algorithm for key in loaded.keys] == ["RS256"]
    assert len(loaded.problems) == 1


def test_a_configured_key_and_a_public_one_may_share_an_id() -> None:
    keys = Keys(document(jwk_of("RS256", "1")))
    shared = mint(
        load_key("1", "HS256", SHARED, app_secret=SECRET),
        app_id=APP.id,
        sub="7",
        channels=[CHANNEL],
        now=NOW,
        lifetime=60,
    )

    assert verify(keys, grant(kid="1")) == "42"
    assert verify(keys, f"{APP.key}:{shared}") == "7"


VALUES = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=2)


@given(st.dictionaries(st.sampled_from(["kid", "alg", "use", "key_ops", "n", "e", "crv"]), VALUES))
def test_any_field_of_any_type_is_a_key_or_a_problem(changes: dict[str, Any]) -> None:
    loaded = load_jwks(document({**jwk_of("RS256"), **changes}))

    assert len(loaded.keys) + len(loaded.problems) == 1


def test_what_is_no_document_raises() -> None:
    with pytest.raises(MalformedMessage):
        load_jwks(b"<html>")


# -- keys that are not known yet ------------------------------------------------------


def test_before_the_first_document_nothing_is_refused_for_a_missing_key() -> None:
    keys = Keys()

    with pytest.raises(AuthorizationPending) as caught:
        verify(keys, grant(), app=PUBLIC_ONLY)

    assert caught.value.since == NOW
    assert keys.asked == [URL]


def test_an_unknown_key_is_asked_for_and_refused_once_the_answer_is_newer() -> None:
    keys = Keys(document(jwk_of("RS256")), read_at=NOW - 5)
    unknown = grant("ES256", "k2")

    with pytest.raises(AuthorizationPending) as caught:
        verify(keys, unknown)
    with pytest.raises(AuthorizationPending) as again:
        verify(keys, unknown, held_since=NOW - 2)
    keys.known = KeyDocument(document(jwk_of("RS256")), NOW + 25)
    refused = code_of(keys, unknown, held_since=NOW)
    keys.known = KeyDocument(document(jwk_of("RS256"), jwk_of("ES256", "k2")), NOW + 25)

    assert (caught.value.since, again.value.since) == (NOW, NOW - 2)
    assert refused == "token_unknown_key"
    assert verify(keys, unknown, held_since=NOW) == "42"


def test_a_key_that_was_taken_away_is_good_no_more() -> None:
    keys = Keys(document(jwk_of("RS256")))
    assert verify(keys, grant()) == "42"

    keys.known = KeyDocument(document(jwk_of("ES256", "k2")), NOW + 1)

    assert code_of(keys, grant(), held_since=NOW) == "token_unknown_key"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lifetime": 1, "now": NOW - 30}, "token_expired"),
        ({"app_id": "4"}, "token_wrong_audience"),
    ],
)
def test_a_bad_grant_with_a_known_key_waits_for_nothing(options: Any, code: str) -> None:
    keys = Keys(document(jwk_of("RS256")))

    assert code_of(keys, grant(**options)) == code
    assert keys.asked == []


def test_a_url_that_cannot_be_used_is_a_refusal_and_no_crash() -> None:
    keys = HttpPublicKeys()
    app = replace(PUBLIC_ONLY, jwks_url="http://id.example/keys")

    with pytest.raises(InvalidToken, match="https") as caught:
        SubscriptionVerifier(keys).verify_subscription(
            app, auth=grant(), socket_id="1.2", channel=CHANNEL, channel_data=None, now=NOW
        )

    assert caught.value.code == "grants_off"


def test_without_a_url_nothing_is_asked_for() -> None:
    keys = Keys()

    assert code_of(keys, grant(), app=app_with()) == "token_unknown_key"
    assert keys.asked == []
