"""How calls of ``queue_push.lua`` are spelled, and their replies read: pure functions."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from broadcaster.contracts.queue import Pushed
from broadcaster.contracts.settlements import LINK_SECONDS, MAX_UNIQUE_SECONDS
from broadcaster.drivers.redis.queue_wire import Argument, hint_of, queue_keys, read_id, to_ms
from broadcaster.drivers.redis.scripts_loader import Call, load_behind
from broadcaster.errors import DriverRefused, NotReplicated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.queue import NewJob
    from broadcaster.drivers.redis.keys import Keys
    from broadcaster.drivers.redis.scripts_loader import Command

PUSH_CHUNK = 1_000
PUSH_BYTES = 8_000_000
"""Bodies in one call, unless a single one is longer: a server reads no command of a gigabyte."""
ROUND_JOBS = 5_000
ROUND_BYTES = 32_000_000
"""What goes in one round trip, which has a second or two: a batch may have a million jobs."""
COPY_SECONDS = 0.5
"""How long a push waits until replicas have it."""
PUSH_KEYS = ["jobs", "ready", "delayed", "notify", "failed_jobs", "stats"]

Outcome = str | DriverRefused | NotReplicated | None
"""What became of a pushed job: None if it is new, the id of the job that has its unique lock,
"" if it was known, or why it is an error."""


class PushCall(NamedTuple):
    """A call of ``queue_push.lua``, and the places of its jobs among all that are pushed."""

    call: Call
    places: Sequence[int]


def push_calls(keys: Keys, jobs: Sequence[NewJob]) -> list[PushCall]:
    """Return the script calls that queue `jobs`: one per queue, 1,000 jobs and 8 MB."""
    by_queue: defaultdict[str, list[int]] = defaultdict(list)
    for place, job in enumerate(jobs):
        by_queue[job.queue].append(place)
    return [
        _push_call(keys, queue, jobs, part)
        for queue, places in by_queue.items()
        for part in _parts(jobs, places)
    ]


def push_rounds(jobs: Sequence[NewJob], calls: Sequence[PushCall]) -> list[list[PushCall]]:
    """Return `calls`, which queue `jobs`, as rounds to be sent one after another."""
    rounds: list[list[PushCall]] = []
    count = size = 0
    for call in calls:
        mine = sum(len(jobs[place].body) for place in call.places)
        count, size = count + len(call.places), size + mine
        if not rounds or count > ROUND_JOBS or size > ROUND_BYTES:
            rounds.append([])
            count, size = len(call.places), mine
        rounds[-1].append(call)
    return rounds


def outcomes(calls: Sequence[PushCall], replies: Sequence[Any]) -> list[Outcome]:
    """Return what became of each job, in the order in which they were pushed."""
    found: list[Outcome] = [None] * sum(len(call.places) for call in calls)
    for (_, places), reply in zip(calls, replies, strict=True):
        if isinstance(reply, DriverRefused):
            for place in places:
                found[place] = reply
            continue
        others = reply[1]
        for at in range(0, len(others), 2):
            found[places[int(others[at]) - 1]] = read_id(others[at + 1])
    return found


def pushed(jobs: Sequence[NewJob], found: Sequence[Outcome]) -> Pushed:
    """
    Return what became of `jobs`.

    Raises `DriverRefused` if Redis refused one of them, else `NotReplicated` if too few replicas have them.
    """
    if found.count(None) == len(found):
        return Pushed([job.id for job in jobs])
    new: list[str] = []
    known: list[str] = []
    locked: dict[str, str] = {}
    for job, outcome in zip(jobs, found, strict=True):
        match outcome:
            case None:
                new.append(job.id)
            case "":
                known.append(job.id)
            case str():
                locked[job.id] = outcome
            case _:
                raise next((each for each in found if isinstance(each, DriverRefused)), outcome)
    return Pushed(new, known, locked)


def copying(keys: Keys, queue: str, replicas: int) -> list[Command]:
    """
    Return the commands that wait until `replicas` have what was pushed before them.

    WAIT counts who has the last write of its connection. What was pushed may have been written
    by an earlier connection, or be known already, so a write that is always one stands in front.
    """
    written = ("SET", keys.queue(queue, "copied"), 1)
    return [written, ("WAIT", replicas, to_ms(COPY_SECONDS))]


def unless_copied(
    found: Sequence[Outcome], copies: int, *, replicas: int, where: str
) -> list[Outcome]:
    """
    Return what became of jobs of which `copies` replicas have all that was pushed.

    If these are fewer than `replicas`, that is an error of each job that is queued: not of one
    that Redis refused, nor of one that a unique lock keeps out.
    """
    if copies >= replicas:
        return [*found]
    error = NotReplicated(
        f"what was dispatched is queued in Redis at {where}, but {copies} of {replicas} replicas "
        f"had it after {COPY_SECONDS:g} s: it runs, unless this server is lost before it has copied "
        "it; do not dispatch it again; see whether the replicas are connected (INFO replication), "
        "or lower queue.replicas",
        replicas=copies,
    )
    return [error if outcome is None or outcome == "" else outcome for outcome in found]


def unique_key(keys: Keys, queue: str, key: str) -> str:
    """Return the key of a unique lock of `queue`."""
    return keys.queue(queue, f"unique:{_hashed(key)}")


def _parts(jobs: Sequence[NewJob], places: Sequence[int]) -> Iterator[Sequence[int]]:
    first = size = 0
    for at, place in enumerate(places):
        size += len(jobs[place].body)
        if at > first and (size > PUSH_BYTES or at - first == PUSH_CHUNK):
            yield places[first:at]
            first, size = at, len(jobs[place].body)
    yield places[first:]


def _push_call(keys: Keys, queue: str, jobs: Sequence[NewJob], places: Sequence[int]) -> PushCall:
    names = queue_keys(keys, queue, PUSH_KEYS)
    args: list[Argument] = [hint_of(queue), len(places), to_ms(LINK_SECONDS)]
    extras: list[Argument] = []
    for number, job in enumerate((jobs[place] for place in places), 1):
        args += (job.id, to_ms(job.delay), job.body)
        if job.unique is None and job.link is None:
            continue
        lock = row = lock_ms = index = 0
        if job.unique is not None:
            names.append(unique_key(keys, queue, job.unique.key))
            lock, lock_ms = len(names), to_ms(min(job.unique.seconds, MAX_UNIQUE_SECONDS)) or 1
        if job.link is not None:
            names.append(keys.queue(queue, f"link:{_hashed(job.link.row)}"))
            row, index = len(names), job.link.index
        extras += (number, lock, lock_ms, row, index)
    call = Call(load_behind("queue_push", "queue_start"), names, args + extras)
    return PushCall(call, places)


def _hashed(key: str) -> str:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
