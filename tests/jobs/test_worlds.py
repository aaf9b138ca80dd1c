"""
Code without a loop, code inside of one that is not its own, and coroutines: what each verb does.

Plain verbs work everywhere and may hold a running loop for one round trip; the same verb with
`a` in front is for coroutines. What cannot work says which verb does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from broadcaster import (
    Job,
    PrivateChannel,
    ShouldBroadcast,
    TrackedJob,
    abroadcast,
    aemit,
    afind_batch,
    ajob_status,
    batch,
    broadcast,
    chain,
    current,
    emit,
    find_batch,
    job_status,
    on,
)
from broadcaster.protocol.app import App
from broadcaster.settings import QueueSettings, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ran: list[str] = []
APP = App(id="1", key="k", secret="a-secret-that-is-long-enough-here")


class Plain(Job, name="tests.worlds.Plain"):
    def handle(self) -> None:
        ran.append("plain")


class Coroutine(Job, name="tests.worlds.Coroutine"):
    async def handle(self) -> None:
        await asyncio.sleep(0)
        ran.append("coroutine")


class Watched(TrackedJob, name="tests.worlds.Watched"):
    def handle(self) -> None: ...


@dataclass
class Shipped(ShouldBroadcast):
    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel("orders")


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def server(redis_url: str, prefix: str) -> Iterator[None]:
    """The queue is a real server, for code without a loop."""
    current.configure(Settings(app=APP, redis_url=redis_url, prefix=prefix))
    yield
    current.reset()


@pytest.fixture
async def server_in_a_loop(server: None) -> AsyncIterator[None]:
    yield
    await current.application().aclose()


@pytest.fixture
def inline() -> Iterator[None]:
    """The queue runs jobs where they are dispatched."""
    current.configure(Settings(app=APP, queue=QueueSettings(driver="sync")))
    yield
    current.reset()


def use_plain_verbs() -> int:
    """Call each plain verb once; return how many jobs and events are queued."""
    Plain().dispatch()
    Coroutine().dispatch()
    Watched().dispatch()
    chain([Plain(), Plain()]).dispatch()
    made = batch([Plain(), Plain()]).dispatch()
    emit(Shipped())
    broadcast(Shipped())
    on("orders").send()
    assert find_batch(made.id) is not None
    assert job_status(str(Watched().dispatch())) is not None
    return waiting()


async def use_coroutines() -> int:
    await Plain().adispatch()
    await Coroutine().adispatch()
    await Watched().adispatch()
    await chain([Plain(), Plain()]).adispatch()
    made = await batch([Plain(), Plain()]).adispatch()
    await aemit(Shipped())
    await abroadcast(Shipped())
    await on("orders").asend()
    assert await afind_batch(made.id) is not None
    assert await ajob_status(str(await Watched().adispatch())) is not None
    return waiting()


def waiting() -> int:
    queue = current.application().queue
    return sum(queue.sizes(name).ready for name in queue.queues())


EXPECTED = 3 + 1 + 2 + 3 + 1


def test_code_without_a_loop_uses_plain_verbs(server: None) -> None:
    assert use_plain_verbs() == EXPECTED


async def test_code_in_a_running_loop_may_use_plain_verbs(server_in_a_loop: None) -> None:
    """They hold the loop for a round trip each."""
    assert use_plain_verbs() == EXPECTED


async def test_code_in_a_thread_of_a_running_loop_may_use_plain_verbs(
    server_in_a_loop: None,
) -> None:
    assert await asyncio.to_thread(use_plain_verbs) == EXPECTED


async def test_coroutines_use_the_verbs_with_an_a(server_in_a_loop: None) -> None:
    assert await use_coroutines() == EXPECTED


def test_one_process_may_use_several_loops(server: None) -> None:
    """Connections belong to their loop: a script that calls asyncio.run twice works."""

    async def use_and_close() -> int:
        counted = await use_coroutines()
        await current.application().aclose()
        return counted

    assert asyncio.run(use_and_close()) == EXPECTED
    assert asyncio.run(use_and_close()) == 2 * EXPECTED


@pytest.mark.parametrize("job", [Plain(), Coroutine()])
def test_jobs_of_either_kind_run_now_without_a_loop(inline: None, job: Job) -> None:
    job.run_now()
    job.dispatch()

    assert len(ran) == 2


@pytest.mark.parametrize("job", [Plain(), Coroutine()])
async def test_jobs_of_either_kind_run_now_in_a_coroutine(inline: None, job: Job) -> None:
    await job.arun_now()
    await job.adispatch()

    assert len(ran) == 2


async def test_a_plain_job_runs_now_in_a_running_loop(inline: None) -> None:
    Plain().run_now()
    Plain().dispatch()

    assert ran == ["plain"] * 2


async def test_a_coroutine_cannot_run_now_in_a_running_loop_and_says_what_can(
    inline: None,
) -> None:
    with pytest.raises(RuntimeError, match=r"await arun_now\(\)"):
        Coroutine().run_now()
    with pytest.raises(RuntimeError, match=r"adispatch\(\)"):
        Coroutine().dispatch()

    assert ran == []


def test_chains_and_batches_run_now_without_a_loop(inline: None) -> None:
    chain([Plain(), batch([Coroutine(), Plain()]), Coroutine()]).dispatch()
    batch([chain([Coroutine(), Plain()])]).dispatch()

    assert sorted(ran) == ["coroutine"] * 3 + ["plain"] * 3


async def test_chains_and_batches_run_now_in_a_coroutine(inline: None) -> None:
    loops: set[int] = set()

    class Where(Job, name="tests.worlds.Where"):
        async def handle(self) -> None:
            loops.add(id(asyncio.get_running_loop()))

    await chain([Plain(), batch([Where(), Plain()]), Where()]).adispatch()
    await batch([chain([Where(), Plain()])]).adispatch()

    assert ran == ["plain"] * 3
    assert loops == {id(asyncio.get_running_loop())}


async def test_plain_chains_and_batches_run_now_in_a_running_loop(inline: None) -> None:
    chain([Plain(), batch([Plain()])]).dispatch()
    with pytest.raises(RuntimeError, match=r"adispatch\(\)"):
        batch([Coroutine()]).dispatch()

    assert ran == ["plain"] * 2


def test_batches_are_asked_and_changed_by_plain_verbs_without_a_loop(server: None) -> None:
    made = batch([Plain()]).name("x").dispatch()

    assert made.add([Plain(), chain([Plain(), Coroutine()])]) == 3
    assert made.fresh().total_jobs == 4
    assert made.cancel()
    assert made.retry_failed() == 0


async def test_batches_are_asked_and_changed_by_coroutines(server_in_a_loop: None) -> None:
    made = await batch([Plain()]).name("x").adispatch()

    assert await made.aadd([Plain(), chain([Plain(), Coroutine()])]) == 3
    assert (await made.afresh()).total_jobs == 4
    assert await made.acancel()
    assert await made.aretry_failed() == 0


async def test_a_batch_is_asked_by_plain_verbs_in_a_running_loop(server_in_a_loop: None) -> None:
    made = batch([Plain()]).dispatch()

    assert made.add([Plain()]) == 1
    assert (made.fresh().total_jobs, made.cancel()) == (2, True)
