"""What the verbs (`broadcast`, `dispatch`) need of the process they are called in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broadcaster.protocol.lanes import LANES

if TYPE_CHECKING:
    from broadcaster.contracts.apps import App
    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.completed import CompletedJobs
    from broadcaster.contracts.connections import QueueConnection, ServedConnection
    from broadcaster.contracts.job_status import JobStatuses
    from broadcaster.contracts.limits import Limiter, Locks
    from broadcaster.contracts.publisher import Publisher
    from broadcaster.contracts.queue import Queue
    from broadcaster.contracts.revocations import Revoker
    from broadcaster.contracts.stores import FailedJobs
    from broadcaster.contracts.users import OnlineReader


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastRules:
    """
    How events become publications.

    Attributes:
        event_namespace: put before a class name, dots becoming backslashes; may be empty.
        queue: where queued broadcasts wait unless the event names another.
        max_data_bytes: longest data of one event, encoded as UTF-8.
        after_commit: what is sent in a transaction waits for its end, unless it says otherwise.
        lanes: of each queue (`broadcaster.protocol.lanes`); with 0 the queue itself is one.
    """

    event_namespace: str = "App.Events"
    queue: str = "broadcasts"
    max_data_bytes: int = 10_240
    after_commit: bool = False
    lanes: int = LANES


class Application(Protocol):
    """
    The backend's side of one app: credentials, queue and publishers.

    Queue and publishers are opened when they are first used and may be used from several
    threads and event loops.
    """

    @property
    def app(self) -> App:
        """
        The app that is worked for: the one of `using_app`, else the one of the settings.

        Raises `NotConfigured` without credentials, and where several apps are configured and
        none is chosen.
        """
        ...

    def find_app(self, app_id: str) -> App:
        """
        Return one of several apps, those that Redis holds included.

        Raises `NotConfigured` if there is none of this id, and `DriverUnavailable` if Redis,
        which may have it, does not answer within 2 s.
        """
        ...

    @property
    def debug(self) -> bool:
        """Whether answers explain refusals: in development only."""
        ...

    @property
    def app_id(self) -> str:
        """The app that events are published to; `NotConfigured` without credentials."""
        ...

    @property
    def rules(self) -> BroadcastRules:
        """How events become publications."""
        ...

    @property
    def default_queue(self) -> str:
        """Queue of a job that names none."""
        ...

    @property
    def queue(self) -> Queue:
        """Where jobs wait; `NotConfigured` without a Redis server."""
        ...

    def connection(self, name: str | None = None) -> QueueConnection:
        """
        Return a queue by the name of its connection; None is that of ``[queue]``.

        Raises `NotConfigured` if the settings have no connection of this name, or it lacks
        what it needs.
        """
        ...

    def served(self, name: str | None = None) -> ServedConnection:
        """
        Return what handles the queues of a connection from outside; None is that of ``[queue]``.

        Raises `ConfigurationError` if there is none of this name, or its jobs wait nowhere, and
        `NotConfigured` without a Redis server.
        """
        ...

    @property
    def batches(self) -> Batches:
        """What counts the jobs of batches; `NotConfigured` without a Redis server."""
        ...

    @property
    def failed_jobs(self) -> FailedJobs:
        """The jobs that were given up; `NotConfigured` without a Redis server."""
        ...

    @property
    def locks(self) -> Locks:
        """Locks that jobs share; `NotConfigured` without a Redis server."""
        ...

    @property
    def limiter(self) -> Limiter:
        """Limits that jobs share; `NotConfigured` without a Redis server."""
        ...

    @property
    def job_statuses(self) -> JobStatuses:
        """How far tracked jobs are; `NotConfigured` without a Redis server."""
        ...

    @property
    def revoker(self) -> Revoker:
        """What takes authorizations back; `NotConfigured` without a Redis server."""
        ...

    @property
    def users(self) -> OnlineReader:
        """What says who is online; `NotConfigured` without a Redis server."""
        ...

    @property
    def completed_jobs(self) -> CompletedJobs:
        """Where it is kept which jobs were done; `NotConfigured` without a Redis server."""
        ...

    def encrypt(self, channel: str, data: str) -> str:
        """
        Return `data` as only subscribers of the encrypted channel `channel` can read it.

        It differs each time. Raises `NotConfigured` without a master key, or without PyNaCl.
        """
        ...

    def publisher(self) -> Publisher:
        """
        Return what brings each publication to the driver that it names, or the configured one.

        Its calls raise `UnknownDriver` for a name that no driver has, and `NotConfigured`
        if the driver needs a setting that is missing.
        """
        ...

    def close(self) -> None:
        """Close connections that were opened from code without an event loop."""
        ...

    async def aclose(self) -> None:
        """Close every connection, those of the running loop included."""
        ...
