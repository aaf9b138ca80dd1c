"""An application that records what it is given, and fails on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from broadcaster.contracts.application import BroadcastRules
from broadcaster.contracts.apps import App
from broadcaster.contracts.connections import QueueConnection, ServedConnection
from broadcaster.drivers.null import NullLimiter, NullLocks
from broadcaster.drivers.sync import SyncQueue
from broadcaster.drivers.sync_batches import SyncBatches
from broadcaster.drivers.sync_statuses import SyncJobStatuses
from broadcaster.errors import NotConfigured
from broadcaster.protocol.payload import Payload, decode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.batches import Batches
    from broadcaster.contracts.completed import CompletedJobs
    from broadcaster.contracts.limits import Limiter, Locks
    from broadcaster.contracts.publisher import Publication
    from broadcaster.contracts.queue import NewJob, Queue
    from broadcaster.contracts.revocations import Revocation
    from broadcaster.contracts.stores import FailedJobs


class RecordingApplication:
    """See `broadcaster.contracts.application.Application`."""

    def __init__(self) -> None:
        self.app = App(id="1", key="k", secret="s")
        self.debug = False
        self.app_id = "1"
        self.rules = BroadcastRules(lanes=0)
        self.default_queue = "default"
        self.published: list[Publication] = []
        self.jobs: list[NewJob] = []
        self.failure: Exception | None = None
        self.revoked: list[tuple[str, Revocation]] = []
        self.signed_in: set[str] = set()
        self.terminated: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.closed = 0
        self.job_statuses = SyncJobStatuses(lambda: 1_700_000_000.0)

    @property
    def queue(self) -> Queue:
        return cast("Queue", SyncQueue(_Recorder(self)))

    def connection(self, name: str | None = None) -> QueueConnection:
        return QueueConnection(name=name or "default", queue=self.queue)

    def served(self, name: str | None = None) -> ServedConnection:
        raise NotConfigured("no server")

    @property
    def batches(self) -> Batches:
        return SyncBatches()

    @property
    def failed_jobs(self) -> FailedJobs:
        raise NotConfigured("no server")

    @property
    def locks(self) -> Locks:
        return NullLocks()

    @property
    def limiter(self) -> Limiter:
        return NullLimiter()

    @property
    def users(self) -> RecordingOnline:
        return RecordingOnline(self)

    @property
    def completed_jobs(self) -> CompletedJobs:
        raise NotConfigured("a test gives the log a store of its own")

    @property
    def revoker(self) -> RecordingRevoker:
        return RecordingRevoker(self)

    def find_app(self, app_id: str) -> App:
        return App(id=app_id, key="k", secret="s")

    def encrypt(self, channel: str, data: str) -> str:
        return f"{channel} hides {len(data)}"

    def publisher(self) -> RecordingPublisher:
        return RecordingPublisher(self)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.close()

    def payloads(self) -> list[Payload]:
        return [decode_payload(job.body) for job in self.jobs]

    def note(self, call: str) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure


class RecordingRevoker:
    """See `broadcaster.contracts.revocations.Revoker`."""

    def __init__(self, application: RecordingApplication) -> None:
        self._application = application

    def revoke(self, app_id: str, item: Revocation) -> None:
        self._application.note("revoke")
        self._application.revoked.append((app_id, item))

    async def arevoke(self, app_id: str, item: Revocation) -> None:
        self._application.note("arevoke")
        self._application.revoked.append((app_id, item))

    def terminate(self, app_id: str, user_id: str) -> None:
        self._application.note("terminate")
        self._application.terminated.append((app_id, user_id))

    async def aterminate(self, app_id: str, user_id: str) -> None:
        self._application.note("aterminate")
        self._application.terminated.append((app_id, user_id))


class RecordingOnline:
    """See `broadcaster.contracts.users.OnlineReader`."""

    def __init__(self, application: RecordingApplication) -> None:
        self._application = application

    def online(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        self._application.note("online")
        return [user_id in self._application.signed_in for user_id in user_ids]

    async def aonline(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        self._application.note("aonline")
        return [user_id in self._application.signed_in for user_id in user_ids]


class RecordingPublisher:
    """See `broadcaster.contracts.publisher.Publisher`."""

    def __init__(self, application: RecordingApplication) -> None:
        self._application = application

    def publish(self, publications: Sequence[Publication]) -> None:
        self._application.note("publish")
        self._application.published += publications

    async def apublish(self, publications: Sequence[Publication]) -> None:
        self._application.note("apublish")
        self._application.published += publications


class _Recorder:
    def __init__(self, application: RecordingApplication) -> None:
        self._application = application

    def run(self, job: NewJob) -> None:
        self._application.note("push")
        self._application.jobs.append(job)

    async def arun(self, job: NewJob) -> None:
        self._application.note("apush")
        self._application.jobs.append(job)
