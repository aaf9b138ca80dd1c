"""
How calls of the queue's scripts are spelled, and their replies read: pure functions.

The scripts' heads say what each argument is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.contracts.queue import (
    MAX_POSTPONED,
    OWED_SECONDS,
    Done,
    Fail,
    Owed,
    Postpone,
    Release,
    Reserved,
    Retry,
    StepReply,
    Survey,
)
from broadcaster.contracts.settlements import MIN_POSTPONE_SECONDS, cut_traceback
from broadcaster.drivers.redis.effects import decode_owed, encode_effects
from broadcaster.drivers.redis.scripts_loader import Call, load_script
from broadcaster.drivers.redis.stored_numbers import number
from broadcaster.protocol.lanes import lane_name, split_lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import FailedLimits, Settlement, StepRequest
    from broadcaster.drivers.redis.keys import Keys

MAX_RESERVE = 1_000
MAX_WORD, MAX_LINE = 200, 2_000
"""Characters that are kept of a reason or the name of a type, and of an error."""

STEP_KEYS = [
    "jobs",
    "ready",
    "delayed",
    "reserved",
    "held",
    "attempts",
    "crashes",
    "suspects",
    "meta",
    "notify",
    "failed",
    "failed_jobs",
    "failed_notes",
    "failed_retried",
    "stats",
    "outbox",
    "outbox_due",
]
RETRY_KEYS = [
    "failed",
    "failed_jobs",
    "failed_retried",
    "jobs",
    "ready",
    "notify",
    "stats",
]
FORGET_FAILED_KEYS = ["failed", "failed_jobs", "failed_notes", "failed_retried"]
SURVEY_KEYS = ["ready", "delayed", "reserved", "meta", "outbox_due"]
FLEET_SECONDS = 7.0
"""How long a worker counts as alive after it has looked at its lanes."""
EXTEND_KEYS = ["jobs", "reserved", "held", "meta"]
PLAIN_HINT = "q"

Argument = str | bytes | int | float


class Note(msgspec.Struct, omit_defaults=True):
    """What is kept of a failed job beside its body; see `Fail`."""

    reason: str = "unknown"
    error: str = ""
    attempts: int = 0
    job: str = ""
    exception: str = ""
    traceback: str = ""


def queue_keys(keys: Keys, queue: str, suffixes: Sequence[str]) -> list[str]:
    """Return the keys of one queue, in the order in which a script declares them."""
    return [
        keys.hints(queue) if suffix == "notify" else keys.queue(queue, suffix)
        for suffix in suffixes
    ]


def hint_of(queue: str) -> str:
    """Return the token that says that a step of `queue` may find jobs."""
    lane = split_lane(queue)[1]
    return PLAIN_HINT if lane is None else str(lane)


def hinted_queue(queue: str, token: bytes | str) -> str:
    """Return the queue that a token means which was found while waiting for `queue`."""
    family = split_lane(queue)[0]
    return lane_name(family, number(token)) if token.isdigit() else family


def step_args(request: StepRequest, limits: FailedLimits, valid_until_ms: int) -> list[Argument]:
    """Return the arguments of ``queue_step.lua``."""
    crashed = f"the worker died or hung {request.max_crashes} times while running only this job"
    args: list[Argument] = [
        to_ms(request.lease),
        max(0, min(request.reserve, MAX_RESERVE)),
        request.worker,
        int(request.idle),
        int(request.ordered) + 2 * int(request.force),
        request.max_crashes,
        limits.count,
        to_ms(limits.seconds),
        msgspec.json.encode(Note("crashed", crashed)),
        valid_until_ms,
        "" if request.recover_after is None else request.recover_after,
        hint_of(request.queue),
        to_ms(OWED_SECONDS),
        MAX_POSTPONED,
    ]
    done = [one for one in request.settlements if isinstance(one, Done)]
    done.sort(key=_owes_nothing)  # those with effects first
    effects = [encode_effects(one.effects) for one in done if one.effects]
    args += (len(done), len(effects))
    for one in done:
        args += (one.id, one.token)
    args += effects
    for other in request.settlements:
        if not isinstance(other, Done):
            args += _settlement(other)
    return args


def parse_step(reply: Sequence[Any], settlements: Sequence[Settlement]) -> StepReply:
    """Return the reply of ``queue_step.lua`` to a step with `settlements` as a value."""
    _, flat, refused, crashed, lapsed, ready, next_ms, drain, late, paused, owed = reply
    reserved = [
        Reserved(
            read_id(flat[i]),
            flat[i + 1],
            int(flat[i + 2]),
            *_tries(flat[i + 3], alone=bool(int(flat[i + 4]))),
        )
        for i in range(0, len(flat), 5)
    ]
    stale = [read_id(job_id) for job_id in refused]
    left = [decode_owed(read_id(owed[i]), owed[i + 1]) for i in range(0, len(owed), 2)]
    return StepReply(
        reserved=reserved,
        refused=stale,
        crashed=[read_id(job_id) for job_id in crashed],
        lapsed=int(lapsed),
        ready=int(ready),
        # Too late only because a clock jumped, for the reply was read: ask again at once.
        next_in=0.0 if late else None if next_ms < 0 else next_ms / 1000,
        drain=bool(drain),
        paused=bool(paused),
        owed=[*_owed(settlements, stale), *left],
    )


def read_id(data: bytes) -> str:
    """
    Return a job's id as text.

    Ids of ours are hexadecimal. What others put into a queue comes out as something that
    names no job: such a job cannot be settled, and is given up as one that crashes.
    """
    return data.decode("ascii", "backslashreplace")


def encode_note(fail: Fail) -> bytes:
    """Return the JSON form of what is kept of a failed job."""
    return msgspec.json.encode(
        Note(
            reason=printable(str(fail.reason))[:MAX_WORD],
            error=printable(str(fail.error))[:MAX_LINE],
            attempts=fail.attempts,
            job=printable(fail.job),
            exception=printable(fail.exception)[:MAX_WORD],
            traceback=printable(cut_traceback(fail.traceback)),
        )
    )


def decode_note(note: bytes | None) -> Note:
    """Return what is kept of a failed job."""
    try:
        return Note() if note is None else msgspec.json.decode(note, type=Note)
    except (ValueError, RecursionError):
        return Note()


def printable(text: str) -> str:
    """Return `text` without surrogates, which UTF-8 cannot carry, and without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _owes_nothing(one: Done) -> bool:
    return not one.effects


