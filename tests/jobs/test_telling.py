"""Jobs that run inline are told of as those of a worker are (row 47)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import current
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobFailed, JobProcessed, LifecycleEvent
from broadcaster.settings import QueueSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class Fine(Job, name="telling.Fine", queue="mail"):
    def handle(self) -> None: ...


class FineLater(Job, name="telling.FineLater"):
    async def handle(self) -> None: ...


class Failing(Job, name="telling.Failing"):
    def handle(self) -> None:
        raise LookupError("no such order")

    def failed(self, error: BaseException) -> None:
        told.append(f"failed() of {type(error).__name__}")


told: list[Any] = []


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    told.clear()
    remove = lifecycle_listeners.add(LifecycleEvent, told.append)
    yield
    remove()


def names() -> list[str]:
    return [each if isinstance(each, str) else type(each).__name__ for each in told]


def test_row_47_a_job_that_is_run_now_is_told() -> None:
    Fine().run_now()

    assert names() == ["JobProcessing", "JobProcessed", "JobAttempted"]
    done = told[1]
    assert isinstance(done, JobProcessed)
    assert (done.connection_name, done.job.name, done.job.attempts) == ("sync", "telling.Fine", 1)
    assert done.job.job == Fine()


async def test_row_47_an_async_job_that_is_run_now_is_told() -> None:
    await FineLater().arun_now()

    assert names() == ["JobProcessing", "JobProcessed", "JobAttempted"]


def test_row_47_a_job_of_the_sync_driver_is_told_from_its_push_to_its_failure() -> None:
    current.configure(Settings(queue=QueueSettings(driver="sync")))
    with pytest.raises(LookupError):
        Failing().dispatch()
    current.reset()

    assert names() == [
        "JobQueueing",
        "JobProcessing",
        "JobExceptionOccurred",
        "JobFailed",
        "JobAttempted",
        "failed() of LookupError",
    ]
    failed = told[3]
    assert isinstance(failed, JobFailed)
    assert (failed.reason, str(failed.exception)) == ("exception", "no such order")


def test_without_listeners_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_listeners, "_by_class", {})
    made: list[str] = []
    monkeypatch.setattr("broadcaster.jobs.telling.TakenJob", lambda **_: made.append("one"))

    Fine().run_now()

    assert made == []
