"""Facts in Redis: jobs of the queue that gateways drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.contracts.queue import NewJob
from broadcaster.protocol.facts import FACT_JOB, FACT_QUEUE
from broadcaster.protocol.payload import Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.facts import Fact
    from broadcaster.contracts.queue import Queue


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
        if not facts:
            return
        await self._queue.apush(
            [
                NewJob(
                    fact.id,
                    FACT_QUEUE,
                    encode_payload(
                        Payload(id=fact.id, job=FACT_JOB, data=msgspec.to_builtins(fact))
                    ),
                )
                for fact in facts
            ]
        )