def _tries(value: bytes, *, alone: bool) -> tuple[int, bool, int, int]:
    """Return attempts, `alone`, exceptions and postponements of a reserved job."""
    if b":" not in value:
        return 0 if value == b"0" else number(value), alone, 0, 0
    attempts, exceptions, postponed, *_ = *map(number, value.split(b":")), 0, 0
    return attempts, alone, exceptions, postponed


def _owed(settlements: Sequence[Settlement], stale: Sequence[str]) -> list[Owed]:
    """Return what follows from accepted settlements."""
    return [
        Owed(f"{one.id}:{one.token}", one.effects, one.id)
        for one in settlements
        if isinstance(one, Done | Fail) and one.effects and one.id not in stale
    ]


def _settlement(one: Settlement) -> tuple[Argument, ...]:
    match one:
        case Retry(job_id, token, delay, exception):
            return ("raised" if exception else "retry", job_id, token, to_ms(delay), "", "")
        case Postpone(job_id, token, delay):
            return ("postpone", job_id, token, to_ms(max(delay, MIN_POSTPONE_SECONDS)), "", "")
        case Release(job_id, token, delay):
            return ("release", job_id, token, to_ms(delay), "", "")
        case Fail():
            effects = encode_effects(one.effects) if one.effects else ""
            return ("fail", one.id, one.token, "", encode_note(one), effects)
        case Done():
            raise AssertionError(f"Done of {one.id} ({one.token}) is sent apart")


def survey_call(keys: Keys, queue: str, lanes: Sequence[int], worker: str, *, force: bool) -> Call:
    """Return the call of ``queue_survey.lua``."""
    names = [keys.queue(queue, "fleet")]
    for lane in lanes:
        names += queue_keys(keys, lane_name(queue, lane), SURVEY_KEYS)
    return Call(load_script("queue_survey"), names, [worker, to_ms(FLEET_SECONDS), int(force)])


def read_survey(reply: Sequence[Any], lanes: Sequence[int]) -> Survey:
    """Return the reply of ``queue_survey.lua``."""
    workers, next_ms, due = reply
    share = -(-len(lanes) // max(1, int(workers)))
    return Survey(
        due=[lanes[int(at) - 1] for at in due],
        share=share,
        next_in=None if next_ms < 0 else next_ms / 1000,
    )


def to_ms(seconds: float) -> int:
    """Round up, so that a short delay is never none."""
    return max(0, -int(-seconds * 1000 // 1))
