"""Jobs that write down in ``notes.txt`` which process ran them, and when (monotonic seconds)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from broadcaster.jobs.job import Job

NOTES = "notes.txt"


class Noted(Job):
    number: int

    async def handle(self) -> None:
        _note(str(self.number))


class Lasting(Job, tries=1):
    """Begins, and ends when there is a file ``enough``."""

    name: str

    async def handle(self) -> None:
        _note(self.name)
        while not Path("enough").exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.02)


def _note(name: str) -> None:
    with Path(NOTES).open("a", encoding="utf-8") as file:
        file.write(f"{name} {os.getpid()} {time.monotonic()}\n")
