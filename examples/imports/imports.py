"""
Import of users: a batch of chunks that run side by side, and what follows when all have run.

Failed chunks do not stop the others; they can be run again later. See README.md.
"""

from __future__ import annotations

import csv
import logging
from datetime import UTC, datetime
from pathlib import Path

from broadcaster import Batch, Job, batch, find_batch

log = logging.getLogger("imports")
log.setLevel(logging.INFO)

CHUNK = 2  # rows; a few hundred in earnest

USERS: dict[str, str] = {}  # e-mail -> name; your database in earnest
NOTES: list[str] = []  # what the one who imports is told


class ImportUserChunk(Job, tries=2, backoff=1):
    """Names its rows, not carries them: the file is where every worker can read it."""

    path: str
    first: int

    def handle(self) -> None:
        for row in read(Path(self.path))[self.first : self.first + CHUNK]:
            if "@" not in row["email"]:
                raise ValueError(f"line {self.first + 1} or after has no e-mail")
            USERS[row["email"]] = row["name"]  # twice is the same as once


class TellCompleted(Job):
    """Every chunk is done."""

    async def handle(self) -> None:
        done = await self.abatch()
        assert done is not None
        NOTES.append(f"{done.options['user']}: {done.total_jobs} chunks imported")


class TellFailed(Job):
    """The first chunk has failed."""

    async def handle(self) -> None:
        running = await self.abatch()
        assert running is not None
        NOTES.append(f"{running.options['user']}: an import has errors")


class CleanUp(Job):
    """Every chunk has run, done or failed."""

    async def handle(self) -> None:
        done = await self.abatch()
        assert done is not None
        log.info("%s has run: %d of %d failed", done.name, done.failed_jobs, done.total_jobs)
        NOTES.append(f"finished at {done.progress} %")


def import_users(path: Path, user: str) -> Batch:
    """Queue the import of a file; what the web framework's view calls."""
    return (
        batch(chunks_of(path))
        .name(f"users of {datetime.now(UTC):%Y-%m-%d %H:%M}")
        .options({"user": user})
        .allow_failures()
        .then(TellCompleted())
        .catch(TellFailed())
        .finally_(CleanUp())
        .on_queue("imports")
        .dispatch()
    )


def how_far(batch_id: str) -> dict[str, object]:
    """Return how an import is; what a view answers with."""
    found = find_batch(batch_id)
    if found is None:
        return {"error": "there is no such import"}
    return {
        "name": found.name,
        "progress": found.progress,  # 0 to 100
        "total": found.total_jobs,
        "pending": found.pending_jobs,
        "failed": found.failed_jobs,
        "cancelled": found.cancelled,
    }


def cancel(batch_id: str) -> None:
    """Run no chunk that has not begun."""
    found = find_batch(batch_id)
    if found is not None:
        found.cancel()


def add_file(batch_id: str, path: Path) -> None:
    """Have an import go on with another file."""
    found = find_batch(batch_id)
    if found is not None:
        found.add(chunks_of(path))


def chunks_of(path: Path) -> list[Job]:
    return [
        ImportUserChunk(path=str(path), first=first) for first in range(0, len(read(path)), CHUNK)
    ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
