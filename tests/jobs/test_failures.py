"""Row 43: what is done to failed jobs, whoever does it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import pytest

from broadcaster import Job, batch
from broadcaster.contracts.stores import FailedFilter, FailedJob
from broadcaster.jobs import failures
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.failures import find_failed, retry_failed, retry_found
from broadcaster.jobs.lifecycle import JobRetryRequested
from tests.jobs.application import ReopeningBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.stores import FailedJobs
    from tests.jobs.application import JobsApplication

KEPT = FailedJob(
    id="a", queue="mail", failed_at=1.0, reason="exception", error="it broke", attempts=1, body=b""
)


class Store:
    """Keeps three failed jobs, and says in which order it was asked for what."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls
        self.jobs = {name: dataclasses.replace(KEPT, id=name) for name in "abc"}
        self.jobs["c"] = dataclasses.replace(self.jobs["c"], exception="TimeoutError")

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        del queue, where
        return list(self.jobs.values())[:limit]

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        self.calls.append(f"get {''.join(job_ids)}")
        return [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        del insist
        self.calls.append(f"retry {''.join(job_ids)}")
        return [job_id for job_id in job_ids if job_id in self.jobs]

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        del queue, where
        self.calls.append("retry all")
        return list(self.jobs)


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def store(calls: list[str]) -> FailedJobs:
    return cast("FailedJobs", Store(calls))


@pytest.fixture
def heard(calls: list[str]) -> Iterator[None]:
    def note(event: JobRetryRequested) -> None:
        calls.append(f"told {event.job.id}")

    remove = lifecycle_listeners.add(JobRetryRequested, note)
    yield
    remove()


@pytest.mark.usefixtures("heard")
def test_row_43_listeners_are_told_before_a_job_is_put_back(
    store: FailedJobs, calls: list[str]
) -> None:
    assert retry_failed(store, ["a", "x", "c"]) == 2

    assert calls == ["get axc", "told a", "told c", "retry axc"]


@pytest.mark.usefixtures("heard")
def test_many_jobs_are_read_told_and_put_back_page_by_page(
    store: FailedJobs, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_PAGE", 2)

    assert retry_failed(store, ["a", "b", "c"]) == 3

    assert calls == ["get ab", "told a", "told b", "retry ab", "get c", "told c", "retry c"]


@pytest.mark.usefixtures("heard")
def test_nobody_is_told_of_a_job_that_was_put_back_before(calls: list[str]) -> None:
    store = Store(calls)
    store.jobs["a"] = dataclasses.replace(store.jobs["a"], retried_at=2.0)

    retry_failed(cast("FailedJobs", store), ["a", "b"])

    assert calls == ["get ab", "told b", "retry ab"]


@pytest.mark.usefixtures("heard")
def test_row_43_all_that_are_meant_are_told_too(store: FailedJobs, calls: list[str]) -> None:
    assert retry_found(store, FailedFilter()) == 3

    assert calls == ["told a", "told b", "told c", "retry abc"]


def test_where_nobody_listens_all_are_put_back_in_one_call(
    store: FailedJobs, calls: list[str]
) -> None:
    assert retry_found(store, FailedFilter()) == 3

    assert calls == ["retry all"]


def test_a_search_is_for_what_an_error_says_in_any_case(
    store: FailedJobs, calls: list[str]
) -> None:
    assert [job.id for job in find_failed(store, FailedFilter(), "TIMEOUT")] == ["c"]
    assert len(find_failed(store, FailedFilter(), "broke", limit=2)) == 2
    assert retry_found(store, FailedFilter(), "timeout") == 1

    assert calls == ["retry c"]


class Part(Job, name="tests.failures.Part"):
    def handle(self) -> None: ...


class AnyJob(Store):
    """Has whatever it is asked for."""

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        return [KEPT for _ in job_ids]

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        return job_ids


@pytest.mark.usefixtures("heard")
def test_a_batch_that_runs_its_failed_jobs_again_tells_of_them(
    app: JobsApplication, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app.batches = ReopeningBatches()
    made = batch([Part(), Part(), Part()]).dispatch()
    monkeypatch.setattr(app, "failed_jobs", AnyJob(calls))

    assert made.retry_failed() == 2

    assert calls == ["told a", "told a"]
