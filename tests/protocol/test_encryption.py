from __future__ import annotations

import hashlib
import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import NotConfigured
from broadcaster.protocol.app import App
from broadcaster.protocol.encryption import (
    NONCE_BYTES,
    TAG_BYTES,
    channel_secret,
    encode_sealed,
    largest_plain,
    require_encryption_key,
)


def test_a_secret_is_the_hash_of_name_and_key() -> None:
    key = bytes(range(32))

    secret = channel_secret("private-encrypted-a", key)

    assert secret == hashlib.sha256(b"private-encrypted-a" + key).digest()
    assert secret != channel_secret("private-encrypted-b", key)


def test_without_a_master_key_the_error_says_what_to_set() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ENCRYPTION_KEY"):
        require_encryption_key(App(id="1", key="k", secret="s"))


def test_sealed_data_has_nonce_and_ciphertext_in_base64() -> None:
    sealed = json.loads(encode_sealed(b"n" * NONCE_BYTES, b"secret"))

    assert {name: b64decode(text) for name, text in sealed.items()} == {
        "nonce": b"n" * NONCE_BYTES,
        "ciphertext": b"secret",
    }


def sealed_size(size: int) -> int:
    return len(encode_sealed(bytes(NONCE_BYTES), bytes(size + TAG_BYTES)))


@given(st.integers(100, 20_000))
def test_the_largest_data_that_fits_is_exact(limit: int) -> None:
    largest = largest_plain(limit)

    assert sealed_size(largest) <= limit < sealed_size(largest + 1)


@pytest.mark.parametrize("limit", [0, 1, 60])
def test_nothing_fits_into_less_than_an_empty_box(limit: int) -> None:
    assert largest_plain(limit) == 0
