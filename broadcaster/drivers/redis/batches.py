"""Batches on Redis, each in a slot of its own; see `broadcaster.contracts.batches`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import msgspec

from broadcaster.contracts.batches import MAX_BATCH, BatchRecord, Marked, Moment
from broadcaster.contracts.settlements import BatchMark
from broadcaster.drivers.redis.client import translated
from broadcaster.drivers.redis.effects import (
    decode_culprit,
    decode_jobs,
    encode_culprit,
    encode_jobs,
)
from broadcaster.drivers.redis.queue_stats import fields_of
from broadcaster.drivers.redis.scripts_loader import (
    Call,
    Command,
    aread,
    arun_many,
    load_behind,
    read,
    run_many,
)
from broadcaster.drivers.redis.stored_numbers import number, unix_seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broadcaster.contracts.batches import NewBatch
    from broadcaster.contracts.settlements import Culprit, NewJob
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.keys import Keys

KEEP_UNFINISHED = 30 * 86_400.0
KEEP_FINISHED = 7 * 86_400.0
MAX_LISTED = 100_000
"""Batches that are listed; older ones can still be found by their ids."""

YOUNG_SECONDS = 60
"""For so long what is listed and does not exist is not taken for expired: it may be being made."""

_SUFFIXES = ("meta", "done", "failed", "callbacks", "adds")
_PAGE = 200
_MOMENTS: dict[bytes, Moment] = {moment.encode(): moment for moment in get_args(Moment)}

Argument = str | bytes | int | float


class RedisBatches:
    """
    Implements `broadcaster.contracts.batches.Batches`.

    Args:
        clients: connections.
        keep_unfinished: seconds for which a batch is kept after its last change.
        keep_finished: the same once every job has run.
    """

    def __init__(
        self,
        clients: RedisClients,
        *,
        keep_unfinished: float = KEEP_UNFINISHED,
        keep_finished: float = KEEP_FINISHED,
    ) -> None:
        self._clients = clients
        self._keep = (int(keep_unfinished * 1000), int(keep_finished * 1000))

    def create(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        call, listed = self._create(batch), self._listing(batch.id)
        (reply,) = run_many(self._clients.sync, [call], repeat_lost=True, ahead=listed)
        return bool(reply[1])

    async def acreate(self, batch: NewBatch) -> bool:
        """See `Batches.create`."""
        call, listed = self._create(batch), self._listing(batch.id)
        (reply,) = await arun_many(self._clients.aio, [call], repeat_lost=True, ahead=listed)
        return bool(reply[1])

    def add(self, batch_id: str, request_id: str, count: int) -> int | None:
        """See `Batches.add`."""
        index = int(self._run("add", batch_id, request_id, count, MAX_BATCH))
        return None if index < 0 else index

    async def aadd(self, batch_id: str, request_id: str, count: int) -> int | None:
        """See `Batches.add`."""
        index = int(await self._arun("add", batch_id, request_id, count, MAX_BATCH))
        return None if index < 0 else index

    def mark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """See `Batches.mark`."""
        args = mark_args([BatchMark(batch_id, index, failed, culprit)])
        return read_marked(batch_id, self._run("mark", batch_id, *args))

    async def amark(
        self, batch_id: str, index: int, *, failed: bool = False, culprit: Culprit | None = None
    ) -> Marked:
        """See `Batches.mark`."""
        args = mark_args([BatchMark(batch_id, index, failed, culprit)])
        return read_marked(batch_id, await self._arun("mark", batch_id, *args))

    async def amark_all(self, marks: Mapping[str, Sequence[BatchMark]]) -> dict[str, Marked]:
        """Mark many jobs of many batches in one round trip, each batch atomically."""
        calls = [self._call("mark", batch_id, mark_args(mine)) for batch_id, mine in marks.items()]
        replies = await arun_many(self._clients.aio, calls, repeat_lost=True) if calls else []
        return {
            batch_id: read_marked(batch_id, reply)
            for batch_id, reply in zip(marks, replies, strict=True)
        }

    def called(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """See `Batches.called`."""
        self._run("called", batch_id, *moments)

    async def acalled(self, batch_id: str, moments: Sequence[Moment]) -> None:
        """See `Batches.called`."""
        await self._arun("called", batch_id, *moments)

    def due(self, batch_id: str) -> Marked:
        """See `Batches.due`."""
        return read_marked(batch_id, self._run("mark", batch_id))

    async def adue(self, batch_id: str) -> Marked:
        """See `Batches.due`."""
        return read_marked(batch_id, await self._arun("mark", batch_id))

    def ended(self, batch_id: str) -> Collection[int]:
        """See `Batches.ended`."""
        return _set_in_any(read(self._clients.sync, self._endings(batch_id)))

    async def aended(self, batch_id: str) -> Collection[int]:
        """See `Batches.ended`."""
        return _set_in_any(await aread(self._clients.aio, self._endings(batch_id)))

    def cancel(self, batch_id: str) -> bool:
        """See `Batches.cancel`."""
        return bool(self._run("cancel", batch_id, "cancel"))

    async def acancel(self, batch_id: str) -> bool:
        """See `Batches.cancel`."""
        return bool(await self._arun("cancel", batch_id, "cancel"))

    def reopen(self, batch_id: str) -> Sequence[int]:
        """See `Batches.reopen`."""
        return set_bits(self._run("cancel", batch_id, "reopen"))

    async def areopen(self, batch_id: str) -> Sequence[int]:
        """See `Batches.reopen`."""
        return set_bits(await self._arun("cancel", batch_id, "reopen"))

    def find(self, batch_id: str) -> BatchRecord | None:
        """See `Batches.find`."""
        (meta,) = read(self._clients.sync, [self._reading(batch_id)])
        return read_record(batch_id, meta)

    async def afind(self, batch_id: str) -> BatchRecord | None:
        """See `Batches.find`."""
        (meta,) = await aread(self._clients.aio, [self._reading(batch_id)])
        return read_record(batch_id, meta)

    def callbacks(self, batch_id: str) -> Mapping[Moment, Sequence[NewJob]]:
        """See `Batches.callbacks`."""
        command = ("HGETALL", self._clients.keys.batch(batch_id, "callbacks"))
        (reply,) = read(self._clients.sync, [command])
        kept = fields_of(reply)
        return {
            moment: decode_jobs(kept[name]) for name, moment in _MOMENTS.items() if name in kept
        }

    def newest(self, limit: int = 100, before: float | None = None) -> Sequence[BatchRecord]:
        """See `Batches.newest`. Ids of batches that have expired are forgotten on the way."""
        found: list[BatchRecord] = []
        top = "+inf" if before is None else f"({int(before * 1000)}"
        skip = 0
        while len(found) < limit:
            limits = ("LIMIT", skip, _PAGE, "WITHSCORES")
            page = ("ZREVRANGEBYSCORE", self._index, top, "-inf", *limits)
            listed, (seconds, _) = read(self._clients.sync, [page, ("TIME",)])
            if not listed:
                break
            ids = [batch_id.decode("ascii", "replace") for batch_id in listed[::2]]
            made = dict(zip(ids, map(float, listed[1::2]), strict=True))
            records = self._records(ids)
            found += [record for record in records.values() if record is not None]
            young = (int(seconds) - YOUNG_SECONDS) * 1000
            gone = [
                batch_id
                for batch_id, record in records.items()
                if record is None and made[batch_id] < young
            ]
            if gone:
                read(self._clients.sync, [("ZREM", self._index, *gone)])
            skip += len(ids) - len(gone)
        return found[:limit]

    def prune(self, older_than: float, *, unfinished: bool = False) -> int:
        """See `Batches.prune`."""
        with translated(self._clients.sync):
            seconds, micros = self._clients.sync.time()
        limit = seconds + micros / 1e6 - older_than
        old = [
            record.id
            for record in self.newest(limit=MAX_BATCH)
            if ended_before(record, limit, unfinished=unfinished)
        ]
        for batch_id in old:
            keys = batch_keys(self._clients.keys, batch_id)
            read(self._clients.sync, [("DEL", *keys), ("ZREM", self._index, batch_id)])
        return len(old)

    @property
    def _index(self) -> str:
        return self._clients.keys.batches("created")

    def _records(self, batch_ids: Sequence[str]) -> dict[str, BatchRecord | None]:
        metas = read(self._clients.sync, [self._reading(batch_id) for batch_id in batch_ids])
        return {
            batch_id: read_record(batch_id, meta)
            for batch_id, meta in zip(batch_ids, metas, strict=True)
        }

    def _reading(self, batch_id: str) -> Command:
        return ("HGETALL", self._clients.keys.batch(batch_id, "meta"))

    def _endings(self, batch_id: str) -> list[Command]:
        return [("GET", self._clients.keys.batch(batch_id, part)) for part in ("done", "failed")]

    def _listing(self, batch_id: str) -> list[Command]:
        """A batch is listed before it exists, so that it is never out of sight."""
        milliseconds = int(batch_id[:12], 16)  # ids are UUIDv7
        return [
            ("ZADD", self._index, "NX", milliseconds, batch_id),
            ("ZREMRANGEBYRANK", self._index, 0, -MAX_LISTED - 1),
        ]

    def _create(self, batch: NewBatch) -> Call:
        args: list[Argument] = [
            batch.name,
            msgspec.json.encode(dict(batch.options)),
            int(batch.allow_failures),
            batch.total,
        ]
        for moment, jobs in batch.callbacks.items():
            args += (moment, encode_jobs(jobs))
        return self._call("create", batch.id, args)

    def _call(self, verb: str, batch_id: str, args: Sequence[Argument]) -> Call:
        keys = batch_keys(self._clients.keys, batch_id)
        return Call(load_behind(f"batch_{verb}", "batch_start"), keys, [*self._keep, *args])

    def _run(self, verb: str, batch_id: str, *args: Argument) -> Any:
        call = self._call(verb, batch_id, args)
        return run_many(self._clients.sync, [call], repeat_lost=True)[0]

    async def _arun(self, verb: str, batch_id: str, *args: Argument) -> Any:
        call = self._call(verb, batch_id, args)
        return (await arun_many(self._clients.aio, [call], repeat_lost=True))[0]


def batch_keys(keys: Keys, batch_id: str) -> list[str]:
    """Return the keys of one batch, in the order in which its scripts declare them."""
    return [keys.batch(batch_id, suffix) for suffix in _SUFFIXES]


def ended_before(record: BatchRecord, limit: float, *, unfinished: bool) -> bool:
    """Whether a batch came to its end, or at least began, before `limit` (Unix seconds)."""
    ended = record.created_at if unfinished else record.finished_at
    return ended is not None and ended < limit


def set_bits(bitmap: bytes) -> list[int]:
    """Return the offsets of the bits that are set, as Redis counts them."""
    return [
        at * 8 + bit
        for at, byte in enumerate(bitmap)
        if byte
        for bit in range(8)
        if byte & (128 >> bit)
    ]


def _set_in_any(bitmaps: Sequence[bytes | None]) -> frozenset[int]:
    return frozenset(offset for bitmap in bitmaps for offset in set_bits(bitmap or b""))


def mark_args(marks: Sequence[BatchMark]) -> list[Argument]:
    """Return the arguments by which ``batch_mark.lua`` is told of `marks`."""
    args: list[Argument] = []
    told: Culprit | None = None
    for mark in marks:
        ended = b"1" if mark.failed else b"0"
        if mark.failed and mark.culprit is not None and mark.culprit != told:
            told = mark.culprit
            ended += encode_culprit(told)
        args += (mark.index, ended)
    return args


def read_marked(batch_id: str, reply: Sequence[Any]) -> Marked:
    """Return the reply of a script that changes a batch."""
    found, changed, meta, due, culprit = reply
    callbacks: dict[Moment, Sequence[NewJob]] = {
        _MOMENTS[due[at]]: decode_jobs(due[at + 1])
        for at in range(0, len(due), 2)
        if due[at] in _MOMENTS
    }
    return Marked(
        found=bool(found),
        first=bool(changed),
        batch=read_record(batch_id, meta),
        due=callbacks,
        culprit=decode_culprit(culprit),
    )


def read_record(batch_id: str, reply: Any) -> BatchRecord | None:
    """Return a batch from the fields of its hash, flat or not; None without any."""
    fields: dict[bytes, bytes] = (
        reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    )
    if b"total" not in fields:
        return None
    return BatchRecord(
        id=batch_id,
        name=fields.get(b"name", b"").decode("utf-8", "replace"),
        total=number(fields[b"total"]),
        pending=number(fields.get(b"pending")),
        failed=number(fields.get(b"failed")),
        allow_failures=fields.get(b"allow") == b"1",
        options=_options(fields.get(b"options", b"{}")),
        created_at=unix_seconds(number(fields.get(b"created"))),
        cancelled_at=_moment(fields.get(b"cancelled")),
        finished_at=_moment(fields.get(b"finished")),
    )


def _options(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}


def _moment(milliseconds: bytes | None) -> float | None:
    return None if milliseconds is None else unix_seconds(number(milliseconds))
