"""
What jobs and the plant write down, on a server of its own that nobody kills.

One stream: its server puts the entries in one order and gives each the time of its own clock, so
that whatever process wrote it, what stands before happened before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio

from tests.chaos.history import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = "history"
MENDED = "mended"
SERVER = "CHAOS_RECORD"
"""Environment variable: URL of the server."""
WORKER = "CHAOS_WORKER"
"""Environment variable: name of the worker process."""
_PAGE = 5_000
_FIELDS = 8


class Record:
    """Writes and reads the stream, from coroutines and from threads."""

    def __init__(self, url: str, worker: str = "plant") -> None:
        self._worker = worker
        self._aio = redis.asyncio.Redis.from_url(url)
        self._sync = redis.Redis.from_url(url)

    @classmethod
    def of_worker(cls) -> Record:
        """Return the record of the worker that runs in this process."""
        return cls(os.environ[SERVER], os.environ[WORKER])

    def note(self, what: str, key: str, **more: Any) -> None:
        """Write one event."""
        self._sync.xadd(STREAM, self._entry(what, key, **more))

    async def anote(self, what: str, key: str, **more: Any) -> None:
        """Write one event."""
        await self._aio.xadd(STREAM, self._entry(what, key, **more))

    def is_mended(self) -> bool:
        """Whether jobs that can be mended shall succeed from now on."""
        return bool(self._sync.exists(MENDED))

    async def ais_mended(self) -> bool:
        """See `is_mended`."""
        return bool(await self._aio.exists(MENDED))

    def mend(self) -> None:
        """Let jobs succeed that can be mended."""
        self._sync.set(MENDED, 1)

    def count(self) -> int:
        """Return the number of events so far."""
        return int(self._sync.xlen(STREAM))

    def read(self) -> Iterator[Event]:
        """Yield all events, in order."""
        after = "-"
        while page := self._page(after):
            for entry_id, fields in page:
                yield _read(entry_id.decode(), fields[b"e"].decode())
            after = "(" + page[-1][0].decode()

    def _page(self, after: str) -> Any:
        return self._sync.xrange(STREAM, after, count=_PAGE)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._aio.aclose()
        self._sync.close()

    def _entry(
        self,
        what: str,
        key: str,
        *,
        job_id: str = "",
        attempt: int = 0,
        token: int = 0,
        group: str = "",
        worker: str = "",
    ) -> dict[Any, Any]:
        who = worker or self._worker
        parts = (what, key, job_id, attempt, token, who, group, os.getpid())
        return {b"e": "\t".join(map(str, parts))}


def _read(entry_id: str, text: str) -> Event:
    what, key, job_id, attempt, token, worker, group, pid = text.split("\t", _FIELDS - 1)
    return Event(
        at=int(entry_id.partition("-")[0]) / 1000,
        what=what,
        key=key,
        job_id=job_id,
        attempt=int(attempt),
        token=int(token),
        worker=worker,
        group=group,
        pid=int(pid),
    )
