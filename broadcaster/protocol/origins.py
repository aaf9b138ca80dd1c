"""
Which pages may connect: the ``Origin`` of a WebSocket against an app's list.

Hosts are compared, whatever the scheme and port, and without regard to case. A pattern is one
of these:

===================  ===================================================================
``*``                any page, and anything else that connects
``shop.example``     this host
``*.shop.example``   every host below it, not ``shop.example`` and not ``evil-shop.example``
``127.0.0.1``        an address
``[::1]``, ``::1``   an IPv6 address, as it is written in the page's address
===================  ===================================================================

A browser sends ``Origin`` with every WebSocket and no page can change it; everything else
may send what it likes or nothing. So the list keeps foreign *pages* out, and a client that
sends no ``Origin`` is admitted: tokens and signatures are what protects an app from it.
``Origin: null`` (a sandboxed frame, a file) matches no pattern but ``*``.

Source: RFC 6454, section 6.2 (serialization), RFC 6455, section 10.2.
"""

from __future__ import annotations

import ipaddress
import re

ANY = "*"
# scheme "://" host [ ":" port ]: nothing else is an origin.
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.IGNORECASE
)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.IGNORECASE)


def origin_allowed(origin: str, allowed: tuple[str, ...]) -> bool:
    """
    Return whether a client that sends this ``Origin`` may connect.

    Args:
        origin: the header, or nothing if there was none.
        allowed: patterns, see the module.
    """
    if ANY in allowed or not origin:
        return True
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    host = _plain(found["host"])
    return any(_matches(host, pattern.lower()) for pattern in allowed)


def origin_problem(pattern: str) -> str:
    """Return what is wrong with a pattern, as the end of a sentence, or nothing."""
    if pattern == ANY or _ipv6(pattern) is not None:
        return ""
    if "://" in pattern or "/" in pattern or ":" in pattern:
        return "must name hosts only, without scheme, port or path ('shop.example')"
    if pattern.lower() == "null":
        return "cannot admit the origin 'null', which any sandboxed frame has; use '*' or a host"
    if not _HOST.fullmatch(pattern.removeprefix("*.")):
        return "must be '*', a host, or '*.' and a host; other alphabets as xn--..."
    return ""


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == _plain(pattern)


def _plain(host: str) -> str:
    """In small letters, an address in its short form, a name without the dot that may end it."""
    return _ipv6(host) or host.lower().removesuffix(".")


def _ipv6(host: str) -> str | None:
    try:
        return ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]")).compressed
    except ValueError:
        return None
