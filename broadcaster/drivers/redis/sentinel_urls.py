"""Redis URLs that name sentinels, and what they watch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26_379
MAX_PORT = 65_535
_OF_TLS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_OF_SENTINELS = ("sentinel_username", "sentinel_password", "sentinel_ssl")
_DIGITS = 5
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class SentinelUrl(NamedTuple):
    """
    Where the sentinels are, and what they are asked for.

    Attributes:
        sentinels: host and port of each.
        service: what they call the master and its replicas.
        database: number of the database.
        login: username and password of the servers, as redis-py names them.
        sentinel_login: the same of the sentinels.
        secure: the servers speak TLS.
        sentinel_secure: the sentinels do.
        tls: options of both, as redis-py names them.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    login: Mapping[str, str]
    sentinel_login: Mapping[str, str]
    secure: bool
    sentinel_secure: bool = False
    tls: Mapping[str, Any] = MappingProxyType({})


def parse_sentinel_url(url: str) -> SentinelUrl:
    """
    Return the parts of ``redis+sentinel://[user:password@]host:port,host:port/service/db``.

    ``rediss+sentinel://`` means that the servers speak TLS. Options behind a ``?``:
    ``sentinel_username``, ``sentinel_password`` and ``sentinel_ssl`` (true: TLS) are for the
    sentinels themselves; ``ssl_ca_certs``, ``ssl_ca_path``, ``ssl_certfile``, ``ssl_keyfile``,
    ``ssl_cert_reqs`` and ``ssl_check_hostname`` are for all connections with TLS.

    Raises:
        ConfigurationError: it has no service, an option that there is not, or a port or
            database that is no number.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service or not hosts:
        raise ConfigurationError(
            "the Redis URL must name the sentinels and what they watch: "
            "redis+sentinel://host:26379,other:26379/mymaster/0"
        )
    user, _, password = login.partition(":")
    said = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    _refuse_unknown(said)
    tls: dict[str, Any] = {name: said[name] for name in _OF_TLS if name in said}
    if "ssl_check_hostname" in said:
        tls["ssl_check_hostname"] = _truth(said["ssl_check_hostname"], "ssl_check_hostname")
    return SentinelUrl(
        sentinels=tuple(_address(host) for host in hosts.split(",") if host),
        service=unquote(service),
        database=_number(database or "0", "database"),
        login=_login(unquote(user), unquote(password)),
        sentinel_login=_login(said.get("sentinel_username", ""), said.get("sentinel_password", "")),
        secure=parts.scheme.startswith("rediss"),
        sentinel_secure=_truth(said.get("sentinel_ssl", "false"), "sentinel_ssl"),
        tls=MappingProxyType(tls),
    )


def _refuse_unknown(said: Mapping[str, str]) -> None:
    known = (*_OF_SENTINELS, *_OF_TLS, "ssl_check_hostname")
    unknown = sorted(said.keys() - set(known))
    if unknown:
        raise ConfigurationError(
            f"the Redis URL has an option {unknown[0][:30]!r}, which sentinels have not; "
            f"there are {', '.join(known)}"
        )


def _truth(text: str, what: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ConfigurationError(
            f"{what} in the Redis URL must be true or false, not {text[:20]!r}"
        )
    return _TRUTHS[text.lower()]


def _login(user: str, password: str) -> dict[str, str]:
    said = {"username": user, "password": password}
    return {name: value for name, value in said.items() if value}


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), SENTINEL_PORT
    return host.strip("[]"), _number(port, "port")


def _number(text: str, what: str) -> int:
    # What stands there may be a part of a password with a / in it.
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS or int(text) > MAX_PORT:
        raise ConfigurationError(
            f"the {what} in the Redis URL must be a number from 0 to {MAX_PORT}; "
            "write % codes for / ? # @ : in a password"
        )
    return int(text)
