"""
Emitting events: everybody who listens is told.

::

    emit(OrderPlaced(order_id=7))             # Django, Flask, scripts, jobs
    await aemit(OrderPlaced(order_id=7))      # FastAPI, Starlette

An event is an object of any class. What happens, in this order:

1. An event that derives from `ShouldBroadcast` is broadcast; see `broadcast`.
2. Its listeners are called, in the order in which they were added (`listen`). Queued ones
   are only noted. One that returns False keeps the event from those after it; what one
   raises comes out of the call, and those after it are not called.
3. The noted ones are queued, all in one round trip, also after an exception: each is a job
   with a name, tries and a queue of its own. (Several connections take a round trip each.)
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from broadcaster import current
from broadcaster.events.broadcast import abroadcast, broadcast
from broadcaster.events.event import ShouldBroadcast
from broadcaster.events.interception import interception
from broadcaster.events.listener_jobs import listener_job
from broadcaster.events.listeners import listeners
from broadcaster.jobs.after_commit import postpone
from broadcaster.jobs.announcing import announce
from broadcaster.jobs.bus import ID_BYTES, Sending, new_job, prepared
from broadcaster.jobs.execution import loop_is_running
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import LifecycleEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.connections import QueueConnection
    from broadcaster.contracts.queue import NewJob
    from broadcaster.events.listeners import Listener
    from broadcaster.jobs.bus import PreparedJob

_SAYS = (("queue", "via_queue"), ("connection", "via_connection"), ("delay", "with_delay"))
"""Options of a dispatch, and the methods of a listener class that say them."""


class ShouldEmitAfterCommit:
    """
    Marks events that are emitted when the open transaction is committed.

    See `broadcaster.jobs.after_commit`. Without an open transaction they are emitted at once.
    """

    __slots__ = ()


def emit(
    event: object,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool = False,
) -> list[Any]:
    """
    Tell everybody who listens to `event`.

    Blocks for at most one round trip to Redis if there are queued listeners, and one more if
    the event is broadcast; and for as long as its sync listeners take. Listeners that are
    coroutine functions are run to their end one after the other in an event loop of this call.

    Args:
        to_others, socket_id: for events that are broadcast; see `broadcast`.
        after_commit: do all that when the open transaction is committed, and nothing if it is
            rolled back; see `broadcaster.jobs.after_commit`.

    Returns:
        What the listeners returned, without None; empty if it waits for a commit.

    Raises:
        TypeError: `event` is a class, a job, or of a built-in type, as None and text are.
        RuntimeError: a listener is a coroutine function and an event loop is running; use
            `aemit`. No listener was called.
        InvalidJob: a queued listener cannot be sent this event.
        BroadcasterError: see `broadcast` and `Job.dispatch`.
    """
    _check(event)
    emission = _Emission(event, to_others=to_others, socket_id=socket_id)
    if (after_commit or isinstance(event, ShouldEmitAfterCommit)) and postpone(emission):
        return []
    emission.run()
    return emission.answers


async def aemit(
    event: object,
    *,
    to_others: bool = False,
    socket_id: str | None = None,
    after_commit: bool = False,
) -> list[Any]:
    """
    Tell everybody who listens to `event`, from a coroutine; see `emit`.

    Listeners that are plain functions are called in a thread, one after the other.
    """
    _check(event)
    emission = _Emission(event, to_others=to_others, socket_id=socket_id)
    if (after_commit or isinstance(event, ShouldEmitAfterCommit)) and postpone(emission):
        return []
    await emission.arun()
    return emission.answers


class _Emission:
    """One event on its way; implements `broadcaster.jobs.after_commit.Action`."""

    def __init__(self, event: object, *, to_others: bool, socket_id: str | None) -> None:
        self._event = event
        self._to_others = to_others
        self._socket_id = socket_id
        self.answers: list[Any] = []

    def run(self) -> None:
        if self._taken():
            return
        event, found = self._event, listeners.of(type(self._event))
        if isinstance(event, LifecycleEvent):
            announce(event)
        _refuse_in_loop(event, found)
        if isinstance(event, ShouldBroadcast):
            broadcast(event, to_others=self._to_others, socket_id=self._socket_id)
        noted: list[PreparedJob] = []
        try:
            for listener in found:
                if listener.job is not None:
                    noted += _noted(listener, event)
                elif not self._heard(_call(listener, event)):
                    break
        finally:
            for sending in _sendings(noted):
                sending.send()

    async def arun(self) -> None:
        if self._taken():
            return
        event, found = self._event, listeners.of(type(self._event))
        if isinstance(event, LifecycleEvent):
            announce(event)
        if isinstance(event, ShouldBroadcast):
            await abroadcast(event, to_others=self._to_others, socket_id=self._socket_id)
        noted: list[PreparedJob] = []
        try:
            for listener in found:
                if listener.job is not None:
                    noted += _noted(listener, event)
                elif not self._heard(await _acall(listener, event)):
                    break
        finally:
            for sending in _sendings(noted):
                await sending.asend()

    def _taken(self) -> bool:
        fake = interception.emitted
        return fake is not None and fake(self._event)

    def _heard(self, answer: object) -> bool:
        """Keep an answer; False if it says that nobody else is to be told."""
        if answer is not None and answer is not False:
            self.answers.append(answer)
        return answer is not False


def _check(event: object) -> None:
    if isinstance(event, type):
        raise TypeError(f"emit() takes an event, not its class: emit({event.__name__}(...))")
    if type(event).__module__ == "builtins":  # None, text, a dict: nobody could listen to it
        raise TypeError(f"emit() takes an object of a class of yours, not {repr(event)[:40]}")
    if isinstance(event, Job):
        raise TypeError(f"{type(event).__name__} is a job: dispatch() it")


def _refuse_in_loop(event: object, found: tuple[Listener, ...]) -> None:
    waiting = next((one.name for one in found if one.waits and one.job is None), None)
    if waiting is not None and loop_is_running():
        raise RuntimeError(
            f"{waiting} listens to {type(event).__name__} and is async, and an event loop is "
            "running here: await aemit()"
        )


def _call(listener: Listener, event: object) -> object:
    if listener.waits:
        return asyncio.run(listener.call(event))
    return listener.call(event)


async def _acall(listener: Listener, event: object) -> object:
    if listener.waits:
        return await listener.call(event)
    return await asyncio.to_thread(listener.call, event)


def _noted(listener: Listener, event: object) -> list[PreparedJob]:
    """Return the job of a queued listener, or nothing if it does not want this event."""
    owner: Any = listener.owner() if listener.owner is not None else None
    if hasattr(owner, "should_queue") and not owner.should_queue(event):
        return []
    said = {word: getattr(owner, method)(event) for word, method in _SAYS if hasattr(owner, method)}
    given = {word: value for word, value in said.items() if value is not None}
    return [prepared(listener_job(listener, event), **given)]


def _sendings(noted: Sequence[PreparedJob]) -> list[Sending]:
    """Return what has to be sent now, one for each connection; the rest waits for a commit."""
    groups: dict[tuple[str | None, bool | None], list[PreparedJob]] = {}
    for job in noted:
        key = (job.options.connection, job.options.after_commit)
        groups.setdefault(key, []).append(job)
    due: list[Sending] = []
    for (name, chosen), jobs in groups.items():
        connection = current.application().connection(name)
        made = [_new_job(job, connection) for job in jobs]
        sending = Sending(connection, made, [job.job for job in jobs])
        waits = connection.after_commit if chosen is None else chosen
        if not (waits and postpone(sending)):
            due.append(sending)
    return due


def _new_job(job: PreparedJob, connection: QueueConnection) -> NewJob:
    return new_job(
        job,
        now=time.time(),
        randomness=os.urandom(ID_BYTES),
        default_queue=connection.default_queue,
        lanes=connection.lanes,
    )
