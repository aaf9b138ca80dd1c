"""Whether the URL of a Redis server can be used, found out before anything connects."""

from __future__ import annotations

from urllib.parse import urlsplit

import redis
from redis.exceptions import RedisError

from broadcaster.drivers.redis.sentinel_urls import SENTINEL_SCHEMES
from broadcaster.errors import ConfigurationError

SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)


def scheme_of(url: str) -> str:
    """
    Return the scheme of a URL that can be used.

    Raises:
        ConfigurationError: it cannot; the error shows nothing of it but its scheme, for it may
            hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unusable("its host is none") from None
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(
            f"the Redis URL must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}; "
            f"it begins with {url.partition(':')[0][:20]!r}"
        )
    if parts.scheme in SENTINEL_SCHEMES:
        return parts.scheme
    try:
        _ = parts.port
    except ValueError:
        raise _unusable("its port is no number from 0 to 65535") from None
    try:
        # Makes a connection and connects it to nothing.
        pool = redis.BlockingConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        raise _unusable(
            "an option behind its ? is unknown, or has a value that cannot be"
        ) from None
    return parts.scheme


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the Redis URL cannot be used: {why}; write redis://user:password@host:6379/0, and "
        "% codes for / ? # @ : in a password"
    )
