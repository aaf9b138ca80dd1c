"""
The verbs that pause a queue and let it go on.

``pause_queue("mail", for_=minutes(10))`` keeps every worker from the jobs of a queue, all its
lanes included; what runs goes on to its end. ``resume_queue("mail")`` ends that. Each has its
coroutine, with ``a`` in front. The command ``broadcaster queue`` goes the same way.
"""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

from broadcaster import current
from broadcaster.jobs.announcing import announce
from broadcaster.jobs.delay import as_seconds
from broadcaster.jobs.lifecycle import QueuePaused, QueueResumed
from broadcaster.protocol.lanes import is_queue

if TYPE_CHECKING:
    from broadcaster.contracts.connections import ServedConnection
    from broadcaster.jobs.delay import Duration

_SHORTEST = 0.001


def pause_queue(
    name: str, *, for_: Duration | None = None, connection: str | None = None, by: str = ""
) -> None:
    """
    Let the jobs of a queue wait, from the next reservation of every worker on.

    It may be a queue that nothing was pushed to yet. `QueuePaused` is told. A queue that is
    paused is paused anew, with this end and this name.

    Args:
        name: of the queue.
        for_: seconds, or a `timedelta`, after which it goes on by itself; at least a
            millisecond. None is until `resume_queue`.
        connection: its queue connection; None is that of ``[queue]``.
        by: who pauses it, for status; empty is user@host of this process.

    Raises:
        ValueError: not a name of queues, or `for_` is not between a millisecond and a year.
        NotConfigured: no Redis server was found.
        ConfigurationError: no such connection, or its jobs wait nowhere (``sync``, ``null``) or
            with somebody else (``celery``).
        DriverUnavailable: Redis did not answer within 2 s; repeating it does no harm.
    """
    _check(name)
    pause_served(current.application().served(connection), name, _end(for_), by)


async def apause_queue(
    name: str, *, for_: Duration | None = None, connection: str | None = None, by: str = ""
) -> None:
    """Let the jobs of a queue wait, from a coroutine; see `pause_queue`."""
    _check(name)
    served, seconds = current.application().served(connection), _end(for_)
    await served.admin.apause(name, seconds, by or _who(), lanes=served.lanes)
    announce(QueuePaused(connection_name=served.name, queue=name, ttl=seconds))


def resume_queue(name: str, *, connection: str | None = None) -> bool:
    """
    Let a paused queue go on; return False if it was not paused.

    `QueueResumed` is told if it was.

    Args:
        name: of the queue.
        connection: its queue connection; None is that of ``[queue]``.

    Raises:
        ValueError: not a name of queues.
        NotConfigured, ConfigurationError, DriverUnavailable: as `pause_queue`.
    """
    _check(name)
    return resume_served(current.application().served(connection), name)


async def aresume_queue(name: str, *, connection: str | None = None) -> bool:
    """Let a paused queue go on, from a coroutine; see `resume_queue`."""
    _check(name)
    served = current.application().served(connection)
    return _resumed(served, name, was=await served.admin.aresume(name, lanes=served.lanes))


def pause_served(served: ServedConnection, name: str, seconds: float | None, by: str = "") -> None:
    """Pause a queue of a connection that is open, and tell it; see `pause_queue`."""
    served.admin.pause(name, seconds, by or _who(), lanes=served.lanes)
    announce(QueuePaused(connection_name=served.name, queue=name, ttl=seconds))


def resume_served(served: ServedConnection, name: str) -> bool:
    """Let a queue of a connection that is open go on, and tell it; see `resume_queue`."""
    return _resumed(served, name, was=served.admin.resume(name, lanes=served.lanes))


def _resumed(served: ServedConnection, name: str, *, was: bool) -> bool:
    if was:
        announce(QueueResumed(connection_name=served.name, queue=name))
    return was


def _check(name: str) -> None:
    if not is_queue(name):
        raise ValueError(f"name must be that of a queue, not {name!r}")


def _end(for_: Duration | None) -> float | None:
    if for_ is None:
        return None
    seconds = as_seconds(for_, "for_")
    if seconds < _SHORTEST:
        raise ValueError(f"for_ must be a millisecond at least, not {for_!r}; None has no end")
    return seconds


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # nobody of this number is known
        user = "?"
    return f"{user}@{socket.gethostname()}"
