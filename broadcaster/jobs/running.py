"""
The job that runs here: what it may ask, and what it may say about itself.

`current_job` is set around every run, in the worker's event loop, in its threads and in the
processes of sync jobs. What a job says (`release`, `fail`, `delete`) does nothing until its
run has ended: then the worker does it instead of what it would have done otherwise.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from broadcaster.errors import NotRunning
from broadcaster.jobs.backoff import delay_before_retry
from broadcaster.jobs.delay import as_seconds
from broadcaster.jobs.outcome import Deleted, Failed, Limits, Past, Released, described, one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from contextvars import Token
    from types import TracebackType

    from broadcaster.contracts.limits import LockOwner
    from broadcaster.jobs.delay import Duration
    from broadcaster.jobs.outcome import Verdict
    from broadcaster.protocol.payload import Cause, Payload


class CurrentJob(msgspec.Struct, kw_only=True):
    """
    The job that runs.

    Attributes:
        payload: what was queued.
        queue: where it waited.
        limits: how often and how long it may run, the worker's defaults included.
        past: what it went through before this run.
        token: fencing token of this reservation, 0 without a worker.
        lease: seconds for which its worker has it, renewed while it runs; 0.0 without one.
        verdict: what it has said about itself, or None.
        locks: what its middleware has locked, to be renewed together with its lease.
        additions: the numbers, from 1, of the times that it has added the same jobs to the same
            batch in this run.
    """

    payload: Payload
    queue: str
    limits: Limits
    past: Past
    token: int = 0
    lease: float = 0.0
    verdict: Verdict | None = None
    locks: dict[str, LockOwner] = msgspec.field(default_factory=dict)
    additions: dict[str, set[int]] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        """Say which job it is; what it carries may be secret, and large."""
        return f"<CurrentJob {self.name} {self.id} of {self.queue!r}, try {self.attempts}>"

    @property
    def id(self) -> str:
        """The id that `dispatch` returned."""
        return self.payload.id

    @property
    def name(self) -> str:
        """The registered name of its class."""
        return self.payload.job

    @property
    def attempts(self) -> int:
        """Number of this try, from 1."""
        return self.past.attempts + 1

    @property
    def batch_id(self) -> str | None:
        """Id of the batch that it is in, or that calls back; or None."""
        if self.payload.batch is not None:
            return self.payload.batch.id
        return (self.payload.cause.batch or None) if self.payload.cause else None

    @property
    def chain_id(self) -> str | None:
        """Id of the chain that it is in, or that calls back; or None."""
        if self.payload.chain is not None:
            return self.payload.chain.id
        return (self.payload.cause.chain or None) if self.payload.cause else None

    @property
    def cause(self) -> Cause | None:
        """What it is about if it is a callback of a chain or batch, or None."""
        return self.payload.cause

    def require_cause(self) -> Cause:
        """
        Return what it is about, as a callback of a chain or batch.

        Raises:
            NotRunning: it runs as no callback.
        """
        if self.cause is None:
            raise NotRunning(
                f"{self.name} is about no chain or batch: it runs as a job of its own, not as a "
                "callback; `cause` is None then"
            )
        return self.cause

    def next_backoff(self) -> float:
        """Return the seconds that a retry of this try would wait, without jitter."""
        return delay_before_retry(self.attempts, self.limits.backoff)

    def release(self, delay: Duration = 0.0, *, count: bool = True) -> None:
        """
        Put the job back when this run has ended; the last word counts.

        Args:
            delay: seconds before it runs again; at least 1 without `count`.
            count: it uses up a try; without, it may be put off 1,000 times.
        """
        self._say(Released(as_seconds(delay, "delay"), counts=count))

    def fail(self, error: BaseException | str = "the job gave itself up") -> None:
        """Give the job up when this run has ended, whatever it says after."""
        said = described(error) if isinstance(error, BaseException) else one_line(error)
        self.verdict = Failed(said)

    def delete(self) -> None:
        """Forget the job when this run has ended, as if it were done."""
        self._say(Deleted())

    def _say(self, verdict: Verdict) -> None:
        if not isinstance(self.verdict, Failed):
            self.verdict = verdict


_current: ContextVar[CurrentJob | None] = ContextVar("broadcaster_job", default=None)


def current_job() -> CurrentJob | None:
    """Return the job that runs in this task or thread, or None; see `require_current_job`."""
    return _current.get()


def require_current_job(what: str = "require_current_job()") -> CurrentJob:
    """
    Return the job that runs here.

    Args:
        what: was asked, for the error.

    Raises:
        NotRunning: none does.
    """
    running = _current.get()
    if running is None:
        raise NotRunning(
            f"{what} needs a running job, and none runs here: call it inside handle(), "
            "and run that with a worker, run_now() or arun_now()"
        )
    return running


def running(job: CurrentJob) -> AbstractContextManager[CurrentJob]:
    """Make `job` the one that runs in this block."""
    return _Running(job)


class _Running:
    """Of `running`; a generator would take longer than many a job."""

    __slots__ = ("_job", "_token")

    _token: Token[CurrentJob | None]

    def __init__(self, job: CurrentJob) -> None:
        self._job = job

    def __enter__(self) -> CurrentJob:
        self._token = _current.set(self._job)
        return self._job

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
