r"""
The verbs that send events.

``broadcast(event)`` asks the event for its channels, name and data, and puts the finished
publication into the queue, from where a worker publishes it; an event that derives from
`ShouldBroadcastNow` is published before the call returns. ``abroadcast`` is its
coroutine. Both take at most one round trip to Redis, and raise `DriverUnavailable`
within 2 s if there is no answer. The plain verb may be called in a running event loop
too; it holds the loop for that round trip.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.context import socket_id as socket_id_of_request
from broadcaster.contracts.queue import NewJob
from broadcaster.errors import DriverError, NotReplicated
from broadcaster.events.interception import interception
from broadcaster.events.shaping import draft, finish
from broadcaster.jobs.after_commit import postpone
from broadcaster.jobs.bus import Sending
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.lanes import by_lane, lane_name
from broadcaster.protocol.payload import BROADCAST_JOB, Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.publisher import Publication
    from broadcaster.events.event import ShouldBroadcast
    from broadcaster.events.shaping import Draft

_log = logging.getLogger("broadcaster.events")
_MAX_WARNED = 100
_warned: set[str] = set()


def broadcast(
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """
    Broadcast `event`.

    Args:
        to_others: leave out the connection that the current request came from, as its
            ``X-Socket-ID`` header says (the ASGI or WSGI middleware remembers it).
        socket_id: leave out this connection.
        after_commit: send it when the open transaction is committed, and not if it is rolled
            back (`broadcaster.jobs.after_commit`); what the event says is asked now. None is
            what the event says, or the ``queue.after_commit`` setting.

    Raises:
        NotConfigured: no credentials or no Redis server were found, or what it takes to
            encrypt for an encrypted channel.
        DriverUnavailable: Redis, or the server of the driver, did not answer within 2 s.
        DriverRefused: Redis answered and refused; repeating does not help.
            It is unknown whether the event was accepted.
        PublishRefused: a remote server refused it (only past the queue).
        PublicationError: the event cannot be sent as it is: `PayloadTooLarge`,
            `InvalidPayload`, a bad name, or no channels.
        InvalidChannel, InvalidSocketId: outside their grammar.
    """
    app = current.application()
    said = draft(event, namespace=app.rules.event_namespace)
    if said is not None:
        send(app, said, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


async def abroadcast(
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """Broadcast `event` from a coroutine; see `broadcast`."""
    app = current.application()
    said = draft(event, namespace=app.rules.event_namespace)
    if said is not None:
        await asend(app, said, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


def broadcast_if(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """Broadcast `event` if `condition` is true; see `broadcast`."""
    if condition:
        broadcast(event, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


def broadcast_unless(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """Broadcast `event` if `condition` is false; see `broadcast`."""
    if not condition:
        broadcast(event, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


async def abroadcast_if(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """Broadcast `event` from a coroutine if `condition` is true; see `broadcast`."""
    if condition:
        await abroadcast(event, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


async def abroadcast_unless(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> None:
    """Broadcast `event` from a coroutine if `condition` is false; see `broadcast`."""
    if not condition:
        await abroadcast(event, to_others=to_others, socket_id=socket_id, after_commit=after_commit)


def send(
    app: Application,
    said: Draft,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> int:
    """
    Send what an event said, or have it sent; return the number of publications.

    Raises:
        BroadcasterError: see `broadcast`.
    """
    publications = _shape(app, said, to_others=to_others, socket_id=socket_id)
    sending = _Sending(app, said, publications)
    if not (_waits(app, said, chosen=after_commit) and postpone(sending)):
        sending.run()
    return len(publications)


async def asend(
    app: Application,
    said: Draft,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool | None = None,
) -> int:
    """Send what an event said from a coroutine; see `send`."""
    publications = _shape(app, said, to_others=to_others, socket_id=socket_id)
    sending = _Sending(app, said, publications)
    if not (_waits(app, said, chosen=after_commit) and postpone(sending)):
        await sending.arun()
    return len(publications)


class _Sending:
    """Publications on their way; implements `broadcaster.jobs.after_commit.Action`."""

    def __init__(self, app: Application, said: Draft, publications: list[Publication]) -> None:
        self._app = app
        self._said = said
        self._publications = publications

    def run(self) -> None:
        if self._taken():
            return
        with _rescued(self._said):
            if self._said.now:
                self._app.publisher().publish(self._publications)
            else:
                Sending(self._app.connection(), self._jobs()).send()

    async def arun(self) -> None:
        if self._taken():
            return
        with _rescued(self._said):
            if self._said.now:
                await self._app.publisher().apublish(self._publications)
            else:
                await Sending(self._app.connection(), self._jobs()).asend()

    def _taken(self) -> bool:
        fake = interception.broadcast
        return fake is not None and fake(self._said, self._publications)

    def _jobs(self) -> list[NewJob]:
        queue, lanes = self._said.queue or self._app.rules.queue, self._app.rules.lanes
        if not lanes:
            return [_job(each, each.channels, queue) for each in self._publications]
        return [
            _job(publication, channels, lane_name(queue, lane))
            for publication in self._publications
            for lane, channels in by_lane(publication.channels, lanes).items()
        ]


def _waits(app: Application, said: Draft, *, chosen: bool | None) -> bool:
    """Whether what an event said waits for a commit; the closest choice wins."""
    for choice in (chosen, said.after_commit):
        if choice is not None:
            return choice
    return app.rules.after_commit


def _shape(
    app: Application, said: Draft, *, to_others: bool, socket_id: str | None
) -> list[Publication]:
    excluded = socket_id
    if to_others and excluded is None:
        excluded = socket_id_of_request.get()
        if excluded is None:
            _warn_about_missing_socket_id(said.name)
    return finish(
        said,
        app_id=app.app_id,
        rules=app.rules,
        socket_id=excluded,
        new_id=_new_id,
        encrypt=app.encrypt,
    )


def _new_id() -> str:
    return uuid7(time.time(), os.urandom(10))


def _job(publication: Publication, channels: Sequence[str], queue: str) -> NewJob:
    """Return the job that publishes to those `channels` of one lane, under the event's id."""
    data: dict[str, object] = {
        "app": publication.app_id,
        "channels": channels,
        "name": publication.name,
        "data": publication.data,
        "socket_id": publication.socket_id,
    }
    if publication.connection is not None:
        data["connection"] = publication.connection
    body = encode_payload(Payload(id=publication.id, job=BROADCAST_JOB, data=data))
    return NewJob(id=publication.id, queue=queue, body=body)


@contextmanager
def _rescued(said: Draft) -> Generator[None, None, None]:
    try:
        yield
    except DriverError as error:
        if not said.rescue:
            raise
        what = "may be lost" if isinstance(error, NotReplicated) else "was not broadcast"
        _log.exception(
            "%s %s: %s",
            said.name,
            what,
            error.message,
            extra={"event": "broadcast_rescued"},
        )


def _warn_about_missing_socket_id(name: str) -> None:
    """Warn once per event name: the sender will see their own event twice."""
    if name in _warned or len(_warned) >= _MAX_WARNED:
        return
    _warned.add(name)
    _log.warning(
        "%s was sent to_others, but the request has no X-Socket-ID header, so everybody gets it. "
        "Echo adds the header to axios and jQuery only: use socketIdFetch() of the client package "
        "for fetch(), send the header yourself, or mount SocketIdMiddleware if it is not mounted",
        name,
        extra={"event": "socket_id_missing"},
    )
