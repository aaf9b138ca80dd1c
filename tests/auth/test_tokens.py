from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from broadcaster_auth import tokens
from broadcaster_auth.tokens import load_key, load_keys, mint, verify
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError, InvalidToken
from tests.auth.grant_keys import SECRET, SHARED, app_with, key_pair, shared_key

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW = 1_700_000_000.0
KEY = shared_key()


def made(**claims: Any) -> str:
    """A token signed with the shared key, its claims as given; None leaves one out."""
    full = {
        "aud": "broadcaster:3",
        "sub": "42",
        "channels": ["private-orders.42"],
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        **claims,
    }
    return jwt.encode(
        {name: value for name, value in full.items() if value is not None},
        SHARED,
        "HS256",
        headers={"kid": "1"},
    )


def code_of(token: str, *, now: float = NOW, keys: Any = (KEY,)) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(token, keys, app_id="3", now=now)
    return caught.value.code


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_a_grant_signed_with_a_private_key_verifies_with_the_public_one(algorithm: str) -> None:
    private, public = (
        load_key("p", algorithm, pem, app_secret=SECRET) for pem in key_pair(algorithm)
    )

    token = mint(private, app_id="3", sub="42", channels=["private-x"], now=NOW, lifetime=60)

    assert verify(token, [public], app_id="3", now=NOW).sub == "42"
    assert verify(token, [private], app_id="3", now=NOW).sub == "42"
    with pytest.raises(ConfigurationError, match="cannot sign"):
        mint(public, app_id="3", sub="42", channels=["private-x"], now=NOW, lifetime=60)


def test_a_minted_grant_carries_what_it_was_given() -> None:
    token = mint(
        KEY,
        app_id="3",
        sub="42",
        channels=["presence-chat.*", "private-orders.42"],
        now=NOW + 0.9,
        lifetime=60,
        info={"name": "Zoë"},
        socket_id="1.2",
    )

    grant = verify(token, [KEY], app_id="3", now=NOW + 1)

    assert (grant.sub, grant.socket_id, grant.iat, grant.exp) == ("42", "1.2", NOW, NOW + 60)
    assert grant.channels == ["presence-chat.*", "private-orders.42"]
    assert json.loads(bytes(grant.info)) == {"name": "Zoë"}


def test_tokens_of_other_libraries_are_as_good() -> None:
    assert verify(made(), [KEY], app_id="3", now=NOW).channels == ["private-orders.42"]
    assert verify(made(aud=["x", "broadcaster:3"]), [KEY], app_id="3", now=NOW).sub == "42"
    assert (
        verify(made(iat=NOW - 0.5, jti="x", iss="y"), [KEY], app_id="3", now=NOW).iat == NOW - 0.5
    )


def test_a_token_without_kid_is_good_where_there_is_one_key() -> None:
    token = jwt.encode(jwt.decode(made(), options={"verify_signature": False}), SHARED, "HS256")

    assert verify(token, [KEY], app_id="3", now=NOW).sub == "42"
    assert code_of(token, keys=(KEY, shared_key("2", SHARED[::-1]))) == "token_unknown_key"


@pytest.mark.parametrize("claim", ["aud", "sub", "channels", "iat", "exp"])
def test_every_required_claim_is_required(claim: str) -> None:
    assert code_of(made(**{claim: None})) == "token_bad_claim"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "broadcaster:4"}, "token_wrong_audience"),
        ({"aud": ["broadcaster:4"]}, "token_wrong_audience"),
        ({"aud": []}, "token_wrong_audience"),
        ({"aud": 3}, "token_bad_claim"),
        ({"sub": ""}, "token_bad_claim"),
        ({"sub": "a\nb"}, "token_bad_claim"),
        ({"sub": "x" * 129}, "token_bad_claim"),
        ({"channels": []}, "token_bad_claim"),
        ({"channels": "private-x"}, "token_bad_claim"),
        ({"channels": [1]}, "token_bad_claim"),
        ({"channels": ["private-x"] * 101}, "token_bad_claim"),
        ({"exp": int(NOW)}, "token_expired"),
        ({"exp": "9999999999"}, "token_bad_claim"),
        ({"exp": True}, "token_bad_claim"),
        ({"iat": int(NOW) + 61, "exp": int(NOW) + 90}, "token_not_yet"),
        ({"exp": int(NOW) + 31 * 86_400}, "token_too_long_lived"),
        ({"exp": 1e308}, "token_too_long_lived"),
        ({"nbf": int(NOW) + 61}, "token_not_yet"),
        ({"socket_id": 12}, "token_bad_claim"),
    ],
)
def test_a_claim_that_is_wrong_is_refused_by_name(claims: dict[str, Any], code: str) -> None:
    assert code_of(made(**claims)) == code


