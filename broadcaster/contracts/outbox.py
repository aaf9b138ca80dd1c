"""Facts that the store found out itself, from the script that found them to the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.facts import Fact

Source: TypeAlias = tuple[str, str] | None
"""Whose outbox: app id and name of a presence channel, None for that of all channels."""


class Noted(NamedTuple):
    """
    A fact in an outbox.

    Attributes:
        text: what it is forgotten by.
        fact: None when nobody can read it.
    """

    text: bytes
    fact: Fact | None


class Page(NamedTuple):
    """
    What an outbox holds next.

    Attributes:
        notes: in the order in which they happened; empty when there are no more.
        lost: facts that found the outbox full since the last call.
        busy: seconds for which somebody else is at it, at most; then there are no notes.
    """

    notes: Sequence[Noted]
    lost: int = 0
    busy: float = 0.0


class Settled(NamedTuple):
    """
    What is due next.

    Attributes:
        wait: seconds until `Outbox.settle` has something to do, None when it has not.
        facts: how many wait in the outbox of all channels.
    """

    wait: float | None
    facts: int


class Outbox(Protocol):
    """
    Facts in the store, from the moment in which they become true until they were queued.

    The script that makes a fact true writes it, so nothing is lost when whoever should queue
    it dies.

    Calls may be repeated. They raise `DriverUnavailable` and `DriverRefused`.
    """

    async def settle(self) -> Settled:
        """Find channels that stayed empty, and tell numbers of subscribers that were held back."""
        ...

    async def step(
        self, token: str, sources: Sequence[Source], queued: Sequence[Sequence[bytes]]
    ) -> list[Page]:
        """
        Forget what was queued, and take what comes next, of each source.

        Args:
            token: names the caller, who has an outbox to itself from the first fact until
                it is empty, or for some seconds.
            sources: whose outboxes.
            queued: `Noted.text` of each one's facts that were queued.
        """
        ...
