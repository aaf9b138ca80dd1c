"""
What the server of a worker's queues has forgotten, as far as the worker can tell.

It asks about a queue before a step: the first time, after the server could not be reached,
and every `LOOK_SECONDS`, for a server that is restarted at once is not missed by anybody.
Three signs are said in the log, and the first and the last are counted:

- another process answers: the server was restarted, or another one took its place;
- the queue does not know the worker's last reservation: the last writes are gone;
- behind another server than before, jobs that the worker holds do not exist: what becomes of
  them cannot be settled. (Behind the same one somebody has cancelled or cleared them.)
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.continuity import Continuity, Recalled
    from broadcaster.contracts.queue import Settlement
    from broadcaster.worker.line import Line

logger = logging.getLogger("broadcaster.worker")

LOOK_SECONDS = 5.0
MAX_NAMED = 20
"""Ids of one line in the log."""


class _Look(NamedTuple):
    """When a queue is due, and which server answered when it was asked about."""

    due_at: float
    server: str


_NEVER = _Look(0.0, "")


class Losses:
    """
    Asks and counts for one worker.

    Args:
        continuity: answers, or None to know nothing.

    Attributes:
        servers: how often another server answered than before.
        forgotten: jobs that this worker held and the server no longer had.
    """

    def __init__(self, continuity: Continuity | None) -> None:
        self._continuity = continuity
        self._server = ""
        self._looks: dict[str, _Look] = {}  # by queue and lane, which are few
        self._sent: dict[str, set[str]] = {}
        self.servers = 0
        self.forgotten = 0

    def doubt(self) -> None:
        """Note that the server could not be reached."""
        for queue, look in self._looks.items():
            self._looks[queue] = look._replace(due_at=0.0)

    def unanswered(self, queue: str, settlements: Iterable[Settlement]) -> None:
        """Note that `settlements` may have been carried out: their jobs may be gone rightly."""
        self.doubt()
        self._sent.setdefault(queue, set()).update(each.id for each in settlements)

    def due(self, queue: str, now: float) -> bool:
        """Whether `queue` is to be asked about before its next step, at `now`, monotonic."""
        if self._continuity is None:
            return False
        return now >= self._looks.get(queue, _NEVER).due_at

    async def look(self, line: Line, held: Sequence[str], now: float) -> None:
        """
        Ask about `line`.

        Args:
            held: ids of the jobs of it that this worker holds.
            now: monotonic seconds.

        Raises:
            DriverUnavailable: the server cannot be reached.
        """
        if self._continuity is None:
            return
        sent = self._sent.get(line.name, set())
        recalled = await self._continuity.recall(
            line.name, [each for each in held if each not in sent]
        )
        before = self._looks.get(line.name, _NEVER).server
        self._looks[line.name] = _Look(now + LOOK_SECONDS, recalled.server)
        self._sent.pop(line.name, None)
        self._compare_server(recalled)
        if recalled.token < line.last_token:
            self._say_lost(line)
            # What a step without an answer reserved there now has tokens behind this one.
            line.last_token = recalled.token
        if recalled.unknown and before not in ("", recalled.server):
            self._say_forgotten(line, recalled.unknown)

    def _compare_server(self, recalled: Recalled) -> None:
        if self._server and recalled.server != self._server:
            self.servers += 1
            logger.warning(
                "another Redis process answers than before: it was restarted, or another server "
                "took its place; what it had not saved or copied is lost",
                extra={"event": "server_changed"},
            )
        self._server = recalled.server

    def _say_forgotten(self, line: Line, unknown: Sequence[str]) -> None:
        self.forgotten += len(unknown)
        logger.warning(
            "%d jobs of queue %s that this worker holds are unknown to Redis now, and what "
            "becomes of them cannot be settled: %s",
            len(unknown),
            line.name,
            ", ".join(unknown[:MAX_NAMED]),
            extra={"event": "jobs_forgotten", "queue": line.name, "count": len(unknown)},
        )

    def _say_lost(self, line: Line) -> None:
        """Tokens are times: that of a reservation which is not known any more is a lost moment."""
        moment = datetime.fromtimestamp(line.last_token / 1_000_000, UTC)
        logger.warning(
            "Redis has lost what happened in queue %s since %s at the latest",
            line.name,
            moment.isoformat(timespec="milliseconds"),
            extra={"event": "queue_lost", "queue": line.name},
        )
