"""Short words for tests of the queue on Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from broadcaster.contracts.queue import NewJob, StepReply, StepRequest
from broadcaster.drivers.redis.queue import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.queue import Reserved
    from broadcaster.drivers.redis.client import RedisClients


def job_id(number: int) -> str:
    return f"{number:032x}"


def numbers(jobs: Sequence[Reserved]) -> list[int]:
    return [int(job.id, 16) for job in jobs]


class QueueWorld:
    """One queue with a short lease, stepped by name."""

    def __init__(
        self, clients: RedisClients, *, ordered: bool = False, lease: float = 30.0
    ) -> None:
        self.clients = clients
        self.queue = RedisQueue(clients)
        self.ordered = ordered
        self.lease = lease

    async def push(self, *ids: int, delay: float = 0.0) -> int:
        pushed = await self.queue.apush(
            [NewJob(job_id(number), "q", b"body %d" % number, delay) for number in ids]
        )
        return len(pushed.new)

    async def step(self, *settlements: Any, reserve: int = 0, **options: Any) -> StepReply:
        given: dict[str, Any] = {
            "lease": self.lease,
            "ordered": self.ordered,
            "worker": "w",
        } | options
        request = StepRequest(queue="q", settlements=settlements, reserve=reserve, **given)
        return await self.queue.step(request)

    async def reserve(self, count: int = 1, **options: Any) -> Sequence[Reserved]:
        return (await self.step(reserve=count, **options)).reserved

    async def until(
        self,
        wanted: Callable[[StepReply], object],
        *,
        within: float = 10.0,
        pause: float = 0.01,
        **options: Any,
    ) -> StepReply:
        """Step until a reply is what is wanted."""
        deadline = time.monotonic() + within
        while True:
            reply = await self.step(**options)
            if wanted(reply):
                return reply
            assert time.monotonic() < deadline, f"never came; last reply {reply}"
            await asyncio.sleep(pause)

    async def lapse(self, **options: Any) -> StepReply:
        """Step without reserving until leases have lapsed; nobody renews them."""
        return await self.until(lambda reply: reply.lapsed, **options)

    async def redis_us(self) -> int:
        seconds, micros = await self.clients.aio.time()
        return int(seconds) * 1_000_000 + int(micros)

    async def redis_ms(self) -> int:
        return await self.redis_us() // 1000

    async def raw(self, *command: str) -> Any:
        return await self.clients.aio.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py

    def key(self, suffix: str) -> str:
        return self.clients.keys.queue("q", suffix)

    async def all_names(self) -> list[str]:
        pattern = f"{self.clients.prefix}:{{q:q}}:*"
        found = [key async for key in self.clients.aio.scan_iter(match=pattern, count=10_000)]
        return sorted(key.decode() for key in found)

    async def all_keys(self) -> list[str]:
        return sorted(name.rpartition(":")[2] for name in await self.all_names())
