"""
Grants: JWTs that let their holder into channels without asking the application each time.

=============  ======  ==============================================================
claim                  meaning
=============  ======  ==============================================================
``aud``        needed  ``broadcaster:<app id>``
``sub``        needed  the user; on presence channels the member's id
``channels``   needed  full names; ``*`` stands for characters within one dot segment
``iat``        needed  when it was made; a revocation refuses what is older
``exp``        needed  until when it admits, and until when subscriptions stand
``nbf``                from when on it admits
``socket_id``          the only connection it admits
``info``               the member's info on presence channels
=============  ======  ==============================================================

``*`` never reaches into the prefix, matches no ``#`` name and no encrypted channel (one
may be named in full). Times are Unix seconds and checked here, against the `now` that is
passed in: no leeway on ``exp``, a minute on ``iat`` and ``nbf`` for clocks that differ.

A key verifies with exactly one algorithm, so a public key can never be taken for a shared
secret, nor ``none`` for a signature. A shared key is one of its own: whoever makes grants
must not be able to publish.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from jwt.api_jws import PyJWS

from broadcaster.errors import (
    ConfigurationError,
    InvalidChannel,
    InvalidToken,
    MalformedMessage,
)
from broadcaster.protocol.channel_patterns import covers
from broadcaster.protocol.channels import ChannelKind, check_socket_id, parse_channel, shown
from broadcaster.protocol.subscription_auth import MAX_AUTH, check_user_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.contracts.apps import App

SHARED = ("HS256", "HS384", "HS512")
PUBLIC = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
MIN_SHARED_BYTES = 32
MIN_RSA_BITS = 2_048
MAX_LIFETIME = 30 * 86_400
MAX_CHANNELS = 100
CLOCK_SKEW = 60

_jws = PyJWS(algorithms=[*SHARED, *PUBLIC])


@dataclass(frozen=True, slots=True)
class GrantKey:
    """
    A key that has passed `load_key`.

    Attributes:
        kid: key id, as in the header of tokens.
        algorithm: the only one it is used with.
        signing: prepared for PyJWT to sign with, if it can.
        verifying: prepared for PyJWT to verify with.
    """

    kid: str
    algorithm: str
    signing: Any = field(repr=False)
    verifying: Any = field(repr=False)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a verified grant; see the module's table."""

    aud: str | list[str]
    sub: str
    channels: list[str]
    iat: int | float
    exp: int | float
    nbf: int | float | None = None
    socket_id: str | None = None
    info: msgspec.Raw = msgspec.Raw(b"")


_decode_grant = msgspec.json.Decoder(Grant).decode


def audience(app_id: str) -> str:
    """Return the ``aud`` of grants for an app."""
    return f"broadcaster:{app_id}"


def load_keys(app: App) -> tuple[GrantKey, ...]:
    """
    Return the checked grant keys of an app; the answer is remembered.

    Raises:
        ConfigurationError: see `load_key`; or one key id twice.
    """
    return _load_keys(app.grant_keys, app.secret)


def load_key(kid: str, algorithm: str, key: str, *, app_secret: str) -> GrantKey:
    """
    Check one grant key.

    Args:
        kid: key id.
        algorithm: one of `SHARED` or `PUBLIC`.
        key: the shared key as text, or a key in PEM form: public to verify, private to
            make grants too.
        app_secret: what a shared key must differ from.

    Raises:
        ConfigurationError: unknown algorithm; a shared key that is short, the app's secret,
            or a PEM; a PEM that does not fit. The key is never part of the message.
    """
    where = f"grant key {kid!r} ({algorithm})"
    if algorithm in SHARED:
        if len(key.encode()) < MIN_SHARED_BYTES:
            raise ConfigurationError(f"{where} must have {MIN_SHARED_BYTES} bytes or more")
        if key == app_secret:
            raise ConfigurationError(
                f"{where} must not be the app's secret: who makes grants could publish, too"
            )
    elif algorithm not in PUBLIC:
        raise ConfigurationError(f"{where}: known algorithms are {', '.join((*SHARED, *PUBLIC))}")
    try:
        prepared: Any = _jws.get_algorithm_by_name(algorithm).prepare_key(key)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"{where} needs the package cryptography: pip install 'broadcaster-server[crypto]'"
        ) from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{where} is no key of that kind") from error
    _check_size(prepared, algorithm, where)
    has_public_part = hasattr(prepared, "public_key")
    return GrantKey(
        kid, algorithm, prepared, prepared.public_key() if has_public_part else prepared
    )


