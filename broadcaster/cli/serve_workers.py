"""``serve --workers N``: N processes on one port, each a node of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

from broadcaster.cli.heeding import heed_no_more
from broadcaster.supervisor.processes import refused, send_signal
from broadcaster.supervisor.restarting import HOPELESS, Restarts

if TYPE_CHECKING:
    from broadcaster.settings import Settings

_log = logging.getLogger("broadcaster.gateway")

# A gateway runs until it is told to stop.
RESTARTS = Restarts(longest=10.0, endless=True)


def run_workers(settings: Settings, log_level: str) -> int:
    """Run the workers until a signal; return the exit code."""
    from broadcaster.gateway.server import bind

    # SO_REUSEPORT would let us share a stranger's port without a word: ask for it alone first.
    probe = bind(settings.gateway.host, settings.gateway.port)
    port = int(probe.getsockname()[1])
    probe.close()
    command = [
        *(sys.executable, "-m", "broadcaster.cli.tether", "serve", "--shared-port"),
        *("--host", settings.gateway.host, "--port", str(port), "--log-level", log_level),
        *("--drain", str(settings.gateway.drain_seconds)),
    ]
    return asyncio.run(_run(Workers(command, settings.gateway.workers)))


async def _run(workers: Workers) -> int:
    code = await workers.run()
    heed_no_more()
    return code


class Workers:
    """
    Starts workers, restarts those that die, and passes signals on.

    Args:
        command: what each is started with.
        count: how many.

    Attributes:
        processes: those that run.
    """

    def __init__(self, command: list[str], count: int) -> None:
        self._command = command
        self._count = count
        self._stopping = asyncio.Event()
        self.processes: set[asyncio.subprocess.Process] = set()
        self._code = 0

    async def run(self) -> int:
        """Run until a signal, or until a worker cannot be run at all; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        return self._code

    def stop(self) -> None:
        """Ask every worker to stop, and start none again."""
        self._stopping.set()
        for process in self.processes:
            send_signal(process, signal.SIGTERM)

    async def _keep(self, index: int) -> None:
        """Keep one worker running, with a pause that grows while it dies young."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._run_one()
            if self._stopping.is_set():
                return
            if code in HOPELESS:
                self._code = code
                self.stop()
                return
            pause = RESTARTS.pause(code, loop.time() - started, pause)
            _log.error(
                "worker %d ended with %d; it starts again in %g s",
                index,
                code,
                pause,
                extra={"event": "worker_died", "code": code},
            )
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _run_one(self) -> int:
        # The worker ends itself when this pipe closes, so ours may be killed without leaving it.
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            return refused(_log, error)
        self.processes.add(process)
        try:
            if self._stopping.is_set():
                send_signal(process, signal.SIGTERM)
            return await process.wait()
        finally:
            self.processes.discard(process)
