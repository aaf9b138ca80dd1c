"""
What the server of a worker's queues has forgotten, as far as the worker can tell.

It asks when it begins, and for each queue again after the server could not be reached. Three
signs are said in the log and counted:

- another process answers: the server was restarted, or another one took its place;
- the queue does not know the worker's last reservation: the last writes are gone;
- jobs that the worker holds do not exist: what becomes of them cannot be settled.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.contracts.continuity import Continuity, Recalled
    from broadcaster.contracts.queue import Settlement
    from broadcaster.worker.line import Line

logger = logging.getLogger("broadcaster.worker")

MAX_NAMED = 20
"""Ids of one line in the log."""


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
        self._doubts = 0
        self._asked: dict[str, int] = {}
        self._sent: dict[str, set[str]] = {}
        self.servers = 0
        self.forgotten = 0

    def doubt(self) -> None:
        """Note that the server could not be reached."""
        self._doubts += 1

    def unanswered(self, queue: str, settlements: Iterable[Settlement]) -> None:
        """Note that `settlements` may have been carried out: their jobs may be gone rightly."""
        self.doubt()
        self._sent.setdefault(queue, set()).update(each.id for each in settlements)

    def due(self, queue: str) -> bool:
        """Whether `queue` is to be asked about before its next step."""
        if self._continuity is None:
            return False
        return not self._server or self._asked.get(queue, 0) < self._doubts

    async def look(self, line: Line, held: Sequence[str]) -> None:
        """
        Ask about `line`.

        Args:
            held: ids of the jobs of it that this worker holds.

        Raises:
            DriverUnavailable: the server cannot be reached.
        """
        if self._continuity is None:
            return
        doubts = self._doubts
        sent = self._sent.get(line.name, set())
        recalled = await self._continuity.recall(
            line.name, [each for each in held if each not in sent]
        )
        self._asked[line.name] = doubts
        self._sent.pop(line.name, None)
        self._compare_server(recalled)
        self._compare_queue(line, recalled)

    def _compare_server(self, recalled: Recalled) -> None:
        if self._server and recalled.server != self._server:
            self.servers += 1
            logger.warning(
                "another Redis process answers than before: it was restarted, or another server "
                "took its place; what it had not saved or copied is lost",
                extra={"event": "server_changed"},
            )
        self._server = recalled.server

    def _compare_queue(self, line: Line, recalled: Recalled) -> None:
        if recalled.token < line.last_token:
            self._say_lost(line)
            # What a step without an answer reserved there now has tokens behind this one.
            line.last_token = recalled.token
        if recalled.unknown:
            self.forgotten += len(recalled.unknown)
            logger.warning(
                "%d jobs of queue %s that this worker holds are unknown to Redis now, and what "
                "becomes of them cannot be settled: %s",
                len(recalled.unknown),
                line.name,
                ", ".join(recalled.unknown[:MAX_NAMED]),
                extra={
                    "event": "jobs_forgotten",
                    "queue": line.name,
                    "count": len(recalled.unknown),
                },
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
