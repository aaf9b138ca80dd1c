"""Chains, batches, unique jobs and limits: dispatched by the API, run by a worker, on Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from sqlalchemy import create_engine

from broadcaster import current
from broadcaster.contracts.limits import LockOwner
from broadcaster.contracts.queue import NewJob
from broadcaster.errors import JobFailed
from broadcaster.integrations.sqlalchemy_failed import SqlFailedJobs, move_failed
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.batch import afind_batch
from broadcaster.jobs.bus import Skipped, prepared
from broadcaster.jobs.chain import chain
from broadcaster.jobs.injection import provide, services
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import UniqueJobSkipped
from broadcaster.jobs.middleware import Throttle, ThrottlesExceptions, WithoutOverlapping
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.running import require_current_job
from broadcaster.protocol.payload import MAX_PAYLOAD_BYTES
from broadcaster.scheduling.runner import scheduled_job
from broadcaster.scheduling.timetable import Entry, EveryTimes
from broadcaster.settings import Settings
from broadcaster.wiring.backend import Backend
from broadcaster.worker.stores import QueueStores
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.contracts.stores import FailedJobs
    from broadcaster.jobs.batch import Batch
    from broadcaster.jobs.bus import PreparedJob
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

seen: list[Any] = []
gates: dict[str, asyncio.Event] = {}


class Step(Job, name="api.Step"):
    word: str

    async def handle(self) -> None:
        seen.append(self.word)


class SyncStep(Job, name="api.SyncStep"):
    word: str

    def handle(self) -> None:
        seen.append(self.word)


class Broken(Job, name="api.Broken"):
    word: str = "broken"

    async def handle(self) -> None:
        seen.append(self.word)
        raise ValueError("boom")

    def failed(self, error: BaseException) -> None:
        seen.append(f"failed: {error}")


class Tell(Job, name="api.Tell"):
    async def handle(self) -> None:
        cause = require_current_job("it").cause
        assert cause is not None
        seen.append(("told", cause.job, cause.error))


class Count(Job, name="api.Count"):
    word: str

    async def handle(self) -> None:
        mine = await self.abatch()
        assert mine is not None
        seen.append((self.word, mine.processed_jobs, mine.failed_jobs))


class Gated(Job, name="api.Gated", unique="word"):
    word: str

    async def handle(self) -> None:
        seen.append(f"begins {self.word}")
        await gates.setdefault(self.word, asyncio.Event()).wait()
        seen.append(f"ends {self.word}")


class Begun(Gated, name="api.Begun", unique="word", unique_until="processing"): ...


class Alone(Gated, name="api.Alone", middleware=[WithoutOverlapping("x")]): ...


class Handing(Job, name="api.Handing", tries=3, backoff=0):
    counts: bool

    async def handle(self) -> None:
        seen.append(self.attempts)
        if len(seen) < 3:
            self.release(0.0, count=self.counts)


class Throttled(Job, name="api.Throttled", middleware=[Throttle("t", allow=2, every=1.5)]):
    number: int

    async def handle(self) -> None:
        seen.append((self.number, time.monotonic()))


class Mailer: ...


class Mail(Job, name="api.Mail"):
    async def handle(self, mailer: Mailer) -> None:
        assert isinstance(mailer, Mailer)
        seen.append("mailed")


class Careful(Job, name="api.Careful", middleware=[ThrottlesExceptions("c", after=1, every=1.2)]):
    word: str

    async def handle(self) -> None:
        seen.append((self.word, time.monotonic()))
        if self.word == "bad":
            raise OSError("the service is down")


@pytest.fixture(autouse=True)
async def app(world: WorkerWorld) -> AsyncIterator[Backend]:
    seen.clear()
    gates.clear()
    made = Backend(Settings(redis_url=world.clients.url, prefix=world.clients.prefix))
    current.use(made)
    yield made
    await made.aclose()
    current.reset()


async def test_row_18_links_run_one_after_the_other(world: WorkerWorld) -> None:
    links: list[Job | PreparedJob] = [
        Step("1"),
        SyncStep("2").with_options(queue="other"),
        Step("3"),
    ]
    await chain(links).catch(Tell()).adispatch()

    await world.drain(queues=("default", "other"))
    await world.drain(queues=("default", "other"))

    assert seen == ["1", "2", "3"]
    assert await world.failed() == []


async def test_row_19_a_broken_chain_calls_back_once_and_goes_on_when_it_is_mended(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch, app: Backend
) -> None:
    await chain([Step("1"), Broken(), Step("3")]).catch(Tell()).adispatch()
    await world.drain()
    await world.drain()

    assert seen[:2] == ["1", "broken"]
    assert sorted(map(str, seen[2:])) == [
        "('told', 'api.Broken', 'ValueError: boom')",
        "failed: boom",
    ]

    async def mended(self: Broken) -> None:
        seen.append(f"mended {self.word}")

    seen.clear()
    monkeypatch.setattr(Broken, "handle", mended)
    await asyncio.to_thread(app.failed_jobs.retry_all)
    await world.drain()
    await world.drain()
    assert seen == ["mended broken", "3"]


async def test_row_21_callbacks_of_a_batch_run_once_each_and_counters_are_exact(
    world: WorkerWorld,
) -> None:
    pending = batch([Step(str(number)) for number in range(20)])
    made = await pending.then(Count("then")).finally_(Count("finally")).adispatch()

    await world.drain()
    await world.drain()

    assert sorted(seen[:20], key=int) == [str(number) for number in range(20)]
    assert sorted(seen[20:]) == [("finally", 20, 0), ("then", 20, 0)]
    found = await afind_batch(made.id)
    assert found is not None
    assert (found.pending_jobs, found.progress, found.finished) == (0, 100, True)


async def test_row_25_jobs_of_a_cancelled_batch_are_skipped(world: WorkerWorld) -> None:
    class Insists(Job, name="api.Insists", skip_cancelled=False):
        async def handle(self) -> None:
            seen.append("insists")

    jobs = [Insists(), *(Step(str(number)) for number in range(5))]
    made = await batch(jobs).then(Count("then")).finally_(Count("finally")).adispatch()
    await made.acancel()

    await world.drain()
    await world.drain()

    after = await made.afresh()
    assert (after.pending_jobs, after.failed_jobs, after.finished) == (0, 0, True)
    assert seen == ["insists", ("finally", 6, 0)]


async def test_what_is_behind_a_link_that_was_skipped_is_skipped_with_it(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the cancellation is taken back, or another worker does not know of it yet."""
    made = await batch([chain([Step("1"), Step("2")])]).adispatch()
    asked: list[str] = []

    async def is_cancelled(self: QueueStores, batch_id: str) -> bool:
        asked.append(batch_id)
        return len(asked) == 1

    monkeypatch.setattr(QueueStores, "is_cancelled", is_cancelled)

    await world.drain()

    after = await made.afresh()
    assert (after.pending_jobs, after.failed_jobs, after.finished) == (0, 0, True)
    assert seen == []


