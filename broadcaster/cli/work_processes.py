"""``work --processes N``: N worker processes under one parent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.supervisor.restarting import HOPELESS, Restarts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.settings import WorkerSettings

_log = logging.getLogger("broadcaster.worker")

# One after which none is started is told to whoever has started this command.
RESTARTS = Restarts(longest=10.0)
# Done as told, or over its memory: what somebody wanted. Any other is an error.
_LEVELS = {0: logging.INFO, 12: logging.WARNING}
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_PASSED_ON = (signal.SIGUSR2, signal.SIGCONT)


def run_processes(arguments: Sequence[str], said: WorkerSettings) -> int:
    """
    Run the workers until a signal, or until they are done; return the exit code.

    Args:
        arguments: the command line of this process, without the program.
        said: its options.
    """
    command = [sys.executable, "-m", "broadcaster", *arguments, "--tethered"]
    ends = said.once or said.stop_when_empty or said.stop_when_empty_for > 0
    health = Health(said.health_port, said.health_socket)
    return asyncio.run(WorkerProcesses(command, said.processes, health, ends=ends).run())


class Health(NamedTuple):
    """
    Where the first of several workers answers for its health; the others do beside it.

    Attributes:
        port: that of the next worker is the next one; 0 is none.
        path: of a Unix socket; that of the second worker ends with ``.1``. Empty is none.
    """

    port: int = 0
    path: str = ""

    def options(self, index: int) -> list[str]:
        """Return the options of the worker with this number, from 0."""
        port = ["--health-port", str(self.port + index)] if self.port else []
        own = f"{self.path}.{index}" if index else self.path
        return [*port, "--health-socket", own] if self.path else port


_NO_HEALTH = Health()


class WorkerProcesses:
    """
    Starts workers, starts those again that end, and passes signals on.

    Args:
        command: what each is started with.
        count: how many.
        health: where the first one answers for its health.
        ends: a worker that has ended in good order is not started again.

    Attributes:
        processes: those that run.
    """

    def __init__(
        self, command: list[str], count: int, health: Health = _NO_HEALTH, *, ends: bool
    ) -> None:
        self._command = command
        self._count = count
        self._health = health
        self._ends = ends
        self._stopping = asyncio.Event()
        self.processes: set[asyncio.subprocess.Process] = set()
        self._codes: list[int] = []

    async def run(self) -> int:
        """Run until a signal, or until all workers are done; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self.stop, number)
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._pass_on, number)
        await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        return next((code for code in self._codes if code), 0)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask every worker to stop, and start none again; a second call is passed on too."""
        self._stopping.set()
        self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, index: int) -> None:
        """Keep one worker running, with a pause that grows while it dies young."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            started = loop.time()
            code = await self._run_one(index)
            if self._stopping.is_set() or (code == 0 and self._ends) or code in HOPELESS:
                self._codes.append(code)
                if code in HOPELESS:
                    self.stop()
                return
            pause = RESTARTS.pause(code, loop.time() - started, pause)
            level = _LEVELS.get(code, logging.ERROR)
            fields = {"event": "worker_ended", "code": code}
            text = "worker %d ended with %d; it starts again in %g s"
            _log.log(level, text, index, code, pause, extra=fields)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return

    async def _run_one(self, index: int) -> int:
        command = [*self._command, *self._health.options(index)]
        # The worker stops when this pipe closes, so ours may be killed without leaving it.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        self.processes.add(process)
        try:
            if self._stopping.is_set():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            return await process.wait()
        finally:
            self.processes.discard(process)
