"""The one place that knows PyNaCl."""

from __future__ import annotations

from nacl.secret import SecretBox


def seal(plain: bytes, *, nonce: bytes, key: bytes) -> bytes:
    """
    Return the secretbox of `plain` (XSalsa20 and Poly1305), without its nonce.

    Args:
        nonce: 24 bytes, used with this key once and never again.
        key: 32 bytes.
    """
    return bytes(SecretBox(key).encrypt(plain, nonce).ciphertext)
