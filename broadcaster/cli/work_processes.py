"""``work --processes N``: N worker processes under one parent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.settings import WorkerSettings

_log = logging.getLogger("broadcaster.worker")

FIRST_PAUSE, LONGEST_PAUSE, LONG_LIFE = 0.5, 10.0, 10.0
# A worker that ends with one of these would end so again.
_HOPELESS = frozenset({2, 78})
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
    return asyncio.run(WorkerProcesses(command, said.processes, said.health_port, ends=ends).run())


def end_with_parent() -> None:
    """Stop this process in good order when the parent that holds its stdin is gone."""
    threading.Thread(target=_watch_parent, name="tether", daemon=True).start()


def _watch_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


class WorkerProcesses:
    """
    Starts workers, starts those again that end, and passes signals on.

    Args:
        command: what each is started with.
        count: how many.
        health_port: of the first one; the others have the next ones. 0 is none.
        ends: a worker that has ended in good order is not started again.

    Attributes:
        processes: those that run.
    """

    def __init__(self, command: list[str], count: int, health_port: int = 0, *, ends: bool) -> None:
        self._command = command
        self._count = count
        self._health_port = health_port
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
        pause = FIRST_PAUSE
        while True:
            started = loop.time()
            code = await self._run_one(index)
            if self._stopping.is_set() or (code == 0 and self._ends) or code in _HOPELESS:
                self._codes.append(code)
                if code in _HOPELESS:
                    self.stop()
                return
            lived = loop.time() - started
            pause = FIRST_PAUSE if lived > LONG_LIFE else min(pause * 2, LONGEST_PAUSE)
            level = logging.INFO if code == 0 else logging.ERROR
            fields = {"event": "worker_ended", "code": code}
            text = "worker %d ended with %d; it starts again in %g s"
            _log.log(level, text, index, code, pause, extra=fields)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return

    async def _run_one(self, index: int) -> int:
        command = [*self._command]
        if self._health_port:
            command += ["--health-port", str(self._health_port + index)]
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
