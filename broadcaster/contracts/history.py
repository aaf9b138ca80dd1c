"""How much of each channel's past is kept, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.protocol.envelope import Position

MISS_SECONDS = 60
"""How long nobody is told again that a cache channel is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """
    Bounds of one channel's history; whichever is reached first trims it.

    Attributes:
        events: envelopes kept; 0 turns history off.
        bytes: bytes kept.
        seconds: age of the oldest envelope kept.
        dedupe_seconds: how long a repeat of an event id is recognised.
        meta_seconds: how long a quiet channel remembers its last position.
        cache_seconds: how long a cache channel's last event is kept.
    """

    events: int = 1_000
    bytes: int = 1_048_576
    seconds: int = 120
    dedupe_seconds: int = 600
    meta_seconds: int = 86_400
    cache_seconds: int = 1_800


class Cached(NamedTuple):
    """
    The last event of a cache channel.

    Attributes:
        envelope: in binary form, see `broadcaster.protocol.envelope`.
        ttl: whole seconds for which it is kept from now on, at least 1.
    """

    envelope: bytes
    ttl: int


class History(Protocol):
    """
    Reads positions and past envelopes; never writes but `touch` and `missed`.

    Raises `DriverUnavailable`, `DriverRefused` and nothing else.
    """

    async def positions(self, app_id: str, channels: Sequence[str]) -> list[Position]:
        """Return the last position of each channel, `START` for one never published to."""
        ...

    async def read(self, app_id: str, channel: str) -> list[bytes]:
        """Return the kept envelopes in binary form, oldest first."""
        ...

    async def cached(self, app_id: str, channels: Sequence[str]) -> list[Cached | None]:
        """
        Return the last event published to each cache channel, None where there is none.

        It is kept `HistoryLimits.cache_seconds` after it was published, whether or not
        anybody is subscribed, with history or without. Client events and what the server
        says itself are never cached.
        """
        ...

    async def missed(self, app_id: str, channels: Sequence[str]) -> list[bool]:
        """
        Note that cache channels were found empty; return for each whether that is news.

        It is news once, whichever gateway notes it first, until an event is published to
        the channel or `MISS_SECONDS` have passed.
        """
        ...

    async def touch(self, app_id: str, channels: Sequence[str]) -> None:
        """Keep the positions of quiet channels alive; called hourly by subscribed gateways."""
        ...
