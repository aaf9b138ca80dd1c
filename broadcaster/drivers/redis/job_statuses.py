"""
Statuses of jobs on Redis; see `broadcaster.contracts.job_status`.

One hash a job, written by ``scripts/job_status.lua``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from broadcaster.contracts.job_status import JobStatus
from broadcaster.drivers.redis.scripts_loader import aread, arun, load_script, read, run
from broadcaster.drivers.redis.stored_numbers import number, unix_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.drivers.redis.client import RedisClients


class RedisJobStatuses:
    """Implements `broadcaster.contracts.job_status.JobStatuses`."""

    def __init__(self, clients: RedisClients) -> None:
        self._clients = clients

    def write(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """See `JobStatuses.write`."""
        script, args = load_script("job_status"), _arguments(changes, keep=keep, fresh=fresh)
        reply = run(self._clients.sync, script, [self._key(job_id)], args, repeat_lost=True)
        return _status(job_id, reply)

    async def awrite(
        self, job_id: str, changes: Mapping[str, str | int], *, keep: float, fresh: bool = False
    ) -> JobStatus:
        """See `JobStatuses.awrite`."""
        script, args = load_script("job_status"), _arguments(changes, keep=keep, fresh=fresh)
        client = self._clients.aio
        reply = await arun(client, script, [self._key(job_id)], args, repeat_lost=True)
        return _status(job_id, reply)

    def find(self, job_id: str) -> JobStatus | None:
        """See `JobStatuses.find`."""
        (reply,) = read(self._clients.sync, [("HGETALL", self._key(job_id))])
        return _status(job_id, reply) if reply else None

    async def afind(self, job_id: str) -> JobStatus | None:
        """See `JobStatuses.afind`."""
        (reply,) = await aread(self._clients.aio, [("HGETALL", self._key(job_id))])
        return _status(job_id, reply) if reply else None

    def _key(self, job_id: str) -> str:
        return self._clients.keys.job(job_id, "status")


def _arguments(changes: Mapping[str, str | int], *, keep: float, fresh: bool) -> list[str | int]:
    pairs = [part for name, value in changes.items() for part in (name, value)]
    return [round(keep * 1000), int(fresh), *pairs]


def _status(job_id: str, reply: Any) -> JobStatus:
    """Read a reply, a flat list or a dict, past fields that another version wrote."""
    if isinstance(reply, dict):
        found = cast("dict[bytes, bytes]", reply)
    else:
        flat = cast("Sequence[bytes]", reply)
        found = dict(zip(flat[::2], flat[1::2], strict=True))
    fields: dict[str, object] = {name.decode(): value.decode() for name, value in found.items()}
    fields["updated_at"] = unix_seconds(number(found.get(b"updated_at")))
    return msgspec.convert({**fields, "id": job_id}, JobStatus, strict=False)
