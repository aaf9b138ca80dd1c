"""
The processes that ``broadcaster dev`` runs: started, listened to, restarted, stopped.

A child is alive -> dead -> (pause) -> alive ... until it is stopped. The pause doubles
from 0.5 s to 8 s and is forgotten once a child has lived for ten seconds. A child that is
started again when code changes, and ends with exit code 2 or 78, waits for that instead. Each
child has a session of its own, so that Ctrl-C in the terminal reaches ``dev`` alone, which then
stops them in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from broadcaster.supervisor.processes import send_signal
from broadcaster.supervisor.restarting import HOPELESS, Restarts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Somebody sits before it and waits. Children run until `dev` tells them to stop.
RESTARTS = Restarts(longest=8.0, endless=True)
KILL_SECONDS = 1.0
LONGEST_LINE = 1_048_576
# Lines that are no log record: what a dying process says last.
LAST_WORDS = 20
LAST_WORDS_SECONDS = 1.0
# From one look to the next whether a child has ended whose output others keep open.
LOOK_SECONDS = 0.5


class Listener(Protocol):
    """Hears what children say."""

    def heard(self, child: str, fields: Mapping[str, object]) -> None:
        """One log record of a child, or one plain line as ``{"msg": line}``."""
        ...

    def died(self, child: str, reason: str, pause: float) -> None:
        """A child ended by itself and starts again after `pause` seconds."""
        ...

    def waits(self, child: str, reason: str) -> None:
        """A child cannot run, and starts again once it is told to."""
        ...


@dataclass
class Child:
    """
    One process and how it is to be stopped.

    Attributes:
        name: what the log calls it.
        arguments: for `broadcaster.cli.tether`.
        environment: set for this child besides what it inherits.
        grace: seconds between being asked to stop and being made to.
        reloaded: whether it starts again when code changes, not only when settings do.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    grace: float = 2.0
    reloaded: bool = False

    def __post_init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._again = asyncio.Event()
        self._over = asyncio.Event()  # nothing runs, and all that it said was heard
        self._over.set()
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)

    @property
    def command(self) -> list[str]:
        """The command line, environment included."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        tether = [sys.executable, "-m", "broadcaster.cli.tether", *self.arguments]
        return ["env", *settings, *tether] if settings else tether

    async def run(self, listener: Listener) -> None:
        """Keep the child alive until it is stopped or this task is cancelled."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        try:
            while not self._stopping:
                born = loop.time()
                code = await self._live(listener)
                if self._stopping:
                    break
                if self._again.is_set():
                    self._again.clear()
                    continue
                if self.reloaded and code in HOPELESS:
                    listener.waits(self.name, last_said(self._last_words))
                    await self._again.wait()
                    self._again.clear()
                    continue
                pause = RESTARTS.pause(code, loop.time() - born, pause)
                listener.died(self.name, explain_exit(code, self._last_words), pause)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._again.wait()
                self._again.clear()
        finally:
            self.kill()
            if self.process is not None:
                await _ends(self.process)
                _let_go(self.process)

    async def stop(self) -> None:
        """Ask the child to end, insist after `grace`, and return when all is heard and over."""
        self._stopping = True
        self._again.set()
        if self.process is not None:
            await self._end(self.process)
        await self._over.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        for wait in (self.grace, KILL_SECONDS):
            send_signal(process, signal.SIGTERM)
            if await _ends(process, within=wait):
                return
        send_signal(process, signal.SIGKILL)

    async def restart(self) -> None:
        """End the child; `run` starts it again at once, out of its pause if need be."""
        self._again.set()
        process = self.process
        if process is not None:
            send_signal(process, signal.SIGTERM)
            if not await _ends(process, within=self.grace):
                send_signal(process, signal.SIGKILL)

    def kill(self) -> None:
        """End the child now."""
        if self.process is not None:
            send_signal(self.process, signal.SIGKILL)

    async def _live(self, listener: Listener) -> int:
        self._last_words.clear()
        self._over.clear()
        try:
            return await self._lived(listener)
        finally:
            self._over.set()

    async def _lived(self, listener: Listener) -> int:
        # stdin is the tether: the child ends when this process does.
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
            start_new_session=True,
        )
        self.process = process
        if self._stopping or self._again.is_set():  # it may have read code that has changed since
            self.kill()
        listening = asyncio.create_task(self._listen(process.stdout, listener))
        listening.add_done_callback(self._end_the_unheard)
        try:
            await _ends(process)
            # What it has started may go on, and write where it wrote; its own words are there.
            await asyncio.wait([listening], timeout=LAST_WORDS_SECONDS)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        _let_go(process)
        if not listening.cancelled():
            listening.result()  # raises what the listener has raised
        return process.returncode or 0

    def _end_the_unheard(self, listening: asyncio.Task[None]) -> None:
        """End the child if its listener has failed: it would wait until somebody reads on."""
        if not listening.cancelled() and listening.exception() is not None:
            self.kill()

    async def _listen(self, stdout: asyncio.StreamReader | None, listener: Listener) -> None:
        while stdout is not None:
            try:
                line = await stdout.readline()
            except ValueError:  # a line over the limit; the reader dropped it
                continue
            if not line:
                return
            fields = parse_line(line)
            if "ts" not in fields:
                self._last_words.append(str(fields["msg"]))
            listener.heard(self.name, fields)


async def _ends(process: asyncio.subprocess.Process, *, within: float = math.inf) -> bool:
    """
    Wait until `process` has ended; False if it has not `within` so many seconds.

    `Process.wait` may wait for longer: until all that it has started have closed its output.
    """
    deadline = asyncio.get_running_loop().time() + within
    while process.returncode is None:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, LOOK_SECONDS)):
                await process.wait()
    return True


def _let_go(process: asyncio.subprocess.Process) -> None:
    """Close the pipes of a process that has ended, whoever else has them."""
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way


def parse_line(line: bytes) -> dict[str, object]:
    """Return a child's JSON log line, or ``{"msg": text}`` of anything else."""
    text = line.decode(errors="replace").rstrip("\r\n")
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            record: object = json.loads(text)
            if isinstance(record, dict) and "msg" in record:
                return cast("dict[str, object]", record)
    return {"msg": text}


def explain_exit(code: int, last_words: Sequence[str]) -> str:
    """Return why a child ended: its signal or exit code, and the last line it said."""
    if code < 0:
        try:
            how = f"ended by {signal.Signals(-code).name}"
        except ValueError:
            how = f"ended by signal {-code}"
    else:
        how = f"ended with exit code {code}"
    said = next((line for line in reversed(last_words) if line.strip()), "")
    return f"{how}: {said}" if said and code else how  # 0 has no reason to tell


def last_said(last_words: Sequence[str]) -> str:
    """Return the last line that a child of ours said, without its name."""
    said = next((line for line in reversed(last_words) if line.strip()), "it said nothing")
    return said.removeprefix("broadcaster: ")
