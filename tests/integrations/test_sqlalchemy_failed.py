"""Failed jobs in a database, on a real SQLite file."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event

from broadcaster.contracts.queue import Fail, NewJob, Pushed, StepRequest
from broadcaster.contracts.stores import FailedFilter, FailedJob
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverUnavailable
from broadcaster.integrations.sqlalchemy_failed import (
    CLAIM_SECONDS,
    SqlFailedJobs,
    move_failed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'failed.db'}")
    yield made
    made.dispose()


class Pushing:
    """Keeps what is queued again, and where."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.connections: list[str] = []

    def __call__(self, connection: str, jobs: Sequence[NewJob]) -> Pushed:
        self.jobs += jobs
        self.connections.append(connection)
        return Pushed(new=[job.id for job in jobs])


@pytest.fixture
def pushing() -> Pushing:
    return Pushing()


@pytest.fixture
def archive(engine: Engine, pushing: Pushing) -> SqlFailedJobs:
    made = SqlFailedJobs(engine, pushing)
    made.create()
    made.create()
    made.add([failed("a", 1.0), failed("b", 2.0, job="shop.Cut"), failed("c", 3.0, queue="mail")])
    return made


def failed(job_id: str, at: float, *, queue: str = "default", job: str = "shop.Mail") -> FailedJob:
    return FailedJob(
        id=job_id,
        queue=queue,
        failed_at=at,
        reason="exception",
        error="OSError: no",
        attempts=3,
        body=b"{}",
        job=job,
        exception="OSError",
        traceback="Traceback",
    )


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (FailedFilter(), "cba"),
        (FailedFilter(queue="mail"), "c"),
        (FailedFilter(job="shop.Cut"), "b"),
        (FailedFilter(exception="OSError", since=2.0), "cb"),
        (FailedFilter(exception="exception", until=2.0), "a"),
        (FailedFilter(retried=True), ""),
        (FailedFilter(retried=False), "cba"),
    ],
)
def test_row_43_failed_jobs_are_found_in_a_database(
    archive: SqlFailedJobs, where: FailedFilter, ids: str
) -> None:
    assert [job.id for job in archive.find(where=where)] == list(ids)
    assert archive.get("a") == failed("a", 1.0)
    assert archive.get("x") is None
    assert [job.id for job in archive.find(queue="default", limit=1)] == ["b"]


def test_row_43_a_job_of_the_database_is_retried_once_and_marked(
    archive: SqlFailedJobs, pushing: Pushing
) -> None:
    assert archive.retry(["a", "x"]) == ["a"]
    assert archive.retry(["a"]) == []
    assert archive.retry_all("default") == ["b"]
    assert archive.retry_all(where=FailedFilter(since=9.0)) == []

    assert pushing.jobs[0] == NewJob(id="a", queue="default", body=b"{}")
    marked = archive.get("a")
    assert marked is not None
    assert marked.retried_at is not None
    assert marked.body == b""


def test_one_that_fails_again_can_be_retried_again(archive: SqlFailedJobs) -> None:
    archive.retry(["a"])

    archive.add([failed("a", 0.5), failed("a", 9.0)])

    assert archive.get("a") == failed("a", 9.0)
    assert archive.retry(["a"]) == ["a"]


class Refusing(Pushing):
    """Knows every job already, or cannot be reached."""

    error: Exception | None = None

    def __call__(self, connection: str, jobs: Sequence[NewJob]) -> Pushed:
        super().__call__(connection, jobs)
        if self.error is not None:
            raise self.error
        return Pushed(known=[job.id for job in jobs])


def test_a_job_that_its_queue_still_knows_is_not_marked_as_retried(
    engine: Engine, archive: SqlFailedJobs
) -> None:
    """It may be on its way into the database, and would be lost if it were forgotten then."""
    assert SqlFailedJobs(engine, Refusing()).retry(["a"]) == []

    assert archive.get("a") == failed("a", 1.0)
    assert archive.retry(["a"]) == ["a"]


def test_a_job_that_cannot_be_queued_again_stays_as_it_is(
    engine: Engine, archive: SqlFailedJobs
) -> None:
    refusing = Refusing()
    refusing.error = DriverUnavailable("away")

    with pytest.raises(DriverUnavailable, match="away"):
        SqlFailedJobs(engine, refusing).retry(["a"])

    assert archive.get("a") == failed("a", 1.0)


def test_of_two_who_retry_a_job_at_once_one_does(engine: Engine, pushing: Pushing) -> None:
    others: list[Sequence[str]] = []

    def push(connection: str, jobs: Sequence[NewJob]) -> Pushed:
        others.append(SqlFailedJobs(engine, pushing).retry(["a"]))
        return pushing(connection, jobs)

    archive = SqlFailedJobs(engine, push)
    archive.create()
    archive.add([failed("a", 1.0)])

    assert archive.retry(["a"]) == ["a"]
    assert (others, [job.id for job in pushing.jobs]) == ([[]], ["a"])


def test_a_job_whose_retrier_has_died_is_found_again(
    engine: Engine, archive: SqlFailedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException): ...

    def push(connection: str, jobs: Sequence[NewJob]) -> Pushed:
        monkeypatch.setattr(SqlFailedJobs, "_change", lambda *_, **__: 0)
        raise Died

    with pytest.raises(Died):
        SqlFailedJobs(engine, push).retry(["a"])
    monkeypatch.undo()
    assert [job.id for job in archive.find(where=FailedFilter(retried=True))] == ["a"]
    later = time.time() + CLAIM_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)

    assert archive.get("a") == failed("a", 1.0)
    assert archive.find(where=FailedFilter(retried=True)) == []
    assert sorted(archive.retry_all()) == ["a", "b", "c"]


