"""Which keys may be left when every job is over. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.chaos.history import KeyState

_QUEUE = r"\{q:[^}]+\}:(#\d+:)?"


class Allowed(NamedTuple):
    """Keys that may stay; `why` is what for. Those that `expire` have a time to live."""

    pattern: str
    expires: bool
    why: str


ALLOWED = (
    Allowed(r"\{queues\}:names", False, "the list of queues"),
    Allowed(r"\{queues\}:workers", True, "what living workers said last"),
    Allowed(r"\{queues\}:worker_times", True, "when they said it"),
    Allowed(_QUEUE + "meta", False, "the last token of a queue, and when it was seen last"),
    Allowed(_QUEUE + "stats", False, "counts per quarter minute of the last hour"),
    Allowed(_QUEUE + "failed", False, "failed jobs, trimmed by count and age"),
    Allowed(_QUEUE + "failed_jobs", False, "their bodies"),
    Allowed(_QUEUE + "failed_notes", False, "their reasons"),
    Allowed(_QUEUE + "failed_retried", False, "which of them were put back"),
    Allowed(_QUEUE + "runtimes:[01]", True, "how long jobs took"),
    Allowed(_QUEUE + "fleet", True, "who serves the lanes of a queue"),
    Allowed(_QUEUE + "link:[0-9a-f]{32}", True, "the highest link of a chain, for a day"),
    Allowed(_QUEUE + "unique:[0-9a-f]{32}", True, "a lock that holds while its job's body exists"),
    Allowed(r"\{b:[0-9a-f]{32}\}:(meta|done|failed|callbacks|adds)", True, "a batch, for a week"),
    Allowed(r"\{batches\}:created", False, "the newest batches"),
    Allowed(r"\{[^}]+:chaos-\d+\}:(m|h|c|d:.+)", True, "position and history of a channel"),
)
NOTIFY = re.compile(r"\{q:[^}]+\}:notify")
MAX_HINTS = 1 + 16
"""Tokens that a queue and its lanes may leave for the next worker."""


def judge(key: KeyState) -> str:
    """Return what is wrong with a key that is left, or ""."""
    if NOTIFY.fullmatch(key.name):
        return "" if key.size <= MAX_HINTS else f"{key.size} hints, one for each lane at most"
    for allowed in ALLOWED:
        if re.fullmatch(allowed.pattern, key.name):
            if allowed.expires and key.expires is None:
                return f"it never expires ({allowed.why})"
            return ""
    return f"a {key.kind} of {key.size} that should be gone"