def load_public_jwk(kid: str, algorithm: str, jwk: Mapping[str, Any]) -> GrantKey:
    """
    Check one key of a JWK Set and keep its public part.

    Args:
        kid: key id.
        algorithm: one of `PUBLIC`, chosen by `broadcaster_auth.jwks`.
        jwk: the key, as in RFC 7517.

    Raises:
        ConfigurationError: not such a key.
    """
    where = f"public key {shown(kid)} ({algorithm})"
    if algorithm not in PUBLIC:
        raise ConfigurationError(f"{where}: public keys are for {', '.join(PUBLIC)}")
    try:
        prepared: Any = _jws.get_algorithm_by_name(algorithm).from_jwk(dict(jwk))
    except NotImplementedError as error:
        raise ConfigurationError(
            f"{where} needs the package cryptography: pip install 'broadcaster-server[crypto]'"
        ) from error
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{where} is no key of that kind") from error
    _check_size(prepared, algorithm, where)
    public = prepared.public_key() if hasattr(prepared, "public_key") else prepared
    return GrantKey(kid, algorithm, public, public)


def mint(
    key: GrantKey,
    *,
    app_id: str,
    sub: str,
    channels: Sequence[str],
    now: float,
    lifetime: float,
    info: object = None,
    socket_id: str | None = None,
) -> str:
    """
    Make a grant.

    Args:
        key: shared, or with its private part.
        app_id: the app it is for.
        sub: the user's id.
        channels: full names, ``*`` allowed as described above.
        now: Unix seconds.
        lifetime: seconds, 30 days at most.
        info: the member's info, if presence channels are among them.
        socket_id: to bind it to one connection.

    Returns:
        The token; clients send ``<app key>:<token>`` as ``auth``.

    Raises:
        InvalidToken: no such grant would be accepted; the message says why.
        ConfigurationError: the key cannot sign.
    """
    claims: dict[str, object] = {
        "aud": audience(app_id),
        "sub": sub,
        "channels": list(channels),
        "iat": int(now),
        "exp": int(now + lifetime),
    }
    if info is not None:
        claims["info"] = info
    if socket_id is not None:
        claims["socket_id"] = check_socket_id(socket_id)
    try:
        payload = msgspec.json.encode(claims)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidToken(f"info has no JSON form: {error}", code="token_bad_claim") from error
    for pattern in channels:
        _check_pattern(pattern)
    _check_claims(_decode_grant(payload), app_id=app_id, now=now)
    try:
        token = _jws.encode(payload, key.signing, key.algorithm, headers={"kid": key.kid})
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"grant key {key.kid!r} cannot sign: is it public?") from error
    if len(token) > MAX_AUTH - 256:
        raise InvalidToken(
            f"the token would have {len(token)} characters; name fewer channels or use '*'",
            code="token_too_long",
        )
    return token


