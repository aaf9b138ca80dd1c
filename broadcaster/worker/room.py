"""
How many jobs a worker may take of which queue. Pure.

Slots and what is kept ahead bound all of them; a more urgent queue comes first, or each has
its share; and nothing is taken beside a suspect, or while one waits for the worker to drain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.worker.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.worker.line import Line
    from broadcaster.worker.options import WorkerOptions
    from broadcaster.worker.running import Running
    from broadcaster.worker.source import Source
    from broadcaster.worker.steps import Steps


class Room:
    """
    Of one worker; `now` is monotonic time everywhere.

    Args:
        sources: its queues, the most urgent first.
        running: what it runs, and keeps ahead.
        steps: say until when it drains.
        rests: whether it takes nothing by choice.
    """

    def __init__(
        self,
        options: WorkerOptions,
        sources: Sequence[Source],
        running: Running,
        steps: Steps,
        rests: Callable[[], bool],
    ) -> None:
        self._options = options
        self._sources = sources
        self._running = running
        self._steps = steps
        self._rests = rests
        self._shares = None if options.weights is None else Shares(options.weights)
        self._granted: dict[str, int] = {}

    def of(self, line: Line, now: float) -> int:
        """Return how many jobs of `line` could be taken now, whatever its share is."""
        if self._rests():
            return 0
        running, limit = self._running, self._options.max_jobs
        left = self._options.batch if limit is None else limit - running.started
        left -= 0 if limit is None else len(running.ahead)
        if line.ordered:
            beside = line.beside or (running.free > 0 and not self._keeps_apart(now))
            return max(0, min(self._options.batch, left)) if beside and not line.busy else 0
        if self._keeps_apart(now) or self._must_wait(line):
            return 0
        ahead = running.ahead.room(line.rank, running.slots, now)
        wanted = max(0, running.free + ahead)
        return wanted if limit is None else max(0, min(wanted, left))

    def divide(self) -> None:
        """Give each plain queue its share of the free slots, for this round."""
        if self._shares is None:
            return
        lines = [source.main for source in self._sources if not source.ordered]
        asking = [line.name for line in lines if not line.refusals and (line.hot or line.hinted)]
        self._granted = self._shares.divide(max(0, self._running.free), asking)

    def granted(self, line: Line, now: float) -> int:
        """Return how many jobs of `line` could be taken now, of its share."""
        room = self.of(line, now)
        if self._shares is None or line.ordered:
            return room
        return min(room, max(0, self._granted.get(line.name, 0)))

    def taken(self, line: Line, count: int) -> None:
        """Take `count` jobs of `line` off its share."""
        if self._shares is not None and not line.ordered:
            self._granted[line.name] = self._granted.get(line.name, 0) - count

    def wants_hints(self, source: Source, now: float) -> bool:
        """Whether it is to be told when something comes into `source`."""
        if source.ordered:
            return not self._rests()
        return self.of(source.main, now) > 0 and not source.main.hot

    def is_idle(self, line: Line) -> bool:
        """Whether a suspect of `line` could run, with nothing else to blame a crash on."""
        if self._options.trusted:
            return True
        return not self._running.alone if line.beside else not self._running.blamable

    def _must_wait(self, line: Line) -> bool:
        """Whether a more urgent queue may have jobs, which come before those of `line`."""
        if self._shares is not None:
            return False
        return any(each.pressing for each in self._sources[: line.rank])

    def _keeps_apart(self, now: float) -> bool:
        """Whether no plain job may be started beside what runs."""
        draining = self._running.blamable and now < self._steps.drain_until
        return self._running.alone or draining
