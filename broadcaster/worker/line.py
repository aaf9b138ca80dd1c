"""What a worker knows about one of its queues between two steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Settlement, StepReply


class Line:
    """
    One queue as its worker sees it.

    Attributes:
        name: of the queue.
        ordered: it is an ordered lane.
        settlements: what is to be settled with the next step.
        hot: a step would probably bring jobs.
        hinted: a wake-up token was taken for this queue and must be used or passed on.
        busy: the lane's batch is being run.
        empty: the last step that could have reserved found nothing ready.
        last_token: the highest token seen.
        uncertain: the answer of the last step never came.
        cold: set while the worker has room and waits for a hint.
    """

    __slots__ = (
        "busy",
        "cold",
        "due_at",
        "empty",
        "hinted",
        "hot",
        "last_token",
        "name",
        "ordered",
        "settlements",
        "uncertain",
    )

    def __init__(self, name: str, *, ordered: bool) -> None:
        self.name = name
        self.ordered = ordered
        self.settlements: list[Settlement] = []
        self.hot = True
        self.hinted = False
        self.busy = False
        self.empty = False
        self.last_token = 0
        self.uncertain = False
        self.due_at = 0.0
        self.cold = asyncio.Event()

    def needs_step(self, now: float, wanted: int) -> bool:
        """Whether a step is worth a round trip at `now` (monotonic), with room for `wanted`."""
        work = bool(self.settlements) or self.hinted or now >= self.due_at
        return work or (wanted > 0 and self.hot)

    def take_settlements(self) -> list[Settlement]:
        """Return what is to be settled and forget it."""
        taken, self.settlements = self.settlements, []
        return taken

    def stepped(self, reply: StepReply, wanted: int, now: float, tick: float) -> None:
        """Note what a step with room for `wanted` has brought."""
        self.hinted = self.uncertain = False
        self.last_token = max([self.last_token, *(job.token for job in reply.reserved)])
        if wanted > 0:
            full = len(reply.reserved) >= wanted or reply.drain
            self.hot = full or (self.ordered and bool(reply.reserved) and reply.ready > 0)
            self.empty = reply.ready == 0 and not reply.reserved
        else:
            self.hot = self.hot or reply.ready > 0
        next_in = tick if reply.next_in is None else min(tick, reply.next_in)
        self.due_at = now + max(0.001, next_in)
