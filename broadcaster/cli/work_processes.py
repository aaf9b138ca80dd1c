"""``work --processes N``: N worker processes under one parent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.cli.heeding import PAUSES, STOPS, heed_no_more
from broadcaster.supervisor.processes import refused, say, send_signal
from broadcaster.supervisor.restarting import HOPELESS, Restarts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.cli.heeding import EarlyPause
    from broadcaster.settings import WorkerSettings

_log = logging.getLogger("broadcaster.worker")

# One after which none is started is told to whoever has started this command.
RESTARTS = Restarts(longest=10.0)
# Done as told, or over its memory: what somebody wanted. Any other is an error.
_LEVELS = {0: logging.INFO, 12: logging.WARNING}


def run_processes(arguments: Sequence[str], said: WorkerSettings, early: EarlyPause) -> int:
    """
    Run the workers until a signal, or until they are done; return the exit code.

    Args:
        arguments: the command line of this process, without the program.
        said: its options.
        early: what was asked for before.
    """
    command = [sys.executable, "-m", "broadcaster", *arguments, "--tethered"]
    ends = said.once or said.stop_when_empty or said.stop_when_empty_for > 0
    health = Health(said.health_port, said.health_socket)
    workers = WorkerProcesses(command, said.processes, health, ends=ends)
    return asyncio.run(_run(workers, early))


async def _run(workers: WorkerProcesses, early: EarlyPause) -> int:
    code = await workers.run(early)
    heed_no_more()
    return code


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
        self._paused = False
        self.processes: set[asyncio.subprocess.Process] = set()
        self._codes: list[int] = []

    async def run(self, early: EarlyPause | None = None) -> int:
        """
        Run until a signal, or until all workers are done; return the exit code.

        Args:
            early: what was asked for before.
        """
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self.stop)
        for number, paused in PAUSES.items():
            loop.add_signal_handler(number, self.pause, paused)
        self._paused = early is not None and early.wanted
        await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        return next((code for code in self._codes if code), 0)

    def stop(self) -> None:
        """
        Ask every worker to stop, and start none again; a second call is passed on too.

        By TERM, whatever came: Ctrl-C would be an error to one that is starting.
        """
        self._stopping.set()
        for process in self.processes:
            send_signal(process, signal.SIGTERM)

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - called by the event loop
        """
        Have every worker take no new jobs, or take them again; those too that start later.

        By a line, which waits for one that is starting; a signal would end that one.
        """
        self._paused = paused
        for process in self.processes:
            say(process, "pause" if paused else "resume")

    async def _keep(self, index: int) -> None:
        """Keep one worker running, with a pause that grows while it dies young."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            started = loop.time()
            code = await self._run_one(index)
            if self._stopping.is_set() or (code == 0 and self._ends) or code in HOPELESS:
                # One that died of the signal had not begun, or was done.
                self._codes.append(0 if code == -signal.SIGTERM else code)
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
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            return refused(_log, error)
        self.processes.add(process)
        try:
            if self._paused:
                say(process, "pause")
            if self._stopping.is_set():
                send_signal(process, signal.SIGTERM)
            return await process.wait()
        finally:
            self.processes.discard(process)
