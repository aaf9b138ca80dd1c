"""The whole chain in real processes: ``serve``, ``work``, Redis, and this test's backend."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broadcaster import PrivateChannel, ShouldBroadcast
from broadcaster.settings import Settings
from broadcaster.wiring.backend import open_backend
from tests.gateway.processes import environment, serve_process
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.testing.client import PusherClient
    from broadcaster.wiring.backend import Backend

CHANNEL = "private-orders.7"


@dataclass
class OrderShipped(ShouldBroadcast):
    """The event of every example."""

    user_id: int
    number: int

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"orders.{self.user_id}")

    def broadcast_with(self) -> dict[str, Any]:
        return {"number": self.number}


@asynccontextmanager
async def work_process(
    redis_url: str, prefix: str, *arguments: str, lease: float = 2.0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``broadcaster work`` until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broadcaster", "work", *arguments),
        env=environment(redis_url, prefix, BROADCASTER_QUEUE__LEASE=str(lease)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def backend(redis_url: str, prefix: str) -> AsyncIterator[Backend]:
    """Configure this process as the application that broadcasts."""
    from broadcaster import current

    application = open_backend(Settings(app=APP, redis_url=redis_url, prefix=prefix))
    current.use(application)
    try:
        yield application
    finally:
        await application.aclose()
        current.reset()


@asynccontextmanager
async def subscriber(
    redis_url: str, prefix: str, *, lease: float = 2.0
) -> AsyncIterator[PusherClient]:
    """Run a gateway, be the application, and subscribe to what is told of orders."""
    async with (
        serve_process(redis_url, prefix, lease=lease) as gateway,
        backend(redis_url, prefix),
        gateway.connect() as client,
    ):
        await client.subscribe(CHANNEL)
        yield client


def kill(process: asyncio.subprocess.Process) -> None:
    """End a process as a crash would."""
    os.kill(process.pid, signal.SIGKILL)


def numbers(client: PusherClient) -> list[int]:
    """Return the numbers of the orders that it was told of."""
    return [data["number"] for data in client.received("App\\Events\\OrderShipped")]


async def until(client: PusherClient, count: int, within: float) -> None:
    """Wait until it was told of `count` orders."""
    async with asyncio.timeout(within):
        while len(numbers(client)) < count:
            await client.next("App\\Events\\OrderShipped", within=within)