def verify(token: str, keys: Sequence[GrantKey], *, app_id: str, now: float) -> Grant:
    """
    Return the claims of a token that is good now; channel and socket are not looked at.

    Raises:
        InvalidToken: forged, expired, of another app, or not a grant; `code` says which.
    """
    payload = _verified_payload(token, keys)
    try:
        grant = _decode_grant(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidToken(
            f"the grant's claims are not usable: {error}", code="token_bad_claim"
        ) from error
    _check_claims(grant, app_id=app_id, now=now)
    return grant


def check_use(grant: Grant, *, channel: str, socket_id: str) -> None:
    """
    Check that a grant admits this connection to this channel.

    Raises:
        InvalidToken: it does not.
    """
    if grant.socket_id is not None and grant.socket_id != socket_id:
        raise InvalidToken(
            f"the grant is for the connection {shown(grant.socket_id)}, not for {socket_id}",
            code="token_wrong_socket",
        )
    if not any(covers(pattern, channel) for pattern in grant.channels):
        names = ", ".join(shown(pattern) for pattern in grant.channels[:5]) or "none"
        raise InvalidToken(
            f"the grant does not cover {shown(channel)}; it covers: {names}",
            code="token_wrong_channel",
        )


@lru_cache(maxsize=256)
def _load_keys(keys: tuple[tuple[str, str, str], ...], secret: str) -> tuple[GrantKey, ...]:
    loaded = tuple(load_key(kid, algorithm, key, app_secret=secret) for kid, algorithm, key in keys)
    if len({key.kid for key in loaded}) < len(loaded):
        raise ConfigurationError("two grant keys have the same key id")
    return loaded


def _check_size(prepared: Any, algorithm: str, where: str) -> None:
    if getattr(prepared, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and algorithm[0] in "RP":
        raise ConfigurationError(f"{where} must have {MIN_RSA_BITS} bits or more")


def _verified_payload(token: str, keys: Sequence[GrantKey]) -> bytes:
    if token.count(".") != 2:  # noqa: PLR2004 - header, payload, signature
        raise InvalidToken(
            "that is no grant: a JWT has three parts with dots between", code="token_malformed"
        )
    try:
        header: dict[str, Any] = _jws.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("the token has no readable header", code="token_malformed") from error
    key = _choose(header, keys)
    if header.get("alg") != key.algorithm:
        raise InvalidToken(
            f"the token is signed with {shown(str(header.get('alg')))}; its key is for "
            f"{key.algorithm} only",
            code="token_wrong_algorithm",
        )
    if "crit" in header or "b64" in header:
        raise InvalidToken("the token uses critical headers", code="token_malformed")
    try:
        payload: bytes = _jws.decode(token, key.verifying, algorithms=[key.algorithm])
    except jwt.InvalidSignatureError as error:
        raise InvalidToken(
            f"the token's signature was not made with grant key {key.kid!r}",
            code="token_bad_signature",
        ) from error
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("the token cannot be read", code="token_malformed") from error
    return payload


def _choose(header: dict[str, Any], keys: Sequence[GrantKey]) -> GrantKey:
    if not keys:
        raise InvalidToken("this app has no grant keys", code="grants_off")
    kid = header.get("kid")
    if kid is None:
        if len(keys) == 1:
            return keys[0]
        raise InvalidToken(
            "the token names no key (kid) and the app has several", code="token_unknown_key"
        )
    named = [key for key in keys if key.kid == kid]
    # A configured key and one of a key set may share an id; each has one algorithm all the same.
    for key in named:
        if key.algorithm == header.get("alg"):
            return key
    if named:
        return named[0]
    raise InvalidToken(
        f"the token names the key {shown(str(kid))}, which this app does not have",
        code="token_unknown_key",
    )


def _check_claims(grant: Grant, *, app_id: str, now: float) -> None:
    expected = audience(app_id)
    if grant.aud != expected and expected not in (grant.aud if isinstance(grant.aud, list) else ()):
        raise InvalidToken(
            f"the grant is for {shown(str(grant.aud))}, not for {expected!r}",
            code="token_wrong_audience",
        )
    try:
        check_user_id(grant.sub)
    except MalformedMessage as error:
        raise InvalidToken(f"sub: {error.message}", code="token_bad_claim") from error
    if not 1 <= len(grant.channels) <= MAX_CHANNELS:
        raise InvalidToken(
            f"the grant names {len(grant.channels)} channels; 1 to {MAX_CHANNELS} are allowed",
            code="token_bad_claim",
        )
    _check_times(grant, now)


def _check_times(grant: Grant, now: float) -> None:
    # Each comparison is written so that a value outside of all order (NaN) is refused.
    if not grant.exp > now:
        raise InvalidToken(f"the grant expired {now - grant.exp:.0f} s ago", code="token_expired")
    if not grant.iat <= now + CLOCK_SKEW:
        raise InvalidToken(
            f"the grant was issued {grant.iat - now:.0f} s in the future", code="token_not_yet"
        )
    if not grant.exp - grant.iat <= MAX_LIFETIME:
        raise InvalidToken(
            f"the grant lives longer than {MAX_LIFETIME // 86_400} days",
            code="token_too_long_lived",
        )
    if grant.nbf is not None and not grant.nbf <= now + CLOCK_SKEW:
        raise InvalidToken(
            f"the grant is good only in {grant.nbf - now:.0f} s", code="token_not_yet"
        )


def _check_pattern(pattern: str) -> None:
    try:
        parsed = parse_channel(pattern.replace("*", "x"))
    except InvalidChannel as error:
        raise InvalidToken(error.message, code="token_bad_claim") from error
    if not parsed.needs_auth:
        raise InvalidToken(
            f"{shown(pattern)} needs no grant, or none can be given: full names begin with "
            "private- or presence-, and '*' does not stand for a prefix",
            code="token_bad_claim",
        )
    if parsed.kind is ChannelKind.ENCRYPTED and "*" in pattern:
        raise InvalidToken(
            f"{shown(pattern)}: '*' matches no encrypted channel; name it in full",
            code="token_bad_claim",
        )
