"""
Whether the store of a queue still knows what it has said.

A store that copies to its replicas, or writes to its disk, only after it has answered may
forget accepted writes when it is restarted or replaced. Nobody can tell which jobs were
lost with it, as nothing is left of them; what is seen here is that something was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Recalled(NamedTuple):
    """
    What a store knows about one queue.

    Attributes:
        server: identifies the process of the store; another one after it was restarted, and
            after another server has taken its place.
        token: the highest token of a reservation that the queue knows, 0 if none. Tokens are
            microseconds of the store's clock, or little above.
        unknown: of the ids asked about, those whose job the queue does not have (any more).
    """

    server: str
    token: int
    unknown: Sequence[str]


class Continuity(Protocol):
    """Asks a store what it knows."""

    async def recall(self, queue: str, ids: Sequence[str]) -> Recalled:
        """
        Return what is known of `queue` and of the jobs `ids`, at one moment.

        Raises:
            DriverUnavailable: the store cannot be reached.
        """
        ...