def test_clocks_may_differ_by_a_minute_but_expiry_has_no_leeway() -> None:
    assert verify(made(iat=int(NOW) + 60), [KEY], app_id="3", now=NOW)
    assert verify(made(nbf=int(NOW) + 60), [KEY], app_id="3", now=NOW)
    assert verify(made(), [KEY], app_id="3", now=NOW + 59.9)
    assert code_of(made(), now=NOW + 60) == "token_expired"


@fuzzed
@given(st.text(max_size=80))
def test_any_text_is_a_grant_or_an_invalid_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify(text, [KEY], app_id="3", now=NOW)


@fuzzed
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_header_and_claims_are_refused_as_ours(header: bytes, payload: bytes) -> None:
    def part(raw: bytes) -> str:
        return jwt.utils.base64url_encode(raw).decode()

    with pytest.raises(InvalidToken):
        verify(f"{part(header)}.{part(payload)}.AAAA", [KEY], app_id="3", now=NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@fuzzed
@given(st.dictionaries(st.sampled_from(["aud", "channels", "iat", "exp", "nbf", "info"]), JSON))
def test_any_signed_claims_are_a_grant_or_an_invalid_token(claims: dict[str, Any]) -> None:
    token = tokens._jws.encode(
        json.dumps({"sub": "42", **claims}).encode(), SHARED, "HS256", headers={"kid": "1"}
    )

    with pytest.raises(InvalidToken):
        verify(token, [KEY], app_id="3", now=NOW)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": []}, "names 0 channels"),
        ({"channels": ["orders"]}, "needs no grant"),
        ({"channels": ["*"]}, "needs no grant"),
        ({"channels": ["#server-to-user-1"]}, "needs no grant"),
        ({"channels": ["private-encrypted-*"]}, "matches no encrypted channel"),
        ({"channels": ["private-a:b"]}, "contains ':'"),
        ({"channels": [f"private-{'x' * 150}.{n}" for n in range(60)]}, "name fewer channels"),
        ({"sub": ""}, "sub: user_id"),
        ({"lifetime": 0}, "expired"),
        ({"lifetime": 31 * 86_400}, "longer than 30 days"),
        ({"info": object()}, "no JSON form"),
    ],
)
def test_a_grant_that_nobody_would_accept_is_not_made(options: dict[str, Any], said: str) -> None:
    usual: dict[str, Any] = {"sub": "42", "channels": ["private-x"], "lifetime": 60}

    with pytest.raises(InvalidToken, match=said):
        mint(KEY, app_id="3", now=NOW, **{**usual, **options})


@pytest.mark.parametrize(
    ("algorithm", "key", "said"),
    [
        ("HS256", "x" * 31, "32 bytes or more"),
        ("none", SHARED, "known algorithms"),
        ("hs256", SHARED, "known algorithms"),
        ("RS256", SHARED, "no key of that kind"),
        ("ES256", SHARED, "no key of that kind"),
        ("EdDSA", SHARED, "no key of that kind"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_and_never_shown(
    algorithm: str, key: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_key("1", algorithm, key, app_secret=SECRET)

    assert key not in str(caught.value)


def test_the_apps_secret_is_no_grant_key() -> None:
    with pytest.raises(ConfigurationError, match="must not be the app's secret"):
        load_key("1", "HS256", SHARED, app_secret=SHARED)


@pytest.mark.filterwarnings("ignore:.*RSA key.*")
def test_a_short_rsa_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2048 bits"):
        load_key("1", "RS256", key_pair("RS256", 1024)[1], app_secret=SECRET)


def test_two_keys_under_one_id_are_refused() -> None:
    app = app_with(("1", "HS256", SHARED), ("1", "HS256", SHARED[::-1]))

    with pytest.raises(ConfigurationError, match="same key id"):
        load_keys(app)


def test_keys_never_appear_in_a_repr() -> None:
    assert SHARED not in repr(KEY)
    assert SHARED not in repr(app_with())
