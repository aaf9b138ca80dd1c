"""
What becomes of pools when the settings were read again. Pure.

Who drains gets no new process; those that it has finish what they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Action = Literal["start", "renew", "adjust", "keep", "drain"]
"""``start`` a pool that is new; ``renew`` its workers one by one, for they run with other
options now; ``adjust`` how many there are, and leave them alone; ``keep`` it as it is; ``drain``
one that is no longer wanted."""

_WORDS: Mapping[Action, str] = {
    "start": "started",
    "renew": "replaced one by one",
    "adjust": "adjusted",
    "keep": "unchanged",
    "drain": "drained",
}


class Made(NamedTuple):
    """
    What a pool is made of; only compared.

    Attributes:
        workers: what decides how each of its workers runs.
        rules: what decides how many there are, and of which queues.
    """

    workers: object
    rules: object


def actions(old: Mapping[str, Made], new: Mapping[str, Made], *, renew: bool) -> dict[str, Action]:
    """
    Return what becomes of each pool: those of `new` in their order, then those that go.

    Args:
        old: the pools that there are, by name.
        new: the pools of the settings as they are now.
        renew: replace the workers of pools that have not changed, too.
    """
    found: dict[str, Action] = {
        name: _action(old.get(name), made, renew=renew) for name, made in new.items()
    }
    for name in old:
        if name not in new:
            found[name] = "drain"
    return found


def in_words(found: Mapping[str, Action]) -> str:
    """Return what was done as one line, for the log."""
    done = [
        (word, sorted(name for name, mine in found.items() if mine == action))
        for action, word in _WORDS.items()
    ]
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in done if names)


def _action(old: Made | None, new: Made, *, renew: bool) -> Action:
    if old is None:
        return "start"
    if renew or old.workers != new.workers:
        return "renew"
    return "keep" if old.rules == new.rules else "adjust"
