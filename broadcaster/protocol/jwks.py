"""
JWK Sets: what their address and their outer shape must be.

Source: RFC 7517, section 5. The keys in them are looked at by `broadcaster_auth.jwks`.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from broadcaster.errors import ConfigurationError, MalformedMessage
from broadcaster.protocol.channels import shown

MAX_BYTES = 65_536
MAX_KEYS = 100


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


_decode = msgspec.json.Decoder(_KeySet).decode


def check_jwks_url(url: str) -> str:
    """
    Return `url` if keys may be read from it: ``https``, or ``http`` on this machine.

    Raises:
        ConfigurationError: another scheme, no host, or credentials in it.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{shown(url)} is no URL") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("the URL of public keys must not contain credentials")
    if not host or parts.scheme not in ("https", "http"):
        raise ConfigurationError(f"{shown(url)} must be an https:// URL")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"{shown(url)} must begin with https://: whoever can change what http:// answers can "
            "make grants (http:// is for this machine only)"
        )
    return url


def parse_jwks(body: bytes) -> list[dict[str, Any]]:
    """
    Return the keys of a JWK Set as they stand there.

    Raises:
        MalformedMessage: too long, no JSON, or not ``{"keys": [{...}, ...]}``.
    """
    if len(body) > MAX_BYTES:
        raise MalformedMessage(f"a key set has {MAX_BYTES} bytes at most")
    try:
        keys = _decode(body).keys
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not a JWK Set: {error}") from error
    if len(keys) > MAX_KEYS:
        raise MalformedMessage(f"a key set has {MAX_KEYS} keys at most, not {len(keys)}")
    return keys


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
