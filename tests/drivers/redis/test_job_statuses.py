"""Statuses of jobs, on Redis and in one process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.job_statuses import RedisJobStatuses
from broadcaster.drivers.sync_statuses import MOST, SyncJobStatuses

if TYPE_CHECKING:
    from broadcaster.contracts.job_status import JobStatuses
    from broadcaster.drivers.redis.client import RedisClients

JOB = "c" * 32


@pytest.fixture(params=["redis", "sync"])
def statuses(request: pytest.FixtureRequest, clients: RedisClients) -> JobStatuses:
    return RedisJobStatuses(clients) if request.param == "redis" else SyncJobStatuses(time.time)


async def test_a_status_is_found_as_it_was_written(statuses: JobStatuses) -> None:
    written = statuses.write(JOB, {"job": "a.B", "status": "processing", "progress": 5}, keep=60)
    changed = await statuses.awrite(JOB, {"progress": 30, "message": "half ä"}, keep=60)

    assert (written.progress, written.status) == (5, "processing")
    assert statuses.find(JOB) == await statuses.afind(JOB) == changed
    assert (changed.job, changed.progress, changed.message) == ("a.B", 30, "half ä")
    assert abs(changed.updated_at - time.time()) < 3_600


async def test_an_unknown_job_has_none(statuses: JobStatuses) -> None:
    assert statuses.find("d" * 32) is None
    assert await statuses.afind("d" * 32) is None


def test_a_fresh_status_does_not_replace_one_that_there_is(statuses: JobStatuses) -> None:
    """The worker may be quicker than the dispatch that says pending."""
    statuses.write(JOB, {"status": "processing"}, keep=60)

    kept = statuses.write(JOB, {"status": "pending"}, keep=60, fresh=True)

    assert kept.status == "processing"


def test_a_completed_job_stays_completed(statuses: JobStatuses) -> None:
    statuses.write(JOB, {"status": "completed", "progress": 100}, keep=60)

    kept = statuses.write(JOB, {"status": "processing", "progress": 0}, keep=60)

    assert (kept.status, kept.progress) == ("completed", 100)


def test_a_failed_job_that_is_retried_goes_on(statuses: JobStatuses) -> None:
    statuses.write(JOB, {"status": "failed"}, keep=60)

    assert statuses.write(JOB, {"status": "processing"}, keep=60).status == "processing"


def test_a_status_is_forgotten_after_a_while(clients: RedisClients) -> None:
    RedisJobStatuses(clients).write(JOB, {"status": "pending"}, keep=60)

    key = clients.keys.job(JOB, "status")
    assert 59_000 < clients.sync.pttl(key) <= 60_000  # type: ignore[operator]


def test_without_a_server_their_number_is_bounded() -> None:
    statuses = SyncJobStatuses(time.time)

    for number in range(MOST + 1):
        statuses.write(str(number), {"status": "pending"}, keep=60)

    assert statuses.find("0") is None
    assert statuses.find("1") is not None
