"""
Public keys of grants from a JWK Set.

Each key gets exactly one algorithm: the one it names (``alg``), or the usual one of its kind
(RS256, ES256, ES384, EdDSA). Shared keys have no place in a public document, so a document
can never turn a public key into a shared one; what cannot be used is passed over.

Source: RFC 7517 (JWK), RFC 7518 section 6, RFC 8037.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.errors import BroadcasterError, ConfigurationError
from broadcaster.protocol.channels import shown
from broadcaster.protocol.jwks import parse_jwks
from broadcaster_auth.tokens import load_public_jwk

if TYPE_CHECKING:
    from broadcaster_auth.tokens import GrantKey

# (kty, crv) -> algorithms such a key may be used with, the usual one first.
_ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


class LoadedKeys(NamedTuple):
    """The keys of a document, and why others in it cannot be used."""

    keys: tuple[GrantKey, ...]
    problems: tuple[str, ...]


@lru_cache(maxsize=64)
def load_jwks(body: bytes) -> LoadedKeys:
    """
    Return the usable keys of a JWK Set; the answer is remembered.

    Raises:
        MalformedMessage: not a JWK Set.
    """
    keys: list[GrantKey] = []
    problems: list[str] = []
    for jwk in parse_jwks(body):
        kid = jwk.get("kid", "")
        try:
            if not isinstance(kid, str) or any(key.kid == kid for key in keys):
                raise ConfigurationError("its key id (kid) is no text, or is there twice")
            keys.append(load_public_jwk(kid, _algorithm(jwk), jwk))
        except BroadcasterError as error:
            problems.append(f"key {shown(str(kid))}: {error.message}")
    return LoadedKeys(tuple(keys), tuple(problems))


def _algorithm(jwk: dict[str, Any]) -> str:
    kind, curve = str(jwk.get("kty")), jwk.get("crv")
    allowed = _ALGORITHMS.get((kind, str(curve) if curve is not None else None), ())
    if not allowed:
        raise ConfigurationError(f"keys of the kind {shown(kind)} are not used here")
    operations: object = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not _holds(operations, "verify"):
        raise ConfigurationError("it is not for signatures")
    algorithm = jwk.get("alg", allowed[0])
    if algorithm not in allowed:
        raise ConfigurationError(
            f"it names the algorithm {shown(str(algorithm))}; such keys are for {', '.join(allowed)}"
        )
    return str(algorithm)


def _holds(value: object, word: str) -> bool:
    return isinstance(value, list) and word in value
