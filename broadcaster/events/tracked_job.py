"""
Jobs that somebody waits for: 202 Accepted, a status to ask for, progress on a channel.

::

    class ExportUsers(TrackedJob, queue="exports", tries=3):
        user_id: int

        def handle(self) -> None:
            for done, row in enumerate(rows, start=1):
                ...
                self.progress(100 * done // len(rows), f"{done} of {len(rows)}")
            self.result("https://cdn.example.com/users.csv")

        def broadcast_progress_on(self) -> PrivateChannel:
            return PrivateChannel(f"users.{self.user_id}")

    job_id = ExportUsers(user_id=7).dispatch()
    job_status(job_id)          # JobStatus(status="processing", progress=30, ...)

The status is pending when the job is queued, processing while it runs, pending again before
another try, and in the end completed, with its result, or failed, with its error. It is kept
for `keep_status`, a day, after it last changed. Each change is broadcast as ``job.status``.

Watching a job is never a reason for it to fail: what cannot be written or broadcast is logged,
and texts are cut to `MAX_TEXT`. Only `dispatch` raises, before anything is queued.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

from broadcaster import current
from broadcaster.errors import BroadcasterError, InvalidJob, JobError, JobFailed, JobTimedOut
from broadcaster.events.anonymous import AnonymousEvent
from broadcaster.events.channels import channel_names
from broadcaster.jobs.bus import Skipped
from broadcaster.jobs.job import Job
from broadcaster.jobs.outcome import Failed, Finished, GiveUp, PutOff, TryAgain, decide
from broadcaster.jobs.running import current_job, require_current_job
from broadcaster.protocol.ids import may_be_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Unpack

    from broadcaster.contracts.job_status import JobStatus
    from broadcaster.events.channels import Channels
    from broadcaster.jobs.middleware.contract import Next
    from broadcaster.jobs.options import ClassOptions, DispatchOptions
    from broadcaster.jobs.outcome import Outcome
    from broadcaster.jobs.running import CurrentJob

_log = logging.getLogger("broadcaster.jobs")

EVENT = "job.status"
"""What a change of a status is broadcast as; Echo listens for ``.job.status``."""

DAY = 86_400.0

SLACK = 0.001
"""Seconds by which the time of a job may have begun before we look at the clock."""

MAX_TEXT = 2_000
"""Bytes of a message or an error; the rest is cut off."""

MAX_URL = 4_096
"""Bytes of the URL of a result; a longer one is left out, with a warning."""


class TrackedJob(Job, name="broadcaster.TrackedJob"):
    """
    Base of jobs whose status can be asked for; see the head of this module.

    Attributes:
        keep_status: seconds for which a status is kept after its last change.
    """

    keep_status: ClassVar[float] = DAY

    def __init_subclass__(cls, **given: Unpack[ClassOptions]) -> None:
        """Make the class a job whose runs are written down."""
        super().__init_subclass__(**given)
        own = [each for each in cls.options.middleware if not isinstance(each, _Tracking)]
        cls.options = dataclasses.replace(cls.options, middleware=(_Tracking(), *own))
        if "failed" in cls.__dict__:
            hook: Any = _telling(cls.__dict__["failed"])
            cls.failed = hook  # type: ignore[method-assign] # the same, and it is written down

    def tracked_for(self) -> str:
        """Return whom the job is for, so that nobody else is told about it. Default: nobody."""
        return ""

    def broadcast_progress_on(self) -> Channels | None:
        """Return the channels that are told of each change. Default: None."""
        return None

    def failed(self, error: BaseException) -> Any:
        """See `Job.failed`; the status says so, also of one that took its worker down."""
        _tell_failed(self, error)

    def dispatch(self, **options: Unpack[DispatchOptions]) -> str | Skipped:
        """
        Queue this job and return its id; see `Job.dispatch`.

        Raises:
            InvalidChannel: `broadcast_progress_on` names something that is no channel.
            InvalidJob: `tracked_for` returns no text.
        """
        pending, channels = self._pending(), channel_names(self.broadcast_progress_on())
        job_id = super().dispatch(**options)
        if not isinstance(job_id, Skipped):
            _write(self, job_id, pending, fresh=True, channels=channels)
        return job_id

    async def adispatch(self, **options: Unpack[DispatchOptions]) -> str | Skipped:
        """Queue this job from a coroutine; see `dispatch`."""
        pending, channels = self._pending(), channel_names(self.broadcast_progress_on())
        job_id = await super().adispatch(**options)
        if not isinstance(job_id, Skipped):
            await _awrite(self, job_id, pending, fresh=True, channels=channels)
        return job_id

    def progress(self, percent: int, message: str = "") -> None:
        """
        Say how far this job is; blocks for one round trip. Saying the same again costs none.

        Args:
            percent: 0 to 100.
            message: what it is doing; "" says nothing new.

        Raises:
            NotRunning: no job runs here.
            ValueError: a percentage that cannot be.
        """
        changes = self._new_progress(percent, message)
        if changes:
            _write(self, require_current_job("progress()").id, changes)

    async def aprogress(self, percent: int, message: str = "") -> None:
        """Say how far this job is, from a coroutine; see `progress`."""
        changes = self._new_progress(percent, message)
        if changes:
            await _awrite(self, require_current_job("aprogress()").id, changes)

    def result(self, url: str) -> None:
        """
        Say where the result of this job is, for when it is completed; blocks for one round trip.

        Args:
            url: at most `MAX_URL` bytes.

        Raises:
            NotRunning: no job runs here.
        """
        _write(self, require_current_job("result()").id, {"result_url": url})

    async def aresult(self, url: str) -> None:
        """Say where the result of this job is, from a coroutine; see `result`."""
        await _awrite(self, require_current_job("aresult()").id, {"result_url": url})

    def _pending(self) -> dict[str, str | int]:
        name, owner = self.options.name, cast("object", self.tracked_for())
        if not isinstance(owner, str):
            raise InvalidJob(f"{name}.tracked_for() returned a {type(owner).__name__}, not a str")
        return {"job": name, "status": "pending", "progress": 0, "owner": owner}

    def _new_progress(self, percent: int, message: str) -> dict[str, str | int]:
        if isinstance(percent, bool) or not 0 <= percent <= 100:  # noqa: PLR2004 - per cent
            raise ValueError(f"progress is 0 to 100, not {percent!r}")
        said = (int(percent), message)
        if self.__dict__.get("_said") == said:
            return {}
        object.__setattr__(self, "_said", said)
        return {"progress": said[0], **({"message": message} if message else {})}


def job_status(job_id: str | Skipped) -> JobStatus | None:
    """
    Return the status of a `TrackedJob`, or None; blocks for one round trip.

    Args:
        job_id: what `dispatch` returned; of a unique job that was skipped the status of the
            one that is in its way. Anything may be asked for: what is no id has no status.

    Raises:
        DriverUnavailable: it cannot be read.
    """
    known = _id_of(job_id)
    return current.application().job_statuses.find(known) if known else None


async def ajob_status(job_id: str | Skipped) -> JobStatus | None:
    """Return the status of a `TrackedJob` from a coroutine; see `job_status`."""
    known = _id_of(job_id)
    return await current.application().job_statuses.afind(known) if known else None


def status_body(status: JobStatus) -> dict[str, Any]:
    """Return a status as answers and broadcasts carry it, in JSON types; without its owner."""
    return {
        "job_id": status.id,
        "status": status.status,
        "progress": status.progress,
        "message": status.message,
        "result_url": status.result_url if status.status == "completed" else None,
        "error": status.error or None,
        "updated_at": status.updated_at,
    }


class _Tracking:
    """Middleware that writes down when a job begins and how it ends."""

    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - as in the contract
        running = current_job()
        if running is None or not isinstance(job, TrackedJob):
            await next()
            return
        started = time.monotonic()  # the time of the job runs while this is written
        with _watching(job):
            begun = {**job._pending(), "status": "processing", "message": "", "error": ""}  # noqa: SLF001 - of this module
            await _awrite(job, running.id, begun)
        try:
            await next()
        except asyncio.CancelledError:
            limit = running.limits.timeout
            if limit is not None and time.monotonic() - started >= limit - SLACK:
                await _awrite(job, running.id, _ended(running, JobTimedOut("it took too long")))
            raise  # else whoever cancelled it knows what becomes of it
        except BaseException as error:
            await _awrite(job, running.id, _ended(running, error))
            raise
        await _awrite(job, running.id, _ended(running, None))


def _ended(running: CurrentJob, error: BaseException | None) -> dict[str, str | int]:
    """
    Return what a status says after a run.

    Of an exception that was not raised to be read (`JobFailed`) it says the type only: its
    text may hold what is nobody's business.
    """
    outcome: Outcome = decide(
        past=running.past,
        limits=running.limits,
        now=time.time(),
        error=error,
        verdict=running.verdict,
    )
    why = ""
    if isinstance(running.verdict, Failed):
        why = running.verdict.error
    elif error is not None:
        why = _shown(error)
    match outcome:
        case Finished():
            return {"status": "completed", "progress": 100, "error": ""}
        case GiveUp(_, text):
            return {"status": "failed", "error": why or text}
        case TryAgain(delay) | PutOff(delay):
            return {"status": "pending", "message": f"tried again in {delay:g} s", "error": why}


def _telling(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `failed` of a class, which says first in the status that the job has failed."""
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def afailed(self: TrackedJob, error: BaseException) -> None:
            await asyncio.to_thread(_tell_failed, self, error)
            await hook(self, error)

        return afailed

    @functools.wraps(hook)
    def failed(self: TrackedJob, error: BaseException) -> Any:
        _tell_failed(self, error)
        return hook(self, error)

    return failed


