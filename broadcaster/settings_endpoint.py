"""Where a Pusher-compatible server is, out of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """
    Where a Pusher-compatible server is reached by the ``pusher`` driver and by ``listen``.

    Attributes:
        host: a name or address.
        port: default is 443 with https, else the port of [gateway].
        path: put before ``/apps`` and ``/app``, for servers behind a prefix.
        timeout: seconds that one request may take in all.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    scheme: Literal["http", "https"] = "http"
    path: str = ""
    timeout: float = 2.0

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that ``/apps/...`` is appended to."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def prefix(self) -> str:
        """`path` with a slash before and none behind, or nothing."""
        path = self.path.strip("/")
        return f"/{path}" if path else ""


def endpoint_port(values: Mapping[str, Any]) -> tuple[int, str]:
    """Return the port that goes with what was said, and what said it."""
    if values.get("endpoint.scheme") == "https":
        return 443, "endpoint.scheme"
    if values.get("gateway.port"):
        return values["gateway.port"], "gateway.port"
    return EndpointSettings().port, "default"
