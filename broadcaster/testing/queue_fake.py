r"""
A fake queue: it writes down what is pushed, and nothing runs.

::

    def test_an_order_is_confirmed_by_mail(queue_fake: QueueFake) -> None:
        place_order(7)

        queue_fake.assert_pushed(SendMail, lambda job: job.order_id == 7)
        queue_fake.assert_pushed_on("mail", SendMail)

Jobs, first links of chains, jobs of batches and queued listeners are pushed. Broadcasts are
taken too, but are not counted: `broadcast_fake` is for them. A target is a job class, a
listener (its predicates get the event), or a registered name.

Source: Laravel, ``Illuminate\Support\Testing\Fakes\QueueFake``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from broadcaster.protocol.payload import BROADCAST_JOB
from broadcaster.testing.pushes import Pushes, counted, missing, unwanted
from broadcaster.testing.records import are_jobs, chosen, shown_jobs, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.testing.pushes import Predicate
    from broadcaster.testing.records import PushedJob


class QueueFake(Pushes):
    """See the head of this module. Assertions raise `AssertionError` and say what there was."""

    @property
    def records(self) -> list[PushedJob]:
        """Everything that was pushed, in order, with queue, delay, chain and payload."""
        return [one for one in self._taken if one.name != BROADCAST_JOB]

    def pushed(self, target: object = None, predicate: Predicate | None = None) -> list[Any]:
        """Return the jobs (or events) of `target`, or all, for which `predicate` holds."""
        if target is None:
            return [one.subject for one in self.records]
        return [one.subject for one in chosen(self.records, target, predicate)]

    def assert_pushed(
        self, target: object, predicate: Predicate | None = None, *, times: int | None = None
    ) -> None:
        """Fail unless a job of `target` was pushed for which `predicate` holds."""
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        if times is not None:
            counted("pushed", title_of(target), times, found)
        elif not found:
            missing("pushed", target, self.records, refused=self._refused(target, predicate))

    def assert_pushed_times(self, target: object, times: int) -> None:
        """Fail unless `target` was pushed exactly `times` times."""
        __tracebackhide__ = True
        counted("pushed", title_of(target), times, chosen(self.records, target, None))

    def assert_pushed_once(self, target: object) -> None:
        """Fail unless `target` was pushed exactly once."""
        __tracebackhide__ = True
        self.assert_pushed_times(target, 1)

    def assert_pushed_on(
        self, queue: str, target: object, predicate: Predicate | None = None
    ) -> None:
        """Fail unless `target` was pushed to `queue`."""
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        if not any(one.queue == queue for one in found):
            self._missing(target, predicate, found, f" on {queue!r}")

    def assert_pushed_on_connection(
        self, connection: str, target: object, predicate: Predicate | None = None
    ) -> None:
        """Fail unless `target` was pushed to the queue connection of this name."""
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        if not any(one.connection == connection for one in found):
            self._missing(target, predicate, found, f" on the connection {connection!r}")

    def assert_pushed_with_chain(
        self, target: object, chain: Sequence[object], predicate: Predicate | None = None
    ) -> None:
        """
        Fail unless `target` was pushed with these links after it.

        Args:
            chain: jobs that are equal to the links, their classes, or functions that say so.
        """
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        if not any(are_jobs(one.chain, chain) for one in found):
            self._missing(target, predicate, found, f" with the chain {shown_jobs(chain)}")

    def assert_pushed_without_chain(
        self, target: object, predicate: Predicate | None = None
    ) -> None:
        """Fail unless `target` was pushed with nothing after it."""
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        if not any(not one.chain for one in found):
            self._missing(target, predicate, found, " without a chain")

    def assert_not_pushed(self, target: object, predicate: Predicate | None = None) -> None:
        """Fail if `target` was pushed."""
        __tracebackhide__ = True
        found = chosen(self.records, target, predicate)
        unwanted(f"{title_of(target)} was pushed, and should not have been", found)

    def assert_count(self, count: int) -> None:
        """Fail unless exactly `count` jobs were pushed, of whichever class."""
        __tracebackhide__ = True
        counted("pushed", "a job", count, self.records)

    def assert_nothing_pushed(self) -> None:
        """Fail if anything was pushed."""
        __tracebackhide__ = True
        unwanted("jobs were pushed, and none should have been", self.records)

    def _refused(self, target: object, predicate: Predicate | None) -> list[PushedJob]:
        return [] if predicate is None else chosen(self.records, target, None)

    def _missing(
        self, target: object, predicate: Predicate | None, found: Sequence[PushedJob], where: str
    ) -> NoReturn:
        """Fail because none of `found`, which is what `predicate` let through, is `where`."""
        __tracebackhide__ = True
        refused = [] if found else self._refused(target, predicate)
        missing("pushed", target, self.records, refused=refused, where=where)