def test_failed_jobs_are_deleted_from_a_database(archive: SqlFailedJobs) -> None:
    archive.add([failed("now", time.time())])

    assert archive.forget(["a", "x"]) == 1
    assert archive.flush(where=FailedFilter(queue="mail")) == 1
    assert archive.prune(3_600) == 1
    assert [job.id for job in archive.find()] == ["now"]


def test_a_database_that_is_not_there_is_unavailable(engine: Engine, pushing: Pushing) -> None:
    with pytest.raises(DriverUnavailable, match="the database of failed jobs"):
        SqlFailedJobs(engine, pushing).find()


@pytest.mark.redis
async def test_row_43_failed_jobs_move_into_the_database_and_back_into_their_queue(
    clients: RedisClients, engine: Engine
) -> None:
    queue, job_id = RedisQueue(clients), "1" * 32
    await queue.apush([NewJob(id=job_id, queue="mail", body=b"{}")])
    (held,) = (await queue.step(StepRequest(queue="mail", reserve=1, worker="w"))).reserved
    settled = Fail(held.id, held.token, "exception", "OSError: no", attempts=2)
    await queue.step(StepRequest(queue="mail", settlements=[settled], worker="w"))
    store = RedisFailedJobs(clients)
    archive = SqlFailedJobs(engine, lambda _, jobs: queue.push(jobs))
    archive.create()

    assert (move_failed(store, archive), move_failed(store, archive)) == (1, 0)

    assert not store.find()
    assert archive.retry_all() == [job_id]
    assert (await queue.asizes("mail")).ready == 1


@pytest.mark.redis
async def test_a_job_that_fails_again_while_it_is_moved_is_kept(
    clients: RedisClients, engine: Engine
) -> None:
    queue, store, job_id = RedisQueue(clients), RedisFailedJobs(clients), "1" * 32

    async def fail(error: str) -> None:
        await queue.apush([NewJob(id=job_id, queue="mail", body=b"{}")])
        (held,) = (await queue.step(StepRequest(queue="mail", reserve=1, worker="w"))).reserved
        settled = Fail(held.id, held.token, "exception", error)
        await queue.step(StepRequest(queue="mail", settlements=[settled], worker="w"))

    await fail("first")
    (found,) = await asyncio.to_thread(store.find)
    await asyncio.to_thread(store.forget, [job_id])
    await asyncio.sleep(0.002)
    await fail("second")

    assert await asyncio.to_thread(store.forget, [job_id], until=found.failed_at) == 0
    archive = SqlFailedJobs(engine, lambda _, jobs: queue.push(jobs))
    archive.create()
    archive.add([found])
    assert await asyncio.to_thread(move_failed, store, archive) == 1
    kept = archive.get(job_id)
    assert kept is not None
    assert kept.error == "second"
    assert (archive.forget([job_id], until=found.failed_at), archive.forget([job_id])) == (0, 1)


class Waiting:
    """Failed jobs of Redis, as far as they are moved."""

    def __init__(self, *jobs: FailedJob) -> None:
        self.jobs = sorted(jobs, key=lambda job: job.failed_at, reverse=True)

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        del queue, where
        return self.jobs[:limit]

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        del until
        before = len(self.jobs)
        self.jobs = [job for job in self.jobs if job.id not in job_ids]
        return before - len(self.jobs)


def test_a_failed_job_with_nul_in_its_error_is_kept_without_it(archive: SqlFailedJobs) -> None:
    """PostgreSQL takes no NUL in text."""
    job = dataclasses.replace(failed("n", 9.0), error="bad frame: \0", traceback="\0", job="a\0b")

    archive.add([job])

    kept = archive.get("n")
    assert kept is not None
    assert (kept.error, kept.traceback, kept.job) == ("bad frame: ?", "?", "a?b")


def test_a_job_that_the_database_refuses_is_in_nobodys_way(
    tmp_path: Path, pushing: Pushing, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'strict.db'}")

    @event.listens_for(engine, "connect")
    def short(connection: sqlite3.Connection, record: object) -> None:
        del record
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5_000)

    archive = SqlFailedJobs(engine, pushing)
    archive.create()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER picky BEFORE INSERT ON broadcaster_failed_jobs WHEN NEW.queue = 'odd' "
            "BEGIN SELECT RAISE(ABORT, 'not here'); END"
        )
    long = dataclasses.replace(failed("long", 300.5), traceback="x" * 9_999)
    source: Any = Waiting(
        long,
        failed("odd", 200.5, queue="odd"),
        *(failed(f"{number:032x}", float(number)) for number in range(450)),
    )

    assert (move_failed(source, archive), move_failed(source, archive)) == (450, 0)

    engine.dispose()
    assert [job.id for job in source.jobs] == ["long", "odd"]
    assert sum(archive.counts().values()) == 450
    assert sorted(record.getMessage()[:32] for record in caplog.records) == [
        "the failed job long stays in Red",
        "the failed job odd stays in Redi",
    ]
    assert "xxx" not in caplog.text


def test_what_jobs_carry_is_not_in_the_errors_of_the_database(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE broadcaster_failed_jobs (id TEXT)")
    there = SqlFailedJobs(engine, Pushing())

    with pytest.raises(DriverUnavailable) as refused:
        there.add([dataclasses.replace(failed("a", 1.0), body=b"hunter2", error="hunter2")])

    assert "no column named" in str(refused.value) or "has no column" in str(refused.value)
    assert "hunter2" not in str(refused.value)
