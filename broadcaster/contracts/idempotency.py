"""The first answers to requests that may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from broadcaster.protocol.idempotency import Attempt


class FirstAnswer(NamedTuple):
    """What the first attempt of a request was answered."""

    status: int
    body: bytes


class Begun(NamedTuple):
    """
    What is known of a request that begins.

    Attributes:
        same: False when its key belongs to another request.
        answer: the first answer; None when none was given yet.
    """

    same: bool
    answer: FirstAnswer | None


class IdempotencyStore(Protocol):
    """
    Remembers requests by app and key for `broadcaster.protocol.idempotency.WINDOW_SECONDS`.

    Both calls are atomic per key, over all nodes, and safe to repeat. A request that was
    begun and never finished can be begun again by the same request. Raises
    `DriverUnavailable`, `DriverRefused` and nothing else.
    """

    async def begin(self, attempt: Attempt) -> Begun:
        """Claim the key for this request, unless another one has it."""
        ...

    async def finish(self, attempt: Attempt, answer: FirstAnswer) -> FirstAnswer:
        """
        Keep `answer` unless an answer is there already.

        Returns:
            The answer that every attempt gives: the one that was there first.
        """
        ...
