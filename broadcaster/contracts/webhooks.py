"""How a webhook reaches its receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Answer(NamedTuple):
    """
    What a receiver said.

    Attributes:
        status: HTTP status.
        body: the first bytes of what it wrote; for people, never for the log.
    """

    status: int
    body: bytes = b""


class WebhookSender(Protocol):
    """
    Sends requests to addresses that were checked.

    One call is one request: it is not repeated, no redirect is followed, and it ends within
    a time that the sender was given, whatever the receiver does.
    """

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """
        Send `body` as it is.

        Raises:
            DriverUnavailable: no answer, or none in time.
            AddressRefused: the host has no address that requests may be sent to.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...
