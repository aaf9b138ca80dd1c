from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.continuity import Recalled
from broadcaster.contracts.queue import NewJob, StepRequest
from broadcaster.drivers.redis.client import RedisClients, check_server
from broadcaster.drivers.redis.continuity import RedisContinuity
from broadcaster.drivers.redis.queue import RedisQueue

if TYPE_CHECKING:
    from tests.faults import FaultyServer


async def test_a_server_knows_the_last_token_and_which_jobs_exist(clients: RedisClients) -> None:
    queue, continuity = RedisQueue(clients), RedisContinuity(clients)
    await queue.apush([NewJob("a", "mail", b"{}"), NewJob("b", "mail", b"{}")])
    reply = await queue.step(StepRequest(queue="mail", reserve=1, worker="w"))

    found = await continuity.recall("mail", ["a", "x", "b", "y"])

    run_id = (await check_server(clients)).run_id
    assert found == Recalled(run_id, reply.reserved[0].token, ["x", "y"])


async def test_of_a_queue_that_nobody_used_nothing_is_known(clients: RedisClients) -> None:
    found = await RedisContinuity(clients).recall("never", ["a"])

    assert (found.token, found.unknown) == (0, ["a"])


async def test_an_emptied_server_is_another_one_that_knows_nothing(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    queue, continuity = RedisQueue(clients), RedisContinuity(clients)
    await queue.apush([NewJob("a", "mail", b"{}")])
    await queue.step(StepRequest(queue="mail", reserve=1, worker="w"))
    before = await continuity.recall("mail", ["a"])

    redis_server.restart(keep_data=False)
    after = await continuity.recall("mail", ["a"])
    await clients.aclose()

    assert (before.token > 0, before.unknown) == (True, [])
    assert (after.token, after.unknown) == (0, ["a"])
    assert after.server != before.server
