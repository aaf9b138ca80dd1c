"""
The job ``broadcaster.event``: a fact becomes one job for each of its listeners.

They are pushed before it is settled; done twice, it pushes what waits already.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.contracts.queue import Done, Release, Retry
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.jobs.bus import Sending
from broadcaster.protocol.fact_jobs import EVENT_JOB, read_fact
from broadcaster.worker.own_jobs import OwnJobsJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.contracts.queue import NewJob, Reserved, Settlement
    from broadcaster.protocol.facts import Fact
    from broadcaster.protocol.payload import Payload

logger = logging.getLogger("broadcaster.worker")

AWAY_SECONDS = 1.0
REFUSED_SECONDS = 5.0


class FactSpreader:
    """
    Runs the job that carries a fact.

    Args:
        connection: where the listeners' jobs go.
        jobs_for: returns them; this worker's listeners are all that it knows.
        journal: is told what becomes of the facts.
    """

    def __init__(
        self,
        connection: QueueConnection,
        jobs_for: Callable[[Fact], Sequence[NewJob]],
        journal: OwnJobsJournal | None = None,
    ) -> None:
        self._connection = connection
        self._jobs_for = jobs_for
        self._journal = journal or OwnJobsJournal(connection.name)
        self._unheard: set[str] = set()

    async def run(self, queue: str, reserved: Reserved, payload: Payload) -> Settlement:
        """
        Push the jobs of all listeners, and say what became of the fact.

        Args:
            queue: where the fact was.

        Raises:
            InvalidJob: `payload` carries no fact.
        """
        fact = read_fact(payload)
        jobs = self._jobs_for(fact)
        fields = {"event": "event_spread", "job_id": reserved.id, "count": len(jobs)}
        began = self._journal.begin(queue, [reserved])
        try:
            if jobs:
                await Sending(self._connection, jobs).asend()
        except DriverUnavailable as error:  # said by the worker, whose steps fail too
            self._journal.put_back(queue, reserved, error, AWAY_SECONDS)
            return Release(reserved.id, reserved.token, AWAY_SECONDS)
        except DriverRefused as error:
            logger.warning("%s waits: %s", fact.name, error, extra=fields)
            self._journal.put_back(queue, reserved, error, REFUSED_SECONDS)
            return Retry(reserved.id, reserved.token, REFUSED_SECONDS)
        if not jobs:
            self._say_unheard(fact)
        self._journal.done(queue, EVENT_JOB, [reserved], began)
        logger.debug("%s goes to %d listeners", fact.name, len(jobs), extra=fields)
        return Done(reserved.id, reserved.token)

    def _say_unheard(self, fact: Fact) -> None:
        """Warn once of each kind: somebody wants these events, and this worker calls nobody."""
        if fact.name in self._unheard:
            return
        self._unheard.add(fact.name)
        logger.warning(
            "%s came and no function in this worker listens to it: if one should, list its "
            "module in `imports` of broadcaster.toml or name it to `broadcaster work`",
            fact.name,
            extra={"event": "no_listeners", "app": fact.app_id},
        )
