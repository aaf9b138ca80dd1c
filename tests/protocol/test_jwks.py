"""Where public keys may be read from, and what a key set looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError, MalformedMessage
from broadcaster.protocol.jwks import MAX_BYTES, check_jwks_url, parse_jwks


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/.well-known/jwks.json",
        "https://id.example:8443/keys?tenant=1",
        "http://127.0.0.1:9000/keys",
        "http://[::1]/keys",
        "http://localhost/keys",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    assert check_jwks_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "id.example/keys",
        "https://",
        "http://id.example/keys",
        "http://10.0.0.1/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost.evil.example/keys",
        "ftp://id.example/keys",
        "file:///etc/passwd",
        "https://user:secret@id.example/keys",
        "https://[::1/keys",
        "https://id.example:port/keys",
    ],
)
def test_no_other_address_will_do_and_credentials_are_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_jwks_url(url)

    assert "secret" not in str(caught.value)


def test_keys_are_taken_as_they_stand() -> None:
    assert parse_jwks(b'{"keys":[{"kty":"RSA","n":"x"}],"more":1}') == [{"kty": "RSA", "n": "x"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":["x"]}',
        b'{"keys":[' + b",".join([b"{}"] * 101) + b"]}",
        b'{"keys":[]}' + b" " * MAX_BYTES,
        b"[" * 10_000,
    ],
)
def test_what_is_no_key_set_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_jwks(body)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_key_set_or_malformed(body: bytes) -> None:
    try:
        parse_jwks(body)
    except MalformedMessage:
        return
