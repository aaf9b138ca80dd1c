"""Batches in chains and chains in batches: dispatched by the API, run by a worker, on Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import Batch, Job, batch, chain, current
from broadcaster.contracts.queue import NewJob, Pushed
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from broadcaster.errors import DriverUnavailable, ModelMissing
from broadcaster.jobs.batch_jobs import job_id
from broadcaster.jobs.running import require_current_job
from broadcaster.protocol.payload import BATCH_JOB, decode_payload
from broadcaster.settings import Settings
from broadcaster.wiring.backend import Backend
from broadcaster.worker import runner
from broadcaster.worker.tries import new_try
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

seen: list[str] = []
broken: set[str] = set()
causes: list[tuple[str, str, str]] = []


class Step(Job, name="nesting.Step"):
    word: str

    async def handle(self) -> None:
        seen.append(self.word)
        if self.word in broken:
            raise ValueError(self.word)


class Tell(Job, name="nesting.Tell"):
    word: str

    async def handle(self) -> None:
        mine = await self.abatch()
        seen.append(self.word if mine is None else f"{self.word} {mine.name}")
        cause = require_current_job("it").cause
        if cause is not None:
            causes.append((cause.job, cause.error, cause.chain))


class Gone(Job, name="nesting.Gone", delete_when_missing_models=True):
    async def handle(self) -> None:
        raise ModelMissing("no such row", model="Row", key=1)


class Cancel(Job, name="nesting.Cancel"):
    async def handle(self) -> None:
        mine = await self.abatch()
        assert mine is not None
        await mine.acancel()


class Grow(Job, name="nesting.Grow"):
    async def handle(self) -> None:
        mine = await self.abatch()
        assert mine is not None
        await mine.aadd([chain([Step("added 1"), Step("added 2")])])


@pytest.fixture(autouse=True)
async def app(world: WorkerWorld) -> AsyncIterator[Backend]:
    for each in (seen, broken, causes):
        each.clear()
    made = Backend(Settings(redis_url=world.clients.url, prefix=world.clients.prefix))
    current.use(made)
    yield made
    await made.aclose()
    current.reset()


async def run(world: WorkerWorld, until: str) -> None:
    """Run a worker until a job has said `until`, and then what is left."""

    async def it_has() -> bool:
        return until in seen

    async with world.running(tries=1):
        await eventually_async(it_has)
    await world.drain()


def only_batch() -> Batch:
    (record,) = current.application().batches.newest()
    return Batch(record)


async def test_row_18_a_chain_goes_on_when_its_batch_is_finished(world: WorkerWorld) -> None:
    parts = batch([Step("a"), chain([Step("b1"), Step("b2")])]).then(Tell("then")).name("parts")
    await chain([Step("first"), parts, Step("last")]).catch(Tell("catch")).adispatch()

    await run(world, "last")

    assert (seen[0], seen.count("catch"), await world.failed()) == ("first", 0, [])
    assert sorted(seen[1:]) == ["a", "b1", "b2", "last", "then parts"]
    assert seen.index("last") > max(seen.index(word) for word in ("a", "b1", "b2"))
    assert seen.index("b1") < seen.index("b2")


async def test_row_19_a_batch_that_fails_breaks_its_chain_until_it_is_mended(
    world: WorkerWorld, app: Backend
) -> None:
    broken.add("b")
    parts = batch([Step("a"), Step("b")]).name("parts")
    chain_id = await chain([parts, Step("last")]).catch(Tell("catch")).adispatch()

    await run(world, "catch parts")

    assert "last" not in seen
    assert causes == [("nesting.Step", "ValueError: b", chain_id)]
    broken.clear()
    found = only_batch()
    assert await found.aretry_failed() == 1
    await run(world, "last")
    assert seen.count("catch parts") == 1


async def test_a_batch_that_is_cancelled_breaks_its_chain(world: WorkerWorld) -> None:
    parts = batch([Cancel(), *(Step(str(n)) for n in range(5))]).name("parts")
    await chain([parts, Step("last")]).catch(Tell("catch")).adispatch()

    await run(world, "catch parts")

    assert "last" not in seen
    ((_, error, _),) = causes
    assert error == "the batch parts was cancelled"


async def test_a_batch_that_may_have_failures_does_not_break_its_chain(
    world: WorkerWorld,
) -> None:
    broken.add("b")
    parts = batch([Step("a"), Step("b")]).allow_failures()
    await chain([parts, Step("last")]).catch(Tell("catch")).adispatch()

    await run(world, "last")

    assert sorted(seen) == ["a", "b", "last"]


async def test_a_chain_goes_on_at_once_behind_a_batch_without_jobs(world: WorkerWorld) -> None:
    await chain([batch([]).finally_(Tell("finally")), Step("last")]).adispatch()

    await run(world, "last")

    assert sorted(seen) == ["finally ", "last"]


async def test_a_batch_that_is_started_twice_counts_once(world: WorkerWorld) -> None:
    """Its first run was killed when it had queued the jobs."""
    await chain([batch([Step("a"), Step("b")]).then(Tell("then")), Step("last")]).adispatch()
    jobs: Any = await world.clients.aio.hgetall(world.clients.keys.queue("default", "jobs"))
    ((job_id, body),) = jobs.items()
    await run(world, "last")

    await world.push(NewJob(job_id.decode(), "default", body))
    await world.drain()
    await world.drain()

    assert decode_payload(body).job == BATCH_JOB
    assert (seen.count("last"), seen.count("then ")) == (1, 1)
    found = only_batch()
    assert (found.total_jobs, found.pending_jobs) == (2, 0)


async def test_row_21_each_link_of_a_chain_is_a_job_of_its_batch(world: WorkerWorld) -> None:
    links = chain([Step("1"), Step("2"), Step("3")])
    made = await batch([links, Step("x")]).finally_(Tell("finally")).adispatch()
    assert made.total_jobs == 4

    await run(world, "finally ")

    after = await made.afresh()
    assert (after.pending_jobs, after.failed_jobs, after.finished) == (0, 0, True)
    assert [word for word in seen if word.isdigit()] == ["1", "2", "3"]


async def test_a_chain_that_breaks_in_a_batch_fails_with_its_links_until_it_is_mended(
    world: WorkerWorld,
) -> None:
    broken.add("2")
    links = chain([Step("1"), Step("2"), Step("3")]).catch(Tell("catch"))
    pending = batch([links, Step("x")]).allow_failures().then(Tell("then"))
    made = await pending.finally_(Tell("finally")).adispatch()
    await run(world, "finally ")
    after = await made.afresh()
    assert (after.failed_jobs, after.pending_jobs, after.finished) == (2, 2, True)
    assert ("catch" in seen, "3" in seen) == (True, False)

    broken.clear()
    assert await made.aretry_failed() == 1
    await run(world, "then ")

    after = await made.afresh()
    assert (after.failed_jobs, after.pending_jobs) == (0, 0)
    assert "3" in seen


async def test_a_chain_that_ends_early_in_a_batch_is_done(world: WorkerWorld) -> None:
    made = await batch([chain([Gone(), Step("2")])]).then(Tell("then")).adispatch()

    await run(world, "then ")

    assert ((await made.afresh()).pending_jobs, "2" in seen) == (0, False)


async def test_links_of_a_cancelled_batch_are_skipped(world: WorkerWorld) -> None:
    made = await batch([chain([Step("1"), Step("2")])]).finally_(Tell("finally")).adispatch()
    await made.acancel()

    await run(world, "finally ")

    assert seen == ["finally "]
    assert (await made.afresh()).pending_jobs == 0


async def test_row_26_a_chain_is_added_to_a_batch_that_runs(world: WorkerWorld) -> None:
    made = await batch([Grow()]).finally_(Tell("finally")).adispatch()

    await run(world, "finally ")

    assert sorted(seen) == ["added 1", "added 2", "finally "]
    assert (await made.afresh()).total_jobs == 3


class Waits(Job, name="nesting.Waits"):
    """Is in a queue that no worker of these tests serves."""

    word: str

    async def handle(self) -> None:
        seen.append(self.word)

    def failed(self, error: BaseException) -> None:
        seen.append(f"{self.word}: {error}")


@pytest.mark.parametrize("how", ["cancel", "clear"])
async def test_a_job_that_is_taken_out_of_its_queue_has_failed_in_its_batch(
    world: WorkerWorld, how: str
) -> None:
    """Or the batch would wait for it for ever."""
    links = chain([Waits("x").with_options(queue="later"), Step("never")]).catch(Tell("catch"))
    pending = batch([Step("a"), links]).allow_failures()
    made = await pending.catch(Tell("failed")).finally_(Tell("finally")).adispatch()
    await world.push(Waits("plain"), queue="later")
    admin = RedisQueueAdmin(world.clients)
    if how == "clear":
        assert await asyncio.to_thread(admin.clear, "later") == 2
    else:
        assert await asyncio.to_thread(admin.cancel, "later", [job_id(made.id, 1), "0" * 32]) == 1

    async with world.running(queues=("default", "later")):
        expected = {"finally ", "failed ", "catch", *(["plain"] if how == "cancel" else [])}
        await eventually(lambda: expected <= set(seen))

    after = await made.afresh()
    assert (after.pending_jobs, after.failed_jobs, after.finished) == (2, 2, True)
    assert "x: it was cancelled" in seen
    assert ("nesting.Waits", "it was cancelled", "") in causes
    assert ("plain" in seen) == (how == "cancel")
    assert "never" not in seen


async def test_row_26_a_batch_ends_though_the_queue_was_away_when_jobs_were_added(
    world: WorkerWorld, app: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were counted, and not queued: the next run queues these, and counts no others."""
    queue = app.connection().queue
    real, tries = queue.apush, 0

    async def away_at_first(jobs: Sequence[NewJob]) -> Pushed:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DriverUnavailable("away")
        return await real(jobs)

    made = await batch([Grow().with_options(tries=3)]).finally_(Tell("finally")).adispatch()
    monkeypatch.setattr(queue, "apush", away_at_first)

    await run(world, "finally ")

    after = await made.afresh()
    assert (after.total_jobs, after.pending_jobs, tries) == (3, 0, 2)
    assert sorted(seen) == ["added 1", "added 2", "finally "]


