"""Jobs that are taken back by code, on a real server with a real worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster import Job, acancel_job, batch, cancel_job, chain, current
from broadcaster.contracts.queue import QueueSizes
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import ConfigurationError
from broadcaster.jobs.batch_jobs import job_id as batch_job_id
from broadcaster.protocol.ids import derived_id
from broadcaster.settings import ConnectionSettings, Settings, WorkerSettings
from broadcaster.wiring.worker import open_worker
from broadcaster.wiring.worker_options import worker_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

ran: list[str] = []


class Remind(Job, name="cancelling.Remind", queue="mail"):
    text: str

    def handle(self) -> None:
        ran.append(self.text)

    def failed(self, error: BaseException) -> None:
        ran.append(f"{self.text}: {error}")


class InOrder(Job, name="cancelling.InOrder", ordered_by="key"):
    key: str

    def handle(self) -> None: ...


@pytest.fixture
async def settings(redis_url: str, prefix: str) -> AsyncIterator[Settings]:
    ran.clear()
    made = Settings(
        redis_url=redis_url,
        prefix=prefix,
        queues={"inline": ConnectionSettings(driver="sync")},
    )
    application = current.configure(made)
    yield made
    await application.aclose()
    current.reset()


async def work(settings: Settings) -> None:
    said = WorkerSettings(queue=("mail",), stop_when_empty=True)
    opened = open_worker(settings, worker_options(settings, said))
    async with asyncio.timeout(30):
        await opened.worker.run()
    await opened.aclose()


@pytest.mark.parametrize("in_loop", [True, False])
async def test_row_45_a_job_that_waits_is_taken_back_once(
    settings: Settings, clients: RedisClients, *, in_loop: bool
) -> None:
    ids = [
        await Remind("later").adispatch(delay=3_600),
        await InOrder("a").adispatch(),
    ]

    for job_id in ids:
        assert isinstance(job_id, str)
        if in_loop:
            assert [await acancel_job(job_id), await acancel_job(job_id)] == [True, False]
        else:
            assert await asyncio.to_thread(cancel_job, job_id)
            assert not await asyncio.to_thread(cancel_job, job_id)
    assert not await acancel_job("no id")
    assert not await asyncio.to_thread(cancel_job, "no id")

    sizes = [await RedisQueue(clients).asizes(name) for name in RedisQueue(clients).queues()]
    assert {(size.ready, size.delayed) for size in sizes} == {(0, 0)}


async def test_a_job_that_is_taken_back_has_failed_for_its_batch_and_chain(
    settings: Settings, clients: RedisClients
) -> None:
    links = [Remind("link"), Remind("never")]
    chain_id = await chain(links).catch(Remind("broken")).adispatch()
    made = await batch([Remind("part")]).catch(Remind("caught")).adispatch()

    assert await acancel_job(derived_id("chain", chain_id, 0))
    assert await acancel_job(batch_job_id(made.id, 0))
    assert await RedisQueue(clients).asizes("mail") == QueueSizes()
    await work(settings)

    said = {"link: it was cancelled", "part: it was cancelled", "broken", "caught"}
    assert set(ran) == said
    assert (await made.afresh()).failed_jobs == 1


async def test_jobs_that_wait_nowhere_cannot_be_taken_back(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="in which no job waits"):
        cancel_job("0" * 32, connection="inline")
    with pytest.raises(ConfigurationError, match="in which no job waits"):
        await acancel_job("0" * 32, connection="inline")
