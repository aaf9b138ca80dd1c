"""What ``broadcaster failed`` reads and shows: moments, lines, and payloads without secrets."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from broadcaster.cli.table import Cell, Column, cut, plain, table
from broadcaster.errors import InvalidJob
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.cli.table import Style
    from broadcaster.contracts.stores import FailedJob

HIDDEN = "(hidden)"
MAX_DEPTH = 60
DEEPER = "(more, nested too deep to be shown)"
_LABEL, _ERROR, _LEAST_ERROR = 10, 160, 40
_SECRET = re.compile(
    r"passw|secret|token|credential|authori[sz]ation|api_?key|private_?key|cookie|session"
    r"|card|cvv|cvc|iban|\bpin\b|otp",
    re.IGNORECASE,
)
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def read_moment(text: str, now: float) -> float:
    """
    Return Unix seconds: ``2h`` is that long ago; else a date or a time, UTC unless it says.

    Args:
        now: Unix seconds.

    Raises:
        ValueError: it is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no moment: say 30m, 2h or 1d ago, or 2026-11-20 or 2026-11-20T14:00Z"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def summary(job: FailedJob) -> dict[str, object]:
    """Return what `list` shows of a job; times as ISO 8601 in UTC."""
    return {
        "id": job.id,
        "connection": job.connection,
        "queue": job.queue,
        "job": job.job or _name(job.body),
        "failed_at": iso(job.failed_at),
        "reason": job.reason,
        "exception": job.exception,
        "attempts": job.attempts,
        "error": job.error,
        "retried_at": None if job.retried_at is None else iso(job.retried_at),
    }


def list_lines(jobs: Sequence[FailedJob], style: Style) -> list[str]:
    """Return a table of failed jobs; moments in UTC."""
    told = [summary(job) for job in jobs]
    room = max(_LEAST_ERROR, style.width - 2 * _LEAST_ERROR) if style.width else _ERROR
    columns = [
        Column("failed at (UTC)", [Cell(str(each["failed_at"])[:19]) for each in told], 5),
        Column("id", [Cell(plain(job.id)) for job in jobs]),
        Column("queue", [Cell(plain(job.queue)) for job in jobs], 4),
        Column("job", [Cell(cut(plain(str(each["job"])), 40)) for each in told]),
        Column("reason", [Cell(plain(job.reason), "red") for job in jobs], 6),
        Column("tries", [Cell(str(job.attempts)) for job in jobs], 3, right=True),
        Column("", [Cell("retried" if job.retried_at else "", "green") for job in jobs], 7),
        Column("error", [Cell(cut(plain(job.error), room)) for job in jobs], 8),
    ]
    return table(columns, style)


def detail_lines(details: Mapping[str, object]) -> list[str]:
    """Return what `show` shows of a job: names and values, then its traceback."""
    lines: list[str] = []
    for name, value in details.items():
        if value is None or name == "traceback":
            continue
        text = value if isinstance(value, str) else json.dumps(value, indent=2)
        first, *more = [plain(line) for line in text.split("\n")]
        lines += [f"{name:<{_LABEL}} {first}", *(f"{'':<{_LABEL}} {line}" for line in more)]
    trace = str(details.get("traceback") or "")
    return [*lines, *(plain(line) for line in ("", *trace.splitlines()) if trace)]


def payload_of(job: FailedJob, *, secrets: bool) -> object:
    """
    Return the payload as it may be shown; None once the job was put back.

    Args:
        secrets: show everything; otherwise values under names that sound like secrets are
            replaced, and a body that cannot be read is only counted.
    """
    if not job.body:
        return None
    try:
        decode_payload(job.body)
        payload: Any = json.loads(job.body)
    except (InvalidJob, ValueError, RecursionError):
        text = job.body.decode("utf-8", "backslashreplace")
        return text if secrets else f"({len(job.body)} bytes that are no payload)"
    return presentable(payload, secrets=secrets)


def presentable(value: Any, *, secrets: bool, depth: int = 0) -> Any:
    """
    Return `value` as it may be shown, with what is nested deeper than `MAX_DEPTH` replaced.

    Args:
        secrets: keep what stands under names that sound like secrets.
    """
    if not isinstance(value, dict | list):
        return value
    if depth >= MAX_DEPTH:
        return DEEPER
    if isinstance(value, list):
        return [presentable(item, secrets=secrets, depth=depth + 1) for item in value]
    return {
        name: HIDDEN
        if not secrets and _SECRET.search(name)
        else presentable(item, secrets=secrets, depth=depth + 1)
        for name, item in value.items()
    }


def _name(body: bytes) -> str:
    try:
        return decode_payload(body).job
    except InvalidJob:
        return "?"


def iso(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds")
