"""
The job ``broadcaster.fact``: finding out who wants a fact.

Each endpoint that does gets a job of its own, and so do the listeners of the app's workers,
so that none waits for another. All are pushed before the fact is settled; done twice, it
pushes what waits already, which does nothing.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from broadcaster.contracts.queue import Done, NewJob, Release, Retry
from broadcaster.errors import DriverRefused, DriverUnavailable, InvalidJob
from broadcaster.protocol.channels import shown
from broadcaster.protocol.fact_jobs import (
    WEBHOOK_QUEUE,
    Delivery,
    delivery_id,
    encode_delivery,
    encode_event,
    event_id,
    read_fact,
)
from broadcaster.protocol.facts import FACT_JOB
from broadcaster.protocol.payload import decode_payload
from broadcaster.protocol.webhooks import next_try, receivers
from broadcaster.webhooks.unordered import UnorderedRunner, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.queue import Queue, Reserved, Settlement
    from broadcaster.protocol.app import App
    from broadcaster.protocol.facts import Fact

_log = logging.getLogger("broadcaster.webhooks")

AWAY_SECONDS = 1.0
REFUSED_SECONDS = 5.0


class FactRunner(UnorderedRunner):
    """
    Runs the jobs of `FACT_QUEUE`; a `broadcaster.worker.contract.Runner`.

    Args:
        apps: who has which endpoints.
        queue: where the jobs for them go.
        events: the queue of jobs for listeners.
        clock: Unix seconds.
    """

    def __init__(
        self,
        apps: AppProvider,
        queue: Queue,
        *,
        events: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._apps = apps
        self._queue = queue
        self._events = events

    async def run(self, queue: str, reserved: Reserved, hold: object) -> Settlement:
        """Push a job for each who wants the fact."""
        del hold
        job_id, token = reserved.id, reserved.token
        try:
            fact = _read(reserved)
        except InvalidJob as error:
            return unreadable("fact", queue, reserved, error)
        app = self._apps.by_id(fact.app_id)
        if app is None and not self._apps.settled:  # a moment later it may be known
            return Release(job_id, token, AWAY_SECONDS)
        if app is None:
            return self._unknown(reserved, fact)
        try:
            await self._queue.apush(self._jobs(app, fact))
        except DriverUnavailable:  # said by the worker, whose steps fail too
            return Release(job_id, token, AWAY_SECONDS)
        except DriverRefused as error:
            _log.warning("facts wait: %s", error, extra={"event": "facts_wait"})
            return Retry(job_id, token, REFUSED_SECONDS)
        return Done(job_id, token)

    def _unknown(self, reserved: Reserved, fact: Fact) -> Settlement:
        """Leave it to a gateway that knows the app: settings differ while they are changed."""
        now = self._clock()
        pause = next_try(fact, attempt=reserved.attempts + 1, now=now, chance=0.5)
        if pause is not None:
            return Retry(reserved.id, reserved.token, pause)
        _log.warning(
            "%s of app %s is told to nobody: there is no such app any more",
            fact.name,
            shown(fact.app_id),
            extra={"event": "fact_dropped", "app": fact.app_id},
        )
        return Done(reserved.id, reserved.token)

    def _jobs(self, app: App, fact: Fact) -> list[NewJob]:
        jobs = [
            NewJob(
                delivery_id(fact, url),
                WEBHOOK_QUEUE,
                encode_delivery(Delivery(url=url, fact=fact)),
            )
            for url in receivers(app, fact)
        ]
        if app.server_events:
            jobs.append(NewJob(event_id(fact), self._events, encode_event(fact)))
        return jobs


def _read(reserved: Reserved) -> Fact:
    payload = decode_payload(reserved.body)
    if payload.job != FACT_JOB:
        raise InvalidJob(f"the queue of facts holds a job of another kind: {shown(payload.job)}")
    return read_fact(payload)
