"""Looking for processes that outlive the worker that has started them. Linux tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.record import SERVER, WORKER

PROC = Path("/proc")
LOOKS = 20
PAUSE = 0.25
"""Seconds between two looks: a killed process may take some time to end on a busy machine."""


async def survivors(worker: str, record_url: str, *, looks: int = LOOKS) -> list[str]:
    """Return what is left of `worker`, which has ended, when it has had time to end."""
    found: list[str] = []
    for _ in range(looks):
        found = await asyncio.to_thread(processes_of, worker, record_url)
        if not found:
            break
        await asyncio.sleep(PAUSE)
    return found


def processes_of(worker: str, record_url: str) -> list[str]:
    """Return the processes with the environment of `worker`, as text; none where none tells."""
    marks = {f"{WORKER}={worker}".encode(), f"{SERVER}={record_url}".encode()}
    found: list[str] = []
    for folder in PROC.glob("[0-9]*"):
        try:
            environment = set((folder / "environ").read_bytes().split(b"\0"))
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # it has just ended, or is somebody else's
            continue
        if marks <= environment:
            found.append(f"{folder.name} of {worker}: {command.decode(errors='replace')[:200]}")
    return found
