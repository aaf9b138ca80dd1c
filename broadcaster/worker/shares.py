"""
Sharing free slots among queues by weight. Pure.

Each free slot goes to the queue that is furthest behind its share (smooth weighted
round-robin), among those that may have jobs. So a weight is a promise under load and costs
nothing when the others are empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Shares:
    """
    What each queue is owed.

    Args:
        weights: by queue; one that is not named has the weight 1.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = weights
        self._credit: dict[str, int] = {}

    def divide(self, free: int, asking: Sequence[str]) -> dict[str, int]:
        """
        Return how many of `free` slots each of the queues `asking` gets, and remember it.

        Queues that do not ask lose what they were owed: they have no jobs.
        """
        self._credit = {name: self._credit.get(name, 0) for name in asking}
        given = dict.fromkeys(asking, 0)
        if not asking:
            return given
        weights = {name: max(1, self._weights.get(name, 1)) for name in asking}
        total = sum(weights.values())
        for _ in range(free):
            for name in asking:
                self._credit[name] += weights[name]
            first = max(asking, key=self._credit.__getitem__)
            self._credit[first] -= total
            given[first] += 1
        return given


def parse_queue(text: str) -> tuple[str, int]:
    """
    Return name and weight of ``mail:3``; the weight of ``mail`` is 1.

    Raises:
        ValueError: no name, or the weight is not a whole number from 1 to 1,000.
    """
    name, colon, weight = text.strip().partition(":")
    if not name:
        raise ValueError(f"{text!r} has an empty name")
    if not colon:
        return name, 1
    if not (weight.isascii() and weight.isdigit()) or not 1 <= int(weight) <= 1_000:  # noqa: PLR2004
        raise ValueError(f"the weight of {name} must be from 1 to 1,000, not {weight!r}")
    return name, int(weight)
