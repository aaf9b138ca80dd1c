"""What a job class and a dispatch may say, by the public API, on Redis, run by a worker."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import (
    Job,
    batch,
    current,
    current_job,
    find_batch,
    job,
    provide,
    provided,
    require_current_job,
    seconds,
)
from broadcaster.contracts.queue import QueueSizes
from broadcaster.errors import JobFailed, ModelMissing
from broadcaster.jobs.injection import services
from broadcaster.settings import Settings
from broadcaster.wiring.backend import Backend
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

seen: list[Any] = []
gate = threading.Event()


class Size(Enum):
    LARGE = "large"


@dataclass
class Line:
    article: str
    count: int = 1


class Order(Job, name="options.Order"):
    id: uuid.UUID
    size: Size
    lines: list[Line]
    at: datetime
    day: date | None = None
    notes: dict[str, float] | None = None

    async def handle(self) -> None:
        seen.append(self)


class Flaky(Job, name="options.Flaky", tries=3, backoff=[0.05, 0.3]):
    """Fails as often as it should."""

    failures: int = 100

    async def handle(self) -> None:
        seen.append(time.monotonic())
        if self.attempts <= self.failures:
            raise ValueError("boom")


class TooLong(Job, name="options.TooLong", timeout=0.05, tries=3):
    async def handle(self) -> None:
        seen.append(self.attempts)
        await asyncio.sleep(30)


class Swallows(Job, name="options.Swallows", timeout=0.05, tries=3):
    """Makes something else of its being cancelled."""

    how: str

    async def handle(self) -> None:
        seen.append(self.attempts)
        try:
            await asyncio.sleep(30 if self.attempts == 1 else 0)
        except asyncio.CancelledError:
            match self.how:
                case "raises":
                    raise OSError("the connection was cut") from None
                case "gives up":
                    raise JobFailed("not in this time") from None
                case "releases":
                    self.release()
                case "deletes":
                    self.delete()
                case _:
                    return


class ByTurns(Job, name="options.ByTurns", tries=0, max_exceptions=2):
    """Puts itself back, raises, and so on."""

    async def handle(self) -> None:
        seen.append(self.attempts)
        if self.attempts % 2:
            self.release()
        else:
            raise ValueError("boom")


class Until(Job, name="options.Until", retry_until=2, backoff=0.01):
    async def handle(self) -> None:
        seen.append(self.attempts)
        if self.attempts == 3:
            until = require_current_job().limits.retry_until or 0.0
            await eventually(lambda: time.time() > until)
        raise ValueError("boom")


class GivesUp(Job, name="options.GivesUp", tries=5):
    how: str

    def handle(self) -> None:
        self.fail("no\nroom" if self.how == "text" else KeyError("room"))
        self.release(5)
        raise ValueError("what follows does not count")

    def failed(self, error: BaseException) -> None:
        seen.append(str(error))


class PutsOff(Job, name="options.PutsOff", tries=1):
    async def handle(self) -> None:
        seen.append("ran")
        self.release(0.0, count=False)


class Hooks(Job, name="options.Hooks", tries=4, backoff=[0.02, 0.3, 600]):
    """As a webhook that waits for its receiver."""

    async def handle(self) -> None:
        seen.append(self.next_backoff())
        self.release(self.next_backoff())


class Knows(Job, name="options.Knows", queue="knowing"):
    async def handle(self) -> None:
        running = current_job()
        assert running is not None
        seen.append((running.id, running.name, running.queue, running.attempts))


class Gone(Job, name="options.Gone", tries=5):
    async def handle(self) -> None:
        raise ModelMissing("order 7 is gone", model="Order", key=7)


class Gated(Job, name="options.Gated"):
    async def handle(self) -> None:
        await asyncio.to_thread(gate.wait, 30)


class Ledger(list[str]): ...


@pytest.fixture(autouse=True)
async def app(world: WorkerWorld) -> AsyncIterator[Backend]:
    seen.clear()
    gate.clear()
    made = Backend(Settings(redis_url=world.clients.url, prefix=world.clients.prefix))
    current.use(made)
    yield made
    gate.set()
    await made.aclose()
    current.reset()


async def has_failed(world: WorkerWorld, reason: str, attempts: int) -> None:
    """Run a worker until one job has failed; it is to have failed so."""

    async def it_has() -> bool:
        return bool(await world.failed())

    async with world.running():
        await eventually_async(it_has)
    (failed,) = await world.failed()
    assert (failed.reason, failed.attempts) == (reason, attempts)
    assert (await world.sizes()) == QueueSizes(failed=1)


async def test_row_1_typed_fields_arrive_as_they_were_sent(world: WorkerWorld) -> None:
    order = Order(
        id=uuid.uuid4(),
        size=Size.LARGE,
        lines=[Line("tea"), Line("💚", 3)],
        at=datetime.now(UTC),
        day=date(2026, 11, 22),
        notes={"ü": 0.1},
    )
    await order.adispatch()

    await world.drain()

    assert seen == [order]


async def test_row_3_a_job_is_tried_so_often(world: WorkerWorld) -> None:
    await Flaky().adispatch()

    await has_failed(world, "exception", 3)

    assert len(seen) == 3


async def test_row_3_a_dispatch_may_ask_for_more_tries_or_for_no_limit(world: WorkerWorld) -> None:
    await Flaky(4).adispatch(tries=0, backoff=0)

    async with world.running(tries=1):
        await eventually(lambda: len(seen) == 5)

    assert await world.failed() == []


@pytest.mark.parametrize(("last", "attempts"), [(True, 1), (False, 3)])
async def test_row_5_a_timeout_may_be_the_end(
    world: WorkerWorld, *, last: bool, attempts: int
) -> None:
    await TooLong().adispatch(fail_on_timeout=last)

    await has_failed(world, "timeout", attempts)

    assert seen == list(range(1, attempts + 1))
    told = (await world.failed())[0].traceback
    assert "It hung here (most recent call last):\n  File" in told
    assert "in handle\n    await asyncio.sleep(30)" in told
    assert "runner.py" not in told


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_row_4_a_job_that_does_not_heed_its_timeout_has_timed_out(
    world: WorkerWorld, how: str
) -> None:
    """Neither is it done, nor is it another error, of which `fail_on_timeout` says nothing."""
    await Swallows(how).adispatch(fail_on_timeout=True)

    await has_failed(world, "timeout", 1)

    assert seen == [1]


async def test_row_4_a_job_whose_time_is_over_may_say_what_becomes_of_it(
    world: WorkerWorld,
) -> None:
    await Swallows("deletes").adispatch()
    await world.drain()
    assert (seen, await world.failed()) == ([1], [])
    await Swallows("releases").adispatch(tries=2)
    async with world.running():
        await eventually(lambda: seen == [1, 1, 2])
    await Swallows("gives up").adispatch()

    await has_failed(world, "job_failed", 1)


async def test_row_6_each_retry_waits_for_its_step_of_the_backoff(world: WorkerWorld) -> None:
    await Flaky().adispatch()

    await has_failed(world, "exception", 3)

    first, second, third = seen
    assert second - first >= 0.05
    assert third - second >= 0.3


async def test_row_7_exceptions_are_counted_and_releases_are_not(world: WorkerWorld) -> None:
    await ByTurns().adispatch()

    await has_failed(world, "max_exceptions", 4)

    assert seen == [1, 2, 3, 4]


async def test_row_8_a_job_is_tried_until_its_time_is_over(world: WorkerWorld) -> None:
    """The tries of the worker say nothing then."""
    await Until().adispatch()

    async def it_has_failed() -> bool:
        return bool(await world.failed())

    async with world.running(tries=1):
        await eventually_async(it_has_failed)

    (failed,) = await world.failed()
    assert failed.reason == "exception"
    assert seen == [1, 2, 3]


async def test_row_8_a_job_that_waited_beyond_its_time_does_not_begin(world: WorkerWorld) -> None:
    await Until().adispatch(retry_until=datetime.now(UTC) - timedelta(seconds=1))

    await has_failed(world, "retry_until", 0)

    assert seen == []


@pytest.mark.parametrize(("how", "error"), [("text", "no room"), ("error", "KeyError: 'room'")])
async def test_row_10_a_job_gives_itself_up_whatever_follows(
    world: WorkerWorld, how: str, error: str
) -> None:
    await GivesUp(how).adispatch()

    await has_failed(world, "job_failed", 1)

    (failed,) = await world.failed()
    assert failed.error == error
    await eventually(lambda: seen)


async def test_row_9_putting_off_takes_a_second_at_least(world: WorkerWorld) -> None:
    await PutsOff().adispatch()

    await world.drain()

    sizes = await world.sizes()
    assert (seen, sizes.delayed) == (["ran"], 1)


async def test_row_9_a_job_is_put_off_a_thousand_times_at_most(world: WorkerWorld) -> None:
    job_id = str(await PutsOff().adispatch())
    key = world.clients.keys.queue("default", "attempts")
    await world.clients.aio.hset(key, f"{job_id}:p", "1000")

    await has_failed(world, "max_postponed", 1)


async def test_row_60_a_job_that_puts_itself_back_waits_as_a_retry_would(
    world: WorkerWorld,
) -> None:
    await Hooks().adispatch()

    async with world.running():
        await eventually(lambda: len(seen) == 3)

    assert seen == [0.02, 0.3, 600]


async def test_row_12_a_job_knows_itself(world: WorkerWorld) -> None:
    job_id = await Knows().adispatch()

    await world.drain(queues=("knowing",))

    assert seen == [(job_id, "options.Knows", "knowing", 1)]


async def test_rows_13_and_14_a_dispatched_job_runs_when_its_delay_is_over(
    world: WorkerWorld,
) -> None:
    """Also one that was dispatched by sync code."""
    async with world.running():
        began = time.monotonic()
        later = await asyncio.to_thread(Flaky(0).dispatch, delay=seconds(0.35))
        await eventually(lambda: seen)

    assert later
    assert seen[0] - began >= 0.35


async def test_row_15_a_job_waits_in_the_queue_of_its_class_or_of_its_dispatch(
    world: WorkerWorld,
) -> None:
    await Knows().adispatch()
    await Knows().adispatch(queue="other")
    await Knows().with_options(queue="third").adispatch()

    await world.drain(queues=("knowing", "other", "third"))

    assert [queue for _, _, queue, _ in seen] == ["knowing", "other", "third"]


async def test_row_24_a_running_batch_says_how_far_it_is(world: WorkerWorld) -> None:
    made = await batch([Flaky(0), Flaky(0), Gated(), Flaky()]).allow_failures().adispatch()

    def is_half_done() -> bool:
        found = find_batch(made.id)
        assert found is not None
        counts = (found.total_jobs, found.pending_jobs, found.processed_jobs, found.failed_jobs)
        return (counts, found.progress, found.finished) == ((4, 2, 2, 1), 50, False)

    async def it_is() -> bool:
        return await asyncio.to_thread(is_half_done)

    async with world.running():
        await eventually_async(it_is)
        gate.set()


@pytest.mark.parametrize("forgotten", [True, False])
async def test_row_35_a_job_whose_row_is_gone_fails_or_is_forgotten(
    world: WorkerWorld, *, forgotten: bool
) -> None:
    await Gone().adispatch(delete_when_missing_models=forgotten)

    await world.drain()

    reasons = [(failed.reason, failed.attempts) for failed in await world.failed()]
    assert reasons == ([] if forgotten else [("missing_model", 1)])
    assert (await world.sizes()).delayed == 0


async def test_row_2_functions_are_jobs_with_services_too(world: WorkerWorld) -> None:
    try:

        @job(queue="books", tries=2)
        def book(account: int, amount: float = 0.5, ledger: Ledger = provided) -> None:
            running = current_job()
            assert running is not None
            seen.append((account, amount, type(ledger), running.attempts))

        provide(Ledger, Ledger)
        await book(7).adispatch()
        await book(account=8, amount=2).adispatch(queue="books")
        await world.drain(queues=("books",), concurrency=1)
    finally:
        services.remove(Ledger)

    assert seen == [(7, 0.5, Ledger, 1), (8, 2, Ledger, 1)]
