"""Keys made for tests."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from broadcaster_auth.tokens import GrantKey, load_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broadcaster.contracts.apps import App

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

SECRET = "7ad3773142a6692b25b8"
SHARED = "a shared key of thirty-two bytes or more"


@cache
def key_pair(algorithm: str, bits: int = 2048) -> tuple[str, str]:
    """Return (private, public) in PEM form."""
    made: PrivateKeyTypes
    if algorithm[:2] in ("RS", "PS"):
        made = rsa.generate_private_key(65537, bits)
    elif algorithm == "EdDSA":
        made = ed25519.Ed25519PrivateKey.generate()
    else:
        made = ec.generate_private_key(ec.SECP384R1() if algorithm == "ES384" else ec.SECP256R1())
    private = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = made.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def shared_key(kid: str = "1", text: str = SHARED) -> GrantKey:
    return load_key(kid, "HS256", text, app_secret=SECRET)


def app_with(*keys: tuple[str, str, str]) -> App:
    return App(
        id="3",
        key="278d425bdf160c739803",
        secret=SECRET,
        grant_keys=keys or (("1", "HS256", SHARED),),
    )
