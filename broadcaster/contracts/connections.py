"""Queues by name: the connections that jobs are dispatched to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broadcaster.protocol.lanes import LANES

if TYPE_CHECKING:
    from broadcaster.contracts.queue import Queue
    from broadcaster.contracts.queue_admin import QueueAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConnection:
    """
    A queue under a name, and what holds for all that is dispatched to it.

    Attributes:
        name: what settings call it; the one of ``[queue]`` is ``default``.
        queue: where its jobs wait.
        default_queue: queue of a job that names none.
        after_commit: what is dispatched in a transaction waits for its end, unless it says
            otherwise.
        lanes: of each of its queues, for jobs with an order.
        has_batches: what runs its jobs can count them in batches.
    """

    name: str
    queue: Queue
    default_queue: str = "default"
    after_commit: bool = False
    lanes: int = LANES
    has_batches: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedConnection:
    """
    A queue connection that workers serve, as it is handled from outside.

    Attributes:
        name: its own; a ``failover`` connection is handled as the one that it prefers.
        admin: handles its queues.
        lanes: of each of its queues.
    """

    name: str
    admin: QueueAdmin
    lanes: int = LANES