async def test_row_22_the_first_failure_cancels_the_batch_and_calls_back(
    world: WorkerWorld,
) -> None:
    pending = batch([Broken(), Step("1")]).then(Count("then"))
    made = await pending.catch(Tell()).finally_(Count("finally")).adispatch()

    await world.drain()
    await world.drain()

    after = await made.afresh()
    assert (after.cancelled, after.failed_jobs, after.finished) == (True, 1, True)
    called = [one for one in seen if isinstance(one, tuple)]
    assert sorted(one[0] for one in called) == ["finally", "told"]
    assert ("told", "api.Broken", "ValueError: boom") in called


async def test_failed_jobs_of_a_batch_are_run_again_and_complete_it(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = batch([Broken("a"), Step("1"), Broken("b")]).allow_failures()
    made = await pending.then(Count("then")).adispatch()
    await world.drain()
    assert (await made.afresh()).failed_jobs == 2

    async def mended(self: Broken) -> None:
        seen.append(f"mended {self.word}")

    monkeypatch.setattr(Broken, "handle", mended)
    assert await made.aretry_failed() == 2
    await world.drain()
    await world.drain()

    after = await made.afresh()
    assert (after.failed_jobs, after.pending_jobs) == (0, 0)
    assert seen[-1] == ("then", 3, 0)


async def test_failed_jobs_of_a_cancelled_batch_are_run_again_by_the_same_worker(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await batch([Broken("a")]).then(Count("then")).adispatch()

    async def mended(self: Broken) -> None:
        seen.append(f"mended {self.word}")

    async with world.running():
        await eventually(lambda: "failed: boom" in seen)
        await eventually_async(lambda: _cancelled(made))
        monkeypatch.setattr(Broken, "handle", mended)
        await made.aretry_failed()
        await eventually(lambda: ("then", 1, 0) in seen)

    assert "mended a" in seen


@pytest.mark.parametrize("store", ["redis", "sql"])
async def test_a_job_that_is_put_back_runs_although_its_batch_is_cancelled(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch, app: Backend, tmp_path: Path, store: str
) -> None:
    """The counts stay exact; that the batch was cut short, and so has no `then`, stays true."""
    pending = batch([chain([Broken("a"), Step("link")]), Step("skipped")])
    made = await pending.then(Count("then")).adispatch()
    await world.drain()
    after = await made.afresh()
    assert (after.cancelled, after.failed_jobs, after.pending_jobs) == (True, 2, 2)
    engine = create_engine(f"sqlite:///{tmp_path / 'failed.db'}")
    archive = SqlFailedJobs(engine, lambda _, jobs: world.queue.push(jobs))
    if store == "sql":
        archive.create()
        assert await asyncio.to_thread(move_failed, app.failed_jobs, archive) == 1

    async def mended(self: Broken) -> None:
        seen.append(f"mended {self.word}")

    seen.clear()
    monkeypatch.setattr(Broken, "handle", mended)
    failed: FailedJobs = archive if store == "sql" else app.failed_jobs
    assert len(await asyncio.to_thread(failed.retry_all)) == 1
    await world.drain()
    await world.drain()
    engine.dispose()

    after = await made.afresh()
    assert seen == ["mended a", "link"]
    assert (after.cancelled, after.failed_jobs, after.pending_jobs) == (True, 0, 0)


async def test_a_batch_without_failures_has_none_to_run_again(world: WorkerWorld) -> None:
    """Although its queue has those of others."""
    await Broken().adispatch()
    made = await batch([Step("1")]).adispatch()
    await world.drain()

    assert await made.aretry_failed() == 0


async def _cancelled(one: Batch) -> bool:
    return (await one.afresh()).cancelled


async def test_row_26_a_running_job_adds_to_its_batch(world: WorkerWorld) -> None:
    class Spread(Job, name="api.Spread"):
        async def handle(self) -> None:
            mine = await self.abatch()
            assert mine is not None
            await mine.aadd([Step("added"), Step("too")])

    made = await batch([Spread()]).finally_(Count("finally")).adispatch()

    await world.drain()
    await world.drain()

    assert sorted(map(str, seen)) == ["('finally', 3, 0)", "added", "too"]
    assert (await made.afresh()).total_jobs == 3


async def test_row_27_a_unique_job_keeps_others_out_until_it_is_done(world: WorkerWorld) -> None:
    first = await Gated("a").adispatch()
    assert await Gated("a").adispatch() == Skipped(cast("str", first))
    assert await Gated("b").adispatch()

    async with world.running():
        await eventually(lambda: len(seen) == 2)
        assert not await Gated("a").adispatch()
        for gate in gates.values():
            gate.set()
        await eventually(lambda: len(seen) == 4)

    assert await Gated("a").adispatch()


async def test_row_27_who_is_kept_out_is_told_and_the_lock_has_an_end(world: WorkerWorld) -> None:
    skipped: list[UniqueJobSkipped] = []
    forget = lifecycle_listeners.add(UniqueJobSkipped, skipped.append)
    try:
        first = await asyncio.to_thread(Gated("a").dispatch, delay=3_600)
        second = await asyncio.to_thread(Gated("a").dispatch)
    finally:
        forget()

    assert second == Skipped(cast("str", first))
    assert [(one.job, one.queue, one.owner) for one in skipped] == [(Gated("a"), "default", first)]
    pattern = world.clients.keys.queue("default", "unique:*").replace("{", "?").replace("}", "?")
    (key,) = [key async for key in world.clients.aio.scan_iter(match=pattern)]
    assert 89_000 <= await world.clients.aio.ttl(key) <= 90_000  # the delay and a day


async def test_row_28_a_scheduled_or_delayed_job_frees_its_lock_when_it_begins(
    world: WorkerWorld,
) -> None:
    entry = Entry(name="begun", job=prepared(Begun("a")), times=EveryTimes(60))
    now = time.time()
    await world.push(scheduled_job(entry, now, now=now, default_queue="default"))
    assert not await Begun("a").adispatch()
    assert await Begun("b").adispatch(delay=0.1)
    assert not await Begun("b").adispatch()

    async with world.running():
        await eventually(lambda: {"begins a", "begins b"} <= set(seen))
        for word in ("a", "b"):
            assert await Begun(word).adispatch()
        for gate in gates.values():
            gate.set()
        await eventually(lambda: len(seen) == 8)


async def test_row_28_a_job_that_is_unique_until_it_runs_makes_room_when_it_begins(
    world: WorkerWorld,
) -> None:
    await Begun("a").adispatch()
    assert not await Begun("a").adispatch()

    async with world.running():
        await eventually(lambda: seen)
        second = await Begun("a").adispatch()
        assert second
        gates["a"].set()
        await eventually(lambda: seen.count("ends a") >= 2)


async def test_a_unique_lock_is_free_when_its_job_has_failed(world: WorkerWorld) -> None:
    class Only(Job, name="api.Only", unique=True):
        async def handle(self) -> None:
            raise JobFailed("no")

    await Only().adispatch()
    await world.drain()

    assert await Only().adispatch()


@pytest.mark.parametrize(("counts", "attempts"), [(True, [1, 2, 3]), (False, [1, 1, 1])])
async def test_row_9_a_job_that_puts_itself_back_uses_up_a_try_or_none(
    world: WorkerWorld, *, counts: bool, attempts: list[int]
) -> None:
    await Handing(counts).adispatch()

    async with world.running():
        await eventually(lambda: len(seen) == 3)

    assert seen == attempts
    assert await world.failed() == []


async def test_row_29_overlapping_jobs_wait_for_each_other_beyond_the_lease(
    world: WorkerWorld, app: Backend
) -> None:
    """The lock is renewed with the lease of its job."""
    await Alone("a").adispatch()
    async with world.running(lease=2.0, tries=1):
        await eventually(lambda: seen)
        await Alone("b").adispatch()
        locks = app.locks
        key = "overlap:api.Alone:x"
        stranger = LockOwner("f" * 32, 1)
        until = time.monotonic() + 3.0  # a lease and a half

        async def it_is_over() -> bool:
            assert await locks.aacquire(key, stranger, 2.0) > 0
            return time.monotonic() >= until

        await eventually_async(it_is_over)
        assert seen == ["begins a"]
        for word in ("a", "b"):
            gates.setdefault(word, asyncio.Event()).set()
        await eventually(lambda: len(seen) == 4)

    assert seen == ["begins a", "ends a", "begins b", "ends b"]
    assert await world.failed() == []


async def test_row_31_a_throttle_holds_over_all_workers(world: WorkerWorld) -> None:
    began = time.monotonic()
    for number in range(4):
        await Throttled(number).adispatch()

    async with world.running(), world.running():
        await eventually(lambda: len(seen) == 4)

    assert seen[2][1] - began >= 1.5
    assert sorted(one[0] for one in seen) == [0, 1, 2, 3]
    assert await world.failed() == []


async def test_after_an_exception_the_service_is_left_alone(world: WorkerWorld) -> None:
    await Careful("bad").adispatch()
    await world.drain()
    await Careful("good").adispatch()

    async with world.running():
        await eventually(lambda: len(seen) == 2)

    (first, failed_at), (second, begun_at) = seen
    assert (first, second) == ("bad", "good")
    assert begun_at - failed_at >= 1.2


async def test_row_2_services_are_made_for_each_run(world: WorkerWorld) -> None:
    async def connect() -> Mailer:
        seen.append("made")
        return Mailer()

    provide(Mailer, connect)
    try:
        await Mail().adispatch()
        await Mail().adispatch()
        await world.drain()
    finally:
        services.remove(Mailer)

    assert seen == ["made", "mailed", "made", "mailed"]


async def test_a_service_that_nobody_provides_fails_the_job_at_once(world: WorkerWorld) -> None:
    await Mail().adispatch(tries=5)

    await world.drain()

    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == ("invalid_job", 1)
    assert "provide(Mailer, factory)" in failed.error


JOB_ID, OTHER_ID = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"job": "api.Step", "data": {"word": "x"}, "chain": {"id": "short", "index": 0}},
            "invalid_job",
        ),
        ({"job": "api.Step", "data": {"word": "x"}, "batch": {"id": OTHER_ID}}, "invalid_job"),
        ({"job": "api.Step", "data": {"word": "x"}, "retry_until": "now"}, "invalid_job"),
        ({"job": "api.Step", "data": {"word": "x"}, "middleware": ["os.system"]}, "invalid_job"),
        ({"job": "api.Step", "data": {"word": "x"}, "v": 2}, "invalid_job"),
        ({"job": "api.Step", "data": {"word": "x"}, "id": OTHER_ID}, "invalid_job"),
        ({"job": "api.Step", "data": {}}, "invalid_job"),
        ({"job": "api.Step", "data": {"word": "x", "more": 1}}, "invalid_job"),
        ({"job": "os.system", "data": {"command": "true"}}, "unknown_job"),
        ({"job": "broadcaster.jobs.job.Job"}, "unknown_job"),
        ({"job": "api.Step", "data": {"word": "x" * MAX_PAYLOAD_BYTES}}, "invalid_job"),
    ],
)
async def test_row_1_what_no_producer_writes_fails_at_once_with_its_reason(
    world: WorkerWorld, body: dict[str, Any], reason: str
) -> None:
    raw = msgspec.json.encode({"v": 1, "id": JOB_ID} | body)
    await world.push(NewJob(JOB_ID, "default", raw))

    await world.drain(tries=5)

    (failed,) = await world.failed()
    assert (failed.reason, seen) == (reason, [])


async def test_a_link_that_nobody_knows_ends_its_chain_and_calls_back(world: WorkerWorld) -> None:
    link = {"queue": "default", "payload": {"id": JOB_ID, "job": "os.system"}}
    catch = {"queue": "default", "payload": {"id": JOB_ID, "job": "api.Tell"}}
    place = {"id": OTHER_ID, "index": 0, "next": [link], "catch": [catch]}
    body = {"id": JOB_ID, "job": "api.Step", "data": {"word": "x"}, "chain": place}
    await world.push(NewJob(JOB_ID, "default", msgspec.json.encode(body)))

    await world.drain()
    await world.drain()

    (failed,) = await world.failed()
    assert failed.reason == "unknown_job"
    assert [one if isinstance(one, str) else one[:2] for one in seen] == [
        "x",
        ("told", "os.system"),
    ]
