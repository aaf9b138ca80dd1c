"""Real ``broadcaster serve`` processes, ended with the test that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from broadcaster.testing.client import connected
from tests.gateway.world import APP
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from broadcaster.testing.client import PusherClient


@dataclass
class ServeProcess:
    """A gateway process."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self) -> AbstractAsyncContextManager[PusherClient]:
        """Connect a client to the tests' app."""
        return connected(f"ws://127.0.0.1:{self.port}", APP)

    def kill(self) -> None:
        """End it as the kernel would."""
        os.kill(self.pid, signal.SIGKILL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still, with its connections open, until the block ends."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def environment(redis_url: str, prefix: str, *, lease: float = 2.0, **more: str) -> dict[str, str]:
    return {
        **{
            name: value for name, value in os.environ.items() if not name.startswith("BROADCASTER_")
        },
        "REDIS_URL": redis_url,
        "BROADCASTER_PREFIX": prefix,
        "BROADCASTER_APP_ID": APP.id,
        "BROADCASTER_APP_KEY": APP.key,
        "BROADCASTER_APP_SECRET": APP.secret,
        "BROADCASTER_GATEWAY__LEASE_SECONDS": str(lease),
        "BROADCASTER_GATEWAY__PRESENCE_GRACE": "0.3",
        **more,
    }


@asynccontextmanager
async def serve_process(
    redis_url: str,
    prefix: str,
    *arguments: str,
    lease: float = 2.0,
    log: Path | None = None,
    **more: str,
) -> AsyncIterator[ServeProcess]:
    """
    Run ``broadcaster serve`` until the block ends; it is ready when the block begins.

    Args:
        log: where its output goes, errors included; else only errors are shown.
    """
    port = free_port()
    with (log or Path(os.devnull)).open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broadcaster", "serve", "--port", str(port), *arguments),
            env=environment(redis_url, prefix, lease=lease, **more),
            stdout=output,
            stderr=output if log is not None else None,
        )
    try:
        await _ready(process, port)
        yield ServeProcess(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            assert process.returncode is None, f"serve ended with {process.returncode}"
            try:
                if (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