def _tell_failed(job: TrackedJob, error: BaseException) -> None:
    """Say that a job has failed, if its run has not: it may have had no end of its own."""
    running = current_job()
    if running is None:
        return
    with _watching(job):
        known = current.application().job_statuses.find(running.id)
        if known is None or known.status != "failed":
            _write(job, running.id, {"status": "failed", "error": _shown(error)})


def _shown(error: BaseException) -> str:
    """Return what may be told of an error: the text of one that was raised to be read."""
    if isinstance(error, JobFailed | JobTimedOut):
        return str(error)
    if type(error) is JobError and hasattr(error, "__notes__"):  # from a process of its own
        return str(error).partition(":")[0]
    return type(error).__name__


def _write(
    job: TrackedJob,
    job_id: str,
    changes: Mapping[str, str | int],
    *,
    fresh: bool = False,
    channels: Channels | None = None,
) -> None:
    statuses = current.application().job_statuses
    with _watching(job):
        said = _fitting(job, changes)
        status = statuses.write(job_id, said, keep=job.keep_status, fresh=fresh)
        if told := channels or job.broadcast_progress_on():
            _event(told, status).send()


async def _awrite(
    job: TrackedJob,
    job_id: str,
    changes: Mapping[str, str | int],
    *,
    fresh: bool = False,
    channels: Channels | None = None,
) -> None:
    statuses = current.application().job_statuses
    with _watching(job):
        said = _fitting(job, changes)
        status = await statuses.awrite(job_id, said, keep=job.keep_status, fresh=fresh)
        if told := channels or job.broadcast_progress_on():
            await _event(told, status).asend()