async def only_body(world: WorkerWorld, queue: str) -> tuple[bytes, bytes]:
    """Return id and body of the only job of a queue."""
    jobs: Any = await world.clients.aio.hgetall(world.clients.keys.queue(queue, "jobs"))
    ((job, body),) = jobs.items()
    return job, body


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_job_that_no_worker_can_read_keeps_its_batch_from_nothing(
    world: WorkerWorld, *, cancelled: bool
) -> None:
    """A newer version has queued it, while workers of this one still run."""
    links = chain([Step("newer"), Step("never")]).catch(Tell("broken"))
    made = await batch([links]).catch(Tell("catch")).adispatch()
    job, body = await only_body(world, "default")
    newer = body.replace(b'{"v":1,', b'{"v":2,"later":1,', 1)
    await world.clients.aio.hset(world.clients.keys.queue("default", "jobs"), job, newer)

    if cancelled:
        assert await RedisQueueAdmin(world.clients).acancel(None, [job.decode()]) == 1
    await run(world, "catch ")

    after = await made.afresh()
    assert sorted(seen) == ["broken", "catch "]
    assert (after.failed_jobs, after.finished) == (2, True)
    (cause, _) = sorted(causes)
    assert cause[0] == "nesting.Step"


async def test_a_bug_of_the_worker_keeps_a_batch_from_nothing(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_try(job: Job, *args: Any) -> Any:
        if job.options.name == "nesting.Step":
            raise RuntimeError("a bug")
        return new_try(job, *args)

    monkeypatch.setattr(runner, "new_try", broken_try)
    made = await batch([Step("x")]).catch(Tell("catch")).adispatch()

    await run(world, "catch ")

    assert causes == [("nesting.Step", "RuntimeError: a bug", "")]
    assert (await made.afresh()).finished
    assert [failed.reason for failed in await world.failed()] == ["internal"]


async def test_a_copied_body_speaks_for_no_other_job(world: WorkerWorld) -> None:
    """Or whoever can push could fail the jobs of others in their batches."""
    made = await batch([Waits("x").with_options(queue="later")]).catch(Tell("catch")).adispatch()
    _, body = await only_body(world, "later")
    await world.push(NewJob("f" * 32, "default", body), NewJob("e" * 32, "default", body))
    assert await RedisQueueAdmin(world.clients).acancel("default", ["e" * 32]) == 1

    await world.drain()
    await world.drain()

    after = await made.afresh()
    assert [failed.reason for failed in await world.failed()] == ["invalid_job"]
    assert (after.failed_jobs, after.cancelled, seen) == (0, False, [])
