"""Facts in Redis: jobs of the queue that gateways drain."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import NewJob
from broadcaster.errors import InvalidJob
from broadcaster.protocol.facts import FACT_JOB, FACT_QUEUE
from broadcaster.protocol.payload import MAX_PAYLOAD_BYTES, Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.facts import Fact
    from broadcaster.contracts.queue import Queue

MAX_FACT_BYTES = MAX_PAYLOAD_BYTES - 16_384
"""Longest fact as a job: those made of it carry the URL of an endpoint too."""

_log = logging.getLogger("broadcaster.facts")


class QueuedFacts:
    """
    See `broadcaster.contracts.facts.FactSink`.

    Args:
        queue: where they wait.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def put(self, facts: Sequence[Fact]) -> None:
        """See `FactSink.put`."""
        jobs = [job for job in map(_job_of, facts) if job is not None]
        if jobs:
            await self._queue.apush(jobs)


def _job_of(fact: Fact) -> NewJob | None:
    """Return the job for `fact`, or None after saying in the log why it cannot be one."""
    payload = Payload(id=fact.id, job=FACT_JOB, data=msgspec.to_builtins(fact))
    try:
        return NewJob(fact.id, FACT_QUEUE, encode_payload(payload, max_bytes=MAX_FACT_BYTES))
    except InvalidJob as error:
        fields = {"event": "facts_lost", "app": fact.app_id, "channel": fact.channel}
        _log.error("%s of %s is told to nobody: %s", fact.name, fact.channel, error, extra=fields)
        return None
