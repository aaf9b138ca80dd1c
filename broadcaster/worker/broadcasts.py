"""
The job ``broadcaster.broadcast``: publishing finished events, in order.

A batch goes to the publisher in one call. While the publisher cannot be reached the batch
is repeated in place, which keeps the order and uses up no try: the ids are the same, so
what had been published is not delivered twice. If the publisher refuses a batch, each
event is published alone, and only the one at fault fails: be it a remote server that
refuses, or Redis, where a channel's key has another type.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from broadcaster.contracts.publisher import Publication
from broadcaster.contracts.queue import Done, Fail, Release
from broadcaster.errors import BroadcasterError, DriverUnavailable, InvalidJob, PublishRefused
from broadcaster.jobs.backoff import growing
from broadcaster.jobs.outcome import described
from broadcaster.protocol.payload import BROADCAST_JOB
from broadcaster.worker.own_jobs import OwnJobsJournal
from broadcaster.worker.tries import exception_name, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publisher
    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.protocol.payload import Payload

logger = logging.getLogger("broadcaster.worker")

_PASSING = frozenset({408, 425, 429})


class _Data(msgspec.Struct, forbid_unknown_fields=True):
    app: str
    channels: tuple[str, ...]
    name: str
    data: str
    socket_id: str | None = None
    connection: str | None = None


class Broadcast(NamedTuple):
    """A reserved job and the event in it."""

    job: Reserved
    publication: Publication


def read_publication(payload: Payload) -> Publication:
    """
    Return the event in a broadcast job.

    Raises:
        InvalidJob: its data does not have the shape
            ``{"app", "channels", "name", "data", "socket_id"?, "connection"?}``.
    """
    try:
        data = msgspec.convert(payload.data, _Data)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"not a broadcast: {error}") from error
    return Publication(
        id=payload.id,
        app_id=data.app,
        channels=data.channels,
        name=data.name,
        data=data.data,
        socket_id=data.socket_id,
        connection=data.connection,
    )


class BroadcastPublisher:
    """
    Publishes batches of reserved broadcasts.

    Args:
        publisher: where they go.
        stopping: set when the worker is to stop; ends waiting for a publisher that is away.
        journal: is told what becomes of them.
    """

    def __init__(
        self,
        publisher: Publisher,
        stopping: asyncio.Event,
        journal: OwnJobsJournal | None = None,
    ) -> None:
        self._publisher = publisher
        self._stopping = stopping
        self._journal = journal or OwnJobsJournal()
        self._away = False

    async def publish(self, queue: str, batch: Sequence[Broadcast]) -> list[Settlement]:
        """
        Publish `batch` in order and return what became of each.

        A `Release` ends the list: from there on nothing was published, because the worker
        stops and the publisher is away.
        """
        if not batch:
            return []
        began = self._journal.begin(queue, (one.job for one in batch))
        return await self._publish(queue, batch, began)

    async def _publish(
        self, queue: str, batch: Sequence[Broadcast], began: float
    ) -> list[Settlement]:
        try:
            sent = await self._send(batch)
        except Exception as error:  # noqa: BLE001 - whatever a publisher raises, the lane goes on
            if len(batch) == 1:
                return [self._failed(queue, batch[0], error)]
            return await self._one_by_one(queue, batch)
        if not sent:
            return [Release(batch[0].job.id, batch[0].job.token)]
        for one in batch:
            _log_published(queue, one, began)
        self._journal.done(queue, BROADCAST_JOB, [one.job for one in batch], began)
        return [Done(one.job.id, one.job.token) for one in batch]

    async def _one_by_one(self, queue: str, batch: Sequence[Broadcast]) -> list[Settlement]:
        settlements: list[Settlement] = []
        for one in batch:
            settlements += await self._publish(queue, [one], time.monotonic())
            if isinstance(settlements[-1], Release):
                break
        return settlements

    def _failed(self, queue: str, one: Broadcast, error: Exception) -> Fail:
        reason = error.code if isinstance(error, BroadcasterError) else "exception"
        line = described(error)
        _log_failed(queue, one, error, line)
        self._journal.failed(queue, one.job, error, reason)
        return Fail(
            one.job.id,
            one.job.token,
            reason,
            line,
            one.job.attempts + 1,
            (),
            BROADCAST_JOB,
            exception_name(error),
            written(error),
        )

    async def _send(self, batch: Sequence[Broadcast]) -> bool:
        """Publish, waiting for a publisher that is away; False if the worker stops meanwhile."""
        publications = [one.publication for one in batch]
        attempt = 0
        while True:
            try:
                await self._publisher.apublish(publications)
            except DriverUnavailable as error:
                self._note_away(error)
            except PublishRefused as error:
                if error.status < 500 and error.status not in _PASSING:  # noqa: PLR2004 - HTTP
                    raise
                self._note_away(error)
            else:
                self._note_back()
                return True
            attempt += 1
            if await self._stops_within(growing(attempt)):
                return False

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _note_away(self, error: BroadcasterError) -> None:
        if not self._away:
            logger.warning("broadcasts wait: %s", error, extra={"event": "publisher_away"})
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            logger.info("broadcasts go on", extra={"event": "publisher_back"})
        self._away = False


def _log_failed(queue: str, one: Broadcast, error: Exception, line: str) -> None:
    fields = _fields(queue, one) | {"event": "job_failed", "error": line}
    known = isinstance(error, BroadcasterError)
    logger.error(
        "%s was not published: %s",
        one.publication.name,
        line,
        exc_info=None if known else error,
        extra=fields,
    )


def _log_published(queue: str, one: Broadcast, started: float) -> None:
    if logger.isEnabledFor(logging.INFO):
        duration = round((time.monotonic() - started) * 1000, 1)
        logger.info(
            "%s on %s",
            one.publication.name,
            ", ".join(one.publication.channels[:3]),
            extra=_fields(queue, one) | {"event": "published", "dur_ms": duration},
        )


def _fields(queue: str, one: Broadcast) -> dict[str, object]:
    return {
        "app": one.publication.app_id,
        "channel": ",".join(one.publication.channels[:3]),
        "job": BROADCAST_JOB,
        "job_id": one.job.id,
        "queue": queue,
    }
