"""
Doing what is owed after a settlement: queueing links and callbacks, marking batches.

What can be done is done, whatever lies beside it. What Redis refuses is tried again for a
while, for somebody may put right what is in its way. What can never be done, or was refused
for too long, is owed no longer: its jobs are kept with the failed ones of the queue that owes
them, from where they can be tried again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from broadcaster.contracts.batches import callbacks_due, due_by
from broadcaster.contracts.settlements import Fail, Push
from broadcaster.drivers.redis.effects import marks, pushes
from broadcaster.drivers.redis.queue_wire import Argument, encode_note, queue_keys
from broadcaster.drivers.redis.scripts_loader import aread, arun, load_script
from broadcaster.errors import BroadcasterError, DriverRefused, DriverUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import NewJob, Owed, Pushing
    from broadcaster.drivers.redis.batches import RedisBatches
    from broadcaster.drivers.redis.client import RedisClients

_log = logging.getLogger("broadcaster.worker")

REFUSED_SECONDS = 600.0
"""How long something is tried again that Redis refuses."""
MAX_REMEMBERED = 1_000
_ABANDON_KEYS = ["outbox", "outbox_due", "failed", "failed_jobs", "failed_notes", "failed_retried"]


class OwedEffects:
    """
    Does what is owed, for one process.

    Args:
        batches: are marked.
        push: queues jobs where the caller of `apply` does not.
        patience: seconds for which something is tried that Redis refuses.
    """

    def __init__(
        self,
        clients: RedisClients,
        batches: RedisBatches,
        push: Pushing,
        patience: float = REFUSED_SECONDS,
    ) -> None:
        self._clients = clients
        self._batches = batches
        self._push = push
        self._patience = patience
        self._refused: dict[tuple[str, str], float] = {}  # entry -> when first, monotonic

    async def apply(self, queue: str, owed: Sequence[Owed], push: Pushing | None = None) -> None:
        """
        See `Queue.apply`.

        Raises:
            DriverUnavailable: Redis cannot be reached.
            DriverRefused: some of it was refused and is still owed; the rest is done.
        """
        if not owed:
            return
        push = push or self._push
        try:
            await self._apply(queue, owed, push)
        except DriverUnavailable:
            raise
        except BroadcasterError:
            await self._apply_one_by_one(queue, owed, push)

    async def _apply_one_by_one(self, queue: str, owed: Sequence[Owed], push: Pushing) -> None:
        refused: DriverRefused | None = None
        for one in owed:
            try:
                await self._apply(queue, [one], push)
            except DriverUnavailable:
                raise
            except BroadcasterError as error:
                if isinstance(error, DriverRefused) and self._may_wait(queue, one):
                    refused = error
                else:
                    await self._abandon(queue, one, push)
            else:
                self._refused.pop((queue, one.key), None)
        if refused is not None:
            raise refused from None

    async def _apply(self, queue: str, owed: Sequence[Owed], push: Pushing) -> None:
        """Marks come first, as callbacks of batches may follow from them."""
        await self._do(owed, push)
        entries = [entry.key for entry in owed]
        outbox, due = queue_keys(self._clients.keys, queue, ["outbox", "outbox_due"])
        await aread(self._clients.aio, [("HDEL", outbox, *entries), ("ZREM", due, *entries)])

    async def _do(self, owed: Sequence[Owed], push: Pushing) -> None:
        jobs = pushes(owed)
        for job in jobs:
            self._clients.keys.queue(job.queue, "jobs")  # raises here, not amid others' pushes
        made = marks(owed)
        marked = await self._batches.amark_all(made)
        due = {batch_id: due_by(each.due, made[batch_id]) for batch_id, each in marked.items()}
        for batch_id, mine in due.items():
            jobs += callbacks_due(mine, marked[batch_id].culprit, now=time.time())
        if jobs:
            await push(jobs)
        for batch_id, mine in due.items():
            if mine:
                await self._batches.acalled(batch_id, list(mine))

    def _may_wait(self, queue: str, one: Owed) -> bool:
        """Whether something that was refused may be tried again."""
        now = time.monotonic()
        if (queue, one.key) not in self._refused and len(self._refused) >= MAX_REMEMBERED:
            del self._refused[next(iter(self._refused))]
        return now - self._refused.setdefault((queue, one.key), now) < self._patience

    async def _abandon(self, queue: str, one: Owed, push: Pushing) -> None:
        """Do what can be done of `one`, and owe the rest no longer."""
        left: list[tuple[NewJob, BroadcasterError]] = []
        for effect in one.effects:
            try:
                await self._do([one._replace(effects=(effect,))], push)
            except DriverUnavailable:
                raise
            except BroadcasterError as error:
                fields = {"event": "effects_given_up", "queue": queue, "job_id": one.id}
                text = "what follows from job %s of %s cannot be done, and is given up: %s"
                _log.error(text, one.id, queue, error, extra=fields)
                if isinstance(effect, Push):
                    left.append((effect.job, error))
        args: list[Argument] = [one.key]
        for job, why in left:
            text = f"it could not be queued in {job.queue}: {why}"
            args += (job.id, job.body, encode_note(Fail(job.id, 0, why.code, text)))
        keys = queue_keys(self._clients.keys, queue, _ABANDON_KEYS)
        script = load_script("queue_abandon")
        await arun(self._clients.aio, script, keys, args, repeat_lost=True)
        self._refused.pop((queue, one.key), None)
