"""``work --processes N``: N worker processes under one parent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.settings import WorkerSettings

_log = logging.getLogger("broadcaster.worker")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
SHORT_LIFE, LONG_LIFE = 1.0, 10.0
# A worker that ends with one of these would end so again.
_HOPELESS = frozenset({2, 78})
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


def pause_after(code: int, lived: float, before: float) -> float:
    """
    Return the seconds before a worker that has ended is started again. Pure.

    One that has done what it should (its jobs, its time) goes on at once; one that dies young
    waits longer each time.

    Args:
        code: what it ended with.
        lived: seconds.
        before: the pause before this start.
    """
    if code == 0 and lived >= SHORT_LIFE:
        return 0.0
    if code == 0 or lived >= LONG_LIFE:
        return FIRST_PAUSE
    return min(max(before, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)


class Tether:
    """
    What a parent says to its worker: through standard input, a pipe that only it holds.

    A line ``slots 5`` has the worker run at most 5 jobs at once. When the pipe closes, the
    parent is gone, and this process stops itself in good order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: int | None = None
        self._resize: Callable[[int], object] | None = None

    def start(self) -> None:
        """Listen from now on, in a thread of its own."""
        threading.Thread(target=self._listen, name="tether", daemon=True).start()

    def attach(self, resize: Callable[[int], object]) -> None:
        """Have `resize` called, from the thread, with what was said last and is said later."""
        with self._lock:
            self._resize = resize
            if self._slots is not None:
                resize(self._slots)

    def _listen(self) -> None:
        rest = b""
        while data := os.read(sys.stdin.fileno(), 4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._told(line)
            rest = rest[-4096:]
        os.kill(os.getpid(), signal.SIGTERM)

    def _told(self, line: bytes) -> None:
        word, _, number = line.partition(b" ")
        if word != b"slots" or not number.isdigit():
            return
        with self._lock:
            self._slots = int(number)
            if self._resize is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it is stopping
                    self._resize(self._slots)


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
            if self._stopping.is_set() or (code == 0 and self._ends) or code in _HOPELESS:
                self._codes.append(code)
                if code in _HOPELESS:
                    self.stop()
                return
            pause = pause_after(code, loop.time() - started, pause)
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