def _fitting(job: TrackedJob, changes: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return what a store and a broadcast can take: UTF-8, and short."""
    said = dict(changes)
    for name in said.keys() & {"message", "error", "result_url"}:
        data = str(said[name]).encode("utf-8", "replace")
        said[name] = data[:MAX_TEXT].decode("utf-8", "ignore")
        if name == "result_url" and len(data) <= MAX_URL:
            said[name] = data.decode()
        elif name == "result_url":
            del said[name]
            _warn(job, f"the URL of its result has {len(data)} bytes, at most {MAX_URL} are kept")
    return said


def _event(channels: Channels, status: JobStatus) -> AnonymousEvent:
    return AnonymousEvent(
        channels=channel_names(channels),
        name=EVENT,
        data=status_body(status),
        waits=False,  # progress is to be seen before the job's transaction is over
    )


@contextmanager
def _watching(job: TrackedJob) -> Generator[None]:
    """Log what is raised, of one kind once per job: a loop may say its progress often."""
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - watching must break nothing
        told: set[type] = job.__dict__.get("_untold", set())
        if type(error) not in told:
            object.__setattr__(job, "_untold", {*told, type(error)})
            if isinstance(error, BroadcasterError):
                _warn(job, error.message)
            else:
                _warn(job, type(error).__name__, error)


def _warn(job: TrackedJob, why: str, error: BaseException | None = None) -> None:
    _log.warning(
        "the status of a %s cannot be told: %s",
        job.options.name,
        why,
        exc_info=error,
        extra={"event": "status_lost", "job": job.options.name},
    )


def _id_of(job_id: str | Skipped) -> str:
    """Return the id that is meant; "" for text out of an address that can be none."""
    meant = job_id.owner if isinstance(job_id, Skipped) else job_id
    return meant if may_be_id(meant) else ""
