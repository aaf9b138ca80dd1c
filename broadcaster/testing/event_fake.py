r"""
Fake events: what is emitted is written down, and no listener hears it.

::

    def test_an_order_is_announced(event_fake: EventFake) -> None:
        place_order(7)

        event_fake.assert_emitted(OrderPlaced, lambda event: event.order_id == 7)
        event_fake.assert_listening(OrderPlaced, send_receipt)

Nothing is broadcast and no listener queued either. What the worker tells about jobs
(`broadcaster.jobs.lifecycle`) goes on as ever.

Source: Laravel, ``Illuminate\Support\Testing\Fakes\EventFake``; its word "dispatched" is our
"emitted", and both are understood.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from broadcaster.events.interception import interception
from broadcaster.events.listeners import listeners
from broadcaster.events.registering import is_known
from broadcaster.jobs.lifecycle import LifecycleEvent
from broadcaster.testing.pushes import counted, unwanted
from broadcaster.testing.records import listed, shortened, title_of
from broadcaster.testing.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    Predicate = Callable[[Any], object]


class EventFake(Selection[type]):
    """See the head of this module. Assertions raise `AssertionError` and say what there was."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: list[object] = []
        self._before: Callable[[object], bool] | None = None

    def __repr__(self) -> str:
        """Say how much it has taken."""
        return f"<EventFake with {len(self._taken)} emitted>"

    def __enter__(self) -> Self:
        self._before = interception.emitted
        interception.emitted = self._take
        return self

    def __exit__(self, *error: object) -> None:
        interception.emitted = self._before

    def clear(self) -> None:
        """Forget what was taken."""
        self._taken.clear()

    def emitted(self, event: type | None = None, predicate: Predicate | None = None) -> list[Any]:
        """Return the events of this class (or deriving from it) for which `predicate` holds."""
        return [
            one
            for one in self._taken
            if (event is None or isinstance(one, event)) and (predicate is None or predicate(one))
        ]

    def assert_emitted(
        self, event: type, predicate: Predicate | None = None, *, times: int | None = None
    ) -> None:
        """Fail unless such an event was emitted for which `predicate` holds."""
        __tracebackhide__ = True
        found = self.emitted(event, predicate)
        if times is not None:
            counted("emitted", title_of(event), times, _shown(found))
        elif not found:
            same = self.emitted(event)
            if same:
                text = f"no {title_of(event)} that was emitted fulfils the predicate:"
                raise AssertionError(listed(text, _shown(same), ""))
            there = listed("emitted were:", _shown(self._taken), "nothing was emitted")
            raise AssertionError(f"{title_of(event)} was not emitted; {there}")

    def assert_emitted_times(self, event: type, times: int) -> None:
        """Fail unless such an event was emitted exactly `times` times."""
        __tracebackhide__ = True
        self.assert_emitted(event, times=times)

    def assert_emitted_once(self, event: type) -> None:
        """Fail unless such an event was emitted exactly once."""
        __tracebackhide__ = True
        self.assert_emitted(event, times=1)

    def assert_not_emitted(self, event: type, predicate: Predicate | None = None) -> None:
        """Fail if such an event was emitted."""
        __tracebackhide__ = True
        found = _shown(self.emitted(event, predicate))
        unwanted(f"{title_of(event)} was emitted, and should not have been", found)

    def assert_nothing_emitted(self) -> None:
        """Fail if anything was emitted."""
        __tracebackhide__ = True
        unwanted("events were emitted, and none should have been", _shown(self._taken))

    def assert_listening(self, event: type, listener: object) -> None:
        """Fail unless `listener` (a function, a class, or a pair with a method) hears `event`."""
        __tracebackhide__ = True
        heard = listeners.of(event)
        if not is_known(event, listener) and not _hears(heard, listener):
            there = listed("listening are:", [one.name for one in heard], "nobody listens")
            raise AssertionError(
                f"{title_of(listener)} does not listen to {event.__name__}; {there}"
            )

    dispatched = emitted
    assert_dispatched = assert_emitted
    assert_dispatched_times = assert_emitted_times
    assert_dispatched_once = assert_emitted_once
    assert_not_dispatched = assert_not_emitted
    assert_nothing_dispatched = assert_nothing_emitted

    def _take(self, event: object) -> bool:
        if isinstance(event, LifecycleEvent) or not self._selects(partial(isinstance, event)):
            return self._before is not None and self._before(event)
        self._taken.append(event)
        return True


def _shown(events: list[Any]) -> list[str]:
    return [shortened(event) for event in events]


def _hears(heard: Any, listener: object) -> bool:
    from_place = f"{getattr(listener, '__module__', '')}.{getattr(listener, '__qualname__', '')}"
    return any(one.place == from_place for one in heard)
