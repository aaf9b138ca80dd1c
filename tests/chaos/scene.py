"""A run that can be spoilt, for the tests of the judge. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.chaos.checks import check
from tests.chaos.history import BatchState, Event
from tests.chaos.perfect import PerfectPlant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.plan import Plan

LEASE = 2.0


class Scene:
    """A faultless run of `plan`, to be spoilt."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.history, self.state = PerfectPlant().play(plan)

    @property
    def findings(self) -> list[str]:
        """What the judge says of it."""
        found = check(self.plan, self.history, self.state, lease=LEASE)
        return [str(finding) for finding in found]

    def place(self, what: str, key: str) -> int:
        """Return where `what` happened first to `key`."""
        return next(
            place
            for place, event in enumerate(self.history)
            if (event.what, event.key) == (what, key)
        )

    def forget(self, *keys: str) -> None:
        """Have nothing of `keys` happen."""
        self.history = [event for event in self.history if event.key not in keys]

    def run_again(self, key: str, *, later: float = 0.0, worker: str = "w9.1") -> None:
        """Have the last run of `key` once more at the end, under a newer token."""
        again = [event for event in self.history if event.key == key][-2:]
        last = self.history[-1].at + later
        self.history += [
            event._replace(
                at=last + 0.01 * nth, token=event.token + 1_000 + int(later * 1e6), worker=worker
            )
            for nth, event in enumerate(again)
        ]

    def happen(self, *events: Event) -> None:
        """Have `events` happen at the end."""
        self.history += events

    def move(self, key: str, before: str) -> None:
        """Have all runs of `key` before the first of another."""
        mine = [event for event in self.history if event.key == key]
        rest = [event for event in self.history if event.key != key]
        at = next(place for place, event in enumerate(rest) if event.key == before)
        self.history = [*rest[:at], *mine, *rest[at:]]


def change_batch(key: str, **changes: Any) -> Callable[[Scene], None]:
    """Return what changes the state of the batch `key`."""

    def change(scene: Scene) -> None:
        (before,) = scene.state.batches[key]
        after = BatchState(**{**before._asdict(), **changes})
        scene.state = replace(scene.state, batches={**scene.state.batches, key: [after]})

    return change
