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
from typing import TYPE_CHECKING, NamedTuple

from broadcaster import current
from broadcaster.context import socket_id as socket_id_of_request
from broadcaster.contracts.queue import NewJob
from broadcaster.errors import DriverError
from broadcaster.events.shaping import Shaped, draft, finish
from broadcaster.protocol.ids import uuid7
from broadcaster.protocol.payload import Payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Generator

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.publisher import Publication
    from broadcaster.events.event import ShouldBroadcast
    from broadcaster.events.shaping import Draft

BROADCAST_JOB = "broadcaster.broadcast"

_log = logging.getLogger("broadcaster.events")
_MAX_WARNED = 100
_warned: set[str] = set()


def broadcast(
    event: ShouldBroadcast, *, to_others: bool = False, socket_id: str | None = None
) -> None:
    """
    Broadcast `event`.

    Args:
        to_others: leave out the connection that the current request came from, as its
            ``X-Socket-ID`` header says (the ASGI or WSGI middleware remembers it).
        socket_id: leave out this connection.

    Raises:
        NotConfigured: no credentials or no Redis server were found.
        DriverUnavailable: Redis, or the server of the driver, did not answer within 2 s.
            It is unknown whether the event was accepted.
        PublishRefused: a remote server refused it (only past the queue).
        PublicationError: the event cannot be sent as it is: `PayloadTooLarge`,
            `InvalidPayload`, a bad name, or no channels.
        InvalidChannel, InvalidSocketId: outside their grammar.
    """
    app = current.application()
    said = draft(event, namespace=app.rules.event_namespace)
    if said is not None:
        send(app, said, to_others=to_others, socket_id=socket_id)


async def abroadcast(
    event: ShouldBroadcast, *, to_others: bool = False, socket_id: str | None = None
) -> None:
    """Broadcast `event` from a coroutine; see `broadcast`."""
    app = current.application()
    said = draft(event, namespace=app.rules.event_namespace)
    if said is not None:
        await asend(app, said, to_others=to_others, socket_id=socket_id)


def broadcast_if(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
) -> None:
    """Broadcast `event` if `condition` is true; see `broadcast`."""
    if condition:
        broadcast(event, to_others=to_others, socket_id=socket_id)


def broadcast_unless(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
) -> None:
    """Broadcast `event` if `condition` is false; see `broadcast`."""
    if not condition:
        broadcast(event, to_others=to_others, socket_id=socket_id)


async def abroadcast_if(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
) -> None:
    """Broadcast `event` from a coroutine if `condition` is true; see `broadcast`."""
    if condition:
        await abroadcast(event, to_others=to_others, socket_id=socket_id)


async def abroadcast_unless(
    condition: object,
    event: ShouldBroadcast,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
) -> None:
    """Broadcast `event` from a coroutine if `condition` is false; see `broadcast`."""
    if not condition:
        await abroadcast(event, to_others=to_others, socket_id=socket_id)


def send(
    app: Application, said: Draft, *, to_others: bool = False, socket_id: str | None = None
) -> int:
    """
    Send what an event said; return the number of publications.

    Raises:
        BroadcasterError: see `broadcast`.
    """
    shaped = _shape(app, said, to_others=to_others, socket_id=socket_id)
    with _rescued(said):
        if said.now:
            for batch in _batches(shaped):
                app.publisher(batch.connection).publish(batch.publications)
        else:
            app.queue.push(_jobs(shaped, said.queue or app.rules.queue))
    return len(shaped)


async def asend(
    app: Application, said: Draft, *, to_others: bool = False, socket_id: str | None = None
) -> int:
    """Send what an event said from a coroutine; see `send`."""
    shaped = _shape(app, said, to_others=to_others, socket_id=socket_id)
    with _rescued(said):
        if said.now:
            for batch in _batches(shaped):
                await app.publisher(batch.connection).apublish(batch.publications)
        else:
            await app.queue.apush(_jobs(shaped, said.queue or app.rules.queue))
    return len(shaped)


class _Batch(NamedTuple):
    """Publications that go through one driver."""

    connection: str | None
    publications: list[Publication]


def _shape(
    app: Application, said: Draft, *, to_others: bool, socket_id: str | None
) -> list[Shaped]:
    excluded = socket_id
    if to_others and excluded is None:
        excluded = socket_id_of_request.get()
        if excluded is None:
            _warn_about_missing_socket_id(said.name)
    return finish(said, app_id=app.app_id, rules=app.rules, socket_id=excluded, new_id=_new_id)


def _new_id() -> str:
    return uuid7(time.time(), os.urandom(10))


def _jobs(shaped: list[Shaped], queue: str) -> list[NewJob]:
    return [_job(item, queue) for item in shaped]


def _job(shaped: Shaped, queue: str) -> NewJob:
    publication = shaped.publication
    data: dict[str, object] = {
        "app": publication.app_id,
        "channels": list(publication.channels),
        "name": publication.name,
        "data": publication.data,
        "socket_id": publication.socket_id,
    }
    if shaped.connection is not None:
        data["connection"] = shaped.connection
    body = encode_payload(Payload(id=publication.id, job=BROADCAST_JOB, data=data))
    return NewJob(id=publication.id, queue=queue, body=body)


def _batches(shaped: list[Shaped]) -> list[_Batch]:
    batches: dict[str | None, _Batch] = {}
    for item in shaped:
        batch = batches.setdefault(item.connection, _Batch(item.connection, []))
        batch.publications.append(item.publication)
    return list(batches.values())


@contextmanager
def _rescued(said: Draft) -> Generator[None, None, None]:
    try:
        yield
    except DriverError as error:
        if not said.rescue:
            raise
        _log.exception(
            "%s was not broadcast: %s",
            said.name,
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
