"""What ``broadcaster failed`` reads and shows: moments, lines, and payloads without secrets."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from broadcaster.errors import InvalidJob
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from broadcaster.contracts.stores import FailedJob

HIDDEN = "(hidden)"
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
        "failed_at": _iso(job.failed_at),
        "reason": job.reason,
        "exception": job.exception,
        "attempts": job.attempts,
        "error": job.error,
        "retried_at": None if job.retried_at is None else _iso(job.retried_at),
    }


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
    except InvalidJob:
        text = job.body.decode("utf-8", "backslashreplace")
        return text if secrets else f"({len(job.body)} bytes that are no payload)"
    payload: Any = json.loads(job.body)
    return payload if secrets else without_secrets(payload)


def without_secrets(value: Any) -> Any:
    """Return `value` with what stands under names that sound like secrets replaced."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if _SECRET.search(name) else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def _name(body: bytes) -> str:
    try:
        return decode_payload(body).job
    except InvalidJob:
        return "?"


def _iso(seconds: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds")
