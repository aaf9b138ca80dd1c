"""A worker's round trips to its queues, and what it does with the answers."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from broadcaster.contracts.queue import StepRequest
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.worker.reports import log_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.contracts.queue import Queue, StepReply
    from broadcaster.worker.effects import Effects
    from broadcaster.worker.line import Line
    from broadcaster.worker.losses import Losses
    from broadcaster.worker.options import WorkerOptions
    from broadcaster.worker.outages import Outages
    from broadcaster.worker.running import Running
    from broadcaster.worker.source import Source

logger = logging.getLogger("broadcaster.worker")


class Steps:
    """
    Makes them for one worker.

    Args:
        name: of the worker.
        queue: where jobs come from.
        outages: is told when the queue cannot be reached.
        running: is given what was reserved.
        effects: are given what is owed.
        losses: finds out what the server has forgotten.

    What the store answers and refuses is the matter of one queue, which is left alone for a
    while; that it does not answer is the matter of all.

    Attributes:
        refusal: what the store has refused since the last `judge`.
        drain_until: monotonic time up to which nothing is started beside what runs, because
            a suspect waits for this worker.
    """

    def __init__(
        self,
        name: str,
        queue: Queue,
        options: WorkerOptions,
        outages: Outages,
        running: Running,
        effects: Effects,
        losses: Losses,
    ) -> None:
        self._name = name
        self._queue = queue
        self._options = options
        self._outages = outages
        self._running = running
        self._effects = effects
        self._losses = losses
        self.drain_until = 0.0
        self.refusal: DriverRefused | None = None

    async def survey(self, source: Source) -> bool:
        """Look at the lanes of `source`; False if they could not be reached."""
        try:
            if time.monotonic() >= source.names_at:
                names = await asyncio.to_thread(self._queue.queues)
                source.know(names, time.monotonic())
            source.asks()
            survey = await self._queue.survey(
                source.name, source.numbers, self._name, force=self._options.force
            )
        except DriverUnavailable as error:
            self._losses.doubt()
            self._outages.away(error)
            return False
        except DriverRefused as error:
            self._note_refusal(source, error)
            source.refused(time.monotonic())
            return True
        source.surveyed(survey, self._name, time.monotonic(), self._options.tick)
        return True

    async def step(
        self, source: Source, line: Line, *, wanted: int, idle: bool
    ) -> StepReply | None:
        """
        Make one round trip for `line`; None if the queue could not be reached, or refused it.

        Args:
            wanted: jobs to reserve at most.
            idle: nothing runs that a crash could be blamed on.
        """
        if self._losses.due(line.name, time.monotonic()) and not await self._look(line):
            return None
        settlements = line.take_settlements()
        request = StepRequest(
            queue=line.name,
            settlements=settlements,
            reserve=wanted,
            lease=self._options.lease,
            worker=self._name,
            idle=idle,
            ordered=line.ordered,
            max_crashes=self._options.max_crashes,
            recover_after=line.last_token if line.uncertain else None,
            force=self._options.force,
        )
        line.held_until = time.monotonic() + self._options.lease
        hinted = line.asks()
        try:
            reply = await self._queue.step(request)
        except (DriverUnavailable, DriverRefused) as error:  # jobs are not thrown away here
            line.unanswered(settlements, hinted=hinted)
            self._losses.unanswered(line.name, settlements)
            self._failed(line, error)
            return None
        self._outages.back()
        line.stepped(reply, wanted, time.monotonic(), self._until_next_look(source, line, reply))
        unsure = line.take_unsure()
        refused = [each for each in reply.refused if each not in unsure]
        self._running.settled(line, settlements, refused)
        log_answer(line.name, reply, unsure)
        self._take(line, reply)
        if reply.owed:
            await self._effects.take(line.name, reply.owed)
        return reply

    def judge(self, lines: Iterable[Line]) -> None:
        """After a round with refusals: the queue is away when none of `lines` can be worked on."""
        if self.refusal is not None and all(line.refusals for line in lines):
            self._outages.away(self.refusal)
        self.refusal = None

    async def _look(self, line: Line) -> bool:
        """Find out what the server knows of `line`; False if it could not be reached."""
        try:
            held = self._running.held_of(line.name)
            await self._losses.look(line, held, time.monotonic())
        except (DriverUnavailable, DriverRefused) as error:
            self._losses.doubt()
            self._failed(line, error)
            return False
        return True

    def _failed(self, line: Line, error: DriverUnavailable | DriverRefused) -> None:
        if isinstance(error, DriverUnavailable):
            line.refusals = 0
            self._outages.away(error)
        else:
            self._note_refusal(line, error)
            line.refused(time.monotonic())

    def _note_refusal(self, where: Line | Source, error: DriverRefused) -> None:
        self.refusal = error
        if not where.refusals:
            fields = {"event": "queue_refused", "queue": where.name}
            text = "queue %s cannot be worked on, trying on: %s"
            logger.warning(text, where.name, error, extra=fields)

    def _until_next_look(self, source: Source, line: Line, reply: StepReply) -> float:
        """
        Return the longest time to the next look at `line`.

        Surveys look after lanes. Only one that somebody else holds is looked at again and
        again, since a lease lapses only where somebody looks.
        """
        if line is source.main or (reply.next_in is not None and not reply.reserved):
            return self._options.tick
        return float("inf")

    def _take(self, line: Line, reply: StepReply) -> None:
        if line.ordered and reply.reserved:
            self._running.start_batch(line, reply.reserved)
        elif not line.ordered:
            for reserved in reply.reserved:
                self._running.take(line, reserved)
        if reply.drain:
            self.drain_until = time.monotonic() + self._options.lease
            self._running.hand_back()
