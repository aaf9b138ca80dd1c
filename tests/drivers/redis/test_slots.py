"""
Every script of the queue works on one slot, with the keys that it declares.

A server in cluster mode refuses everything else, also when it has all slots itself.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from importlib import resources
from random import Random
from typing import TYPE_CHECKING

import pytest
import redis

from broadcaster.contracts.limits import LockOwner
from broadcaster.contracts.queue import (
    Fail,
    Hold,
    NewJob,
    Postpone,
    Reserved,
    StepRequest,
    Unique,
)
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.embedded import find_server_binary
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.drivers.redis.limits import RedisLimiter
from broadcaster.drivers.redis.locks import RedisLocks
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.drivers.redis.queue_admin import RedisQueueAdmin
from tests.drivers.redis.queue_world import job_id
from tests.drivers.redis.test_queue_kills import Plant, play
from tests.polling import eventually, eventually_async
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from broadcaster.contracts.queue import Settlement

SLOTS = 16_384


@pytest.fixture(scope="module")
def cluster_url(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that is a whole cluster; `redis_url` skips where there is no server at all."""
    del redis_url
    folder: Path = tmp_path_factory.mktemp("cluster")
    port, bus = free_port(), free_port()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
        "cluster-enabled": "yes",
        "cluster-port": str(bus),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen(
        [str(find_server_binary()), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _take_all_slots(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


@pytest.fixture
async def cluster(cluster_url: str, prefix: str) -> AsyncIterator[RedisClients]:
    made = RedisClients(cluster_url, prefix)
    yield made
    await made.aclose()


def _take_all_slots(port: int) -> None:
    async def ready() -> None:
        with redis.Redis(port=port) as client:
            await eventually(lambda: _answers(client), within=10)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)  # type: ignore[no-untyped-call]  # redis-py
            await eventually(lambda: _is_whole(client), within=10)

    asyncio.run(ready())


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _is_whole(client: redis.Redis) -> bool:
    told: bytes = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # redis-py
    return "cluster_state:ok" in str(told)


async def test_the_server_refuses_what_spans_slots(cluster: RedisClients) -> None:
    """Or this module would show nothing."""
    with pytest.raises(redis.ResponseError, match="slot"):
        await cluster.aio.eval("return 1", 2, "a", "b")


async def test_chains_batches_and_locks_work_in_slots_of_their_own(cluster: RedisClients) -> None:
    await play(Plant(cluster, Random(1), 1))


@pytest.mark.parametrize("name", ["q", "q#3"])
async def test_every_state_of_a_job_is_in_the_slot_of_its_queue(
    cluster: RedisClients, name: str
) -> None:
    queue, reserved = RedisQueue(cluster), list[Reserved]()
    await queue.apush([NewJob(job_id(at), name, b"x", at / 100) for at in range(3)])
    await queue.apush([NewJob(job_id(9), name, b"x", unique=Unique("k", 60.0))])

    async def reserve(*settled: Settlement) -> bool:
        request = StepRequest(
            queue=name, settlements=settled, reserve=1, worker="w", ordered="#" in name
        )
        reserved[:] = (await queue.step(request)).reserved
        return bool(reserved)

    assert await reserve()
    (first,) = reserved
    assert queue.extend(name, {first.id: first.token}, 30.0) == {first.id: Hold.KEPT}
    await reserve(Postpone(first.id, first.token, 1.0))
    if not reserved:
        await eventually_async(reserve)
    (second,) = reserved
    await reserve(Fail(second.id, second.token, "exception", "x", 1))
    assert queue.sizes(name).failed == 1
    assert set((await queue.survey("q", range(16), "w")).due) <= {3}
    assert not await queue.unlock(name, "k", "nobody")


async def test_what_people_do_to_a_queue_stays_in_its_slot(cluster: RedisClients) -> None:
    queue, admin = RedisQueue(cluster), RedisQueueAdmin(cluster)
    await queue.apush([NewJob(job_id(at), "q", b"x") for at in range(4)])
    (first,) = (await queue.step(StepRequest(queue="q", reserve=1))).reserved
    fail = Fail(first.id, first.token, "exception", "x", 1)
    await queue.step(StepRequest(queue="q", settlements=[fail]))
    failed = RedisFailedJobs(cluster)

    assert [job.id for job in failed.find()] == [first.id]
    assert failed.retry([first.id]) == [first.id]
    assert failed.forget([first.id]) == 1
    admin.pause("q", 60.0)
    assert admin.resume("q")
    assert admin.cancel("q", [job_id(3)]) == 1
    await admin.tell("q", {("job", 3): 1})
    assert admin.stats("q").runtimes
    assert admin.clear("q") == 3


async def test_locks_and_limits_are_one_key_each(cluster: RedisClients) -> None:
    locks, limiter, owner = RedisLocks(cluster), RedisLimiter(cluster), LockOwner("a", 1)

    assert await locks.aacquire("k", owner, 10.0) == 0
    assert locks.renew({"k": owner}, 10.0) == frozenset()
    assert await locks.arelease("k", owner)
    assert (await limiter.athrottle("k", 1, 1.0)).allowed
    assert (await limiter.atake("k", 1, 1.0)).allowed
    assert await limiter.acount("k", 1.0) == 1


def scripts() -> list[tuple[str, str]]:
    folder = resources.files("broadcaster.drivers.redis").joinpath("scripts")
    return [
        (file.name, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    ]


def test_no_script_makes_up_a_key() -> None:
    """A key that is not declared is not where a cluster looks for it."""
    calls = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'\s*,\s*([^,)]+)")
    keyless = {"INFO", "PUBLISH", "SPUBLISH"}

    made_up = [
        f"{name}: {command} {key}"
        for name, source in scripts()
        for command, key in calls.findall(source)
        if command not in keyless and re.search(r"""['"]|\.\.|ARGV""", key)
    ]

    assert made_up == []


def test_every_script_says_what_its_keys_and_its_reply_are() -> None:
    for name, source in scripts():
        assert source.startswith("--"), name
        head = " ".join(source.partition("\n\n")[0].replace("--", " ").split())
        if "ot a script of its own" not in head:
            assert "Reply" in head, name
            assert "KEYS" in head or "whose keys it takes" in head, name


def test_only_the_clock_of_the_server_counts() -> None:
    assert [name for name, source in scripts() if re.search(r"\bos\.|math\.random", source)] == []
