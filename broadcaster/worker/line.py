"""What a worker knows about one of its queues, or one lane of it, between two steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from broadcaster.jobs.backoff import growing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Settlement, StepReply


class Line:
    """
    One queue or lane as its worker sees it.

    Attributes:
        name: of the queue or lane.
        ordered: it keeps its order: one batch at a time.
        rank: place of its queue in the worker's list, from 0.
        beside: its batch runs beside the slots; else it takes one of them.
        settlements: what is to be settled with the next step.
        hot: a step would probably bring jobs.
        hinted: a wake-up token was taken for this line and must be used or passed on.
        news: something may have come since the last step was sent, which cannot know of it.
        busy: its batch is being run.
        empty: the last step that could have reserved found nothing to take.
        paused: nothing may be taken now.
        last_token: the highest token seen.
        uncertain: the answer of the last step never came.
        unsure: ids of jobs whose settlement was sent, and the answer never came: a refusal may
            mean that it was carried out.
        due_at: monotonic time of the next look, come what may.
        refusals: of the store, in a row: something is wrong with this queue only.
        retry_at: monotonic time before which there is no step after that.
        held_until: monotonic time up to which the jobs of the last step are surely held.
    """

    __slots__ = (
        "beside",
        "busy",
        "due_at",
        "empty",
        "held_until",
        "hinted",
        "hot",
        "last_token",
        "name",
        "news",
        "ordered",
        "paused",
        "rank",
        "refusals",
        "retry_at",
        "settlements",
        "uncertain",
        "unsure",
    )

    def __init__(
        self, name: str, *, ordered: bool, rank: int = 0, beside: bool | None = None
    ) -> None:
        self.name = name
        self.ordered = ordered
        self.rank = rank
        self.beside = ordered if beside is None else beside
        self.settlements: list[Settlement] = []
        self.hot = True
        self.hinted = False
        self.news = False
        self.busy = False
        self.empty = False
        self.paused = False
        self.last_token = 0
        self.uncertain = False
        self.unsure: set[str] = set()
        self.due_at = 0.0
        self.refusals = 0
        self.retry_at = 0.0
        self.held_until = float("inf")

    def needs_step(self, now: float, wanted: int) -> bool:
        """Whether a step is worth a round trip at `now` (monotonic), with room for `wanted`."""
        if self.refusals and now < self.retry_at:
            return False
        work = bool(self.settlements) or self.hinted or now >= self.due_at
        return work or (wanted > 0 and self.hot)

    def take_settlements(self) -> list[Settlement]:
        """Return what is to be settled and forget it."""
        taken, self.settlements = self.settlements, []
        return taken

    def take_unsure(self) -> set[str]:
        """Return the jobs whose settlement was sent before, and forget that."""
        taken, self.unsure = self.unsure, set()
        return taken

    def unanswered(self, settlements: Sequence[Settlement], *, hinted: bool) -> None:
        """Take back what a step was to settle, and its hint: nobody knows if it was carried out."""
        self.settlements[:0] = settlements
        self.unsure.update(each.id for each in settlements)
        self.hinted = self.hinted or hinted
        self.uncertain = True

    def look_again(self) -> None:
        """Note that something may have come."""
        self.hot = self.news = True
        self.empty = False

    def hint(self) -> None:
        """Note that a wake-up token was taken for this line."""
        self.look_again()
        self.hinted = True

    def asks(self) -> bool:
        """Note that a step is sent, which uses the hint there is; return whether there is one."""
        hinted, self.hinted, self.news = self.hinted, False, False
        return hinted

    def refused(self, now: float) -> None:
        """Note that the store answered at `now`, monotonic, that it cannot do a step."""
        self.refusals += 1
        self.retry_at = self.due_at = now + growing(self.refusals)
        self.hot = self.hinted = self.empty = False

    def stepped(self, reply: StepReply, wanted: int, now: float, tick: float) -> None:
        """
        Note what a step with room for `wanted` has brought.

        What was heard while it was on its way holds all the same.

        Args:
            tick: longest time to the next look; may be infinite.
        """
        self.uncertain = False
        self.refusals = 0
        self.paused = reply.paused
        self.last_token = max([self.last_token, *(job.token for job in reply.reserved)])
        if wanted > 0:
            full = len(reply.reserved) >= wanted or reply.drain
            self.hot = full or (self.ordered and bool(reply.reserved) and reply.ready > 0)
            self.empty = not reply.reserved and (reply.ready == 0 or reply.paused)
        else:
            self.hot = self.hot or (reply.ready > 0 and not reply.paused)
        if self.news:
            self.look_again()
        if tick == math.inf:
            self.due_at = math.inf
        else:
            next_in = tick if reply.next_in is None else min(tick, reply.next_in)
            self.due_at = now + max(0.001, next_in)
