"""Real ``broadcaster work`` processes, to be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]

JOBS = """\
import asyncio, os, pathlib, time
from broadcaster.jobs.function import job
from broadcaster.jobs.job import Job

def note(text):
    with open("notes.txt", "a") as file:
        file.write(text + "\\n")

class Slow(Job, tries=1):
    name: str
    seconds: float = 60.0
    async def handle(self):
        first = not pathlib.Path("notes.txt").exists()
        note(f"begins {self.name}")
        await asyncio.sleep(self.seconds if first else 0)
        note(f"ends {self.name}")

class Gated(Job, tries=1):
    name: str
    async def handle(self):
        note(f"begins {self.name}")
        while not pathlib.Path("go").exists():
            await asyncio.sleep(0.01)
        note(f"ends {self.name}")

class Leaver(Job, tries=1):
    async def handle(self):
        await asyncio.gather(self.leave(), asyncio.sleep(0))

    async def leave(self):
        await asyncio.sleep(0)
        raise SystemExit(4)

class Killer(Job, tries=0):
    async def handle(self):
        note("kills")
        os.kill(os.getpid(), 9)

@job
def stuck(seconds: float) -> None:
    note("stuck")
    time.sleep(seconds)

@job
def greet(name: str) -> None:
    note(f"hello {name}")
"""


def environment(redis_url: str, prefix: str, **more: str) -> dict[str, str]:
    """The environment of a process that knows nothing but this server."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return (
        kept
        | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'auth'}",
            "REDIS_URL": redis_url,
            "BROADCASTER_PREFIX": prefix,
            "BROADCASTER_APP_ID": "1",
            "BROADCASTER_APP_KEY": "key",
            "BROADCASTER_APP_SECRET": "secret-of-the-tests",
            "BROADCASTER_QUEUE__LEASE": "2",
        }
        | more
    )


class Process:
    """One running command; its output is collected by a thread."""

    def __init__(self, args: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "broadcaster", *args],
            cwd=cwd,
            env=dict(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        if self._process.stdout is None:
            raise AssertionError("started with a pipe")
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as the kernel would, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self.wait()

    def wait(self, within: float = 30.0) -> int:
        code = self._process.wait(within)
        self._reader.join(within)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _read(self, output: IO[str]) -> None:
        self.lines.extend(iter(output.readline, ""))


class Shop:
    """A folder with jobs in it, and the workers that run there."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        self.processes: list[Process] = []
        (folder / "shop_jobs.py").write_text(JOBS, encoding="utf-8")

    def start(self, *args: str, **env: str) -> Process:
        process = Process(args, self.folder, self.env | env)
        self.processes.append(process)
        return process

    def run(self, *args: str) -> Process:
        process = self.start(*args)
        process.wait()
        return process

    def open_gate(self) -> None:
        """Let the jobs called ``Gated`` end."""
        (self.folder / "go").touch()

    @property
    def notes(self) -> list[str]:
        path = self.folder / "notes.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@contextlib.contextmanager
def opened(folder: Path, env: Mapping[str, str]) -> Iterator[Shop]:
    shop = Shop(folder, env)
    try:
        yield shop
    finally:
        for process in shop.processes:
            process.kill()
