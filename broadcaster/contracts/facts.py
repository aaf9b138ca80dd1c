"""Where facts go on their way to webhooks and listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.protocol.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fact", "FactSink"]


class FactSink(Protocol):
    """
    Takes facts and keeps them until everybody who wants them was told.

    Putting a fact twice tells it once, as long as it waits; after that it may be told again
    under the same id. A fact too long for the queue is told to nobody, and the log says so.
    """

    async def put(self, facts: Sequence[Fact]) -> None:
        """Keep `facts`; raises `DriverUnavailable` or `DriverRefused` when that is not sure."""
        ...
