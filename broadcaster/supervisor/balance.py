"""
How many processes and slots each queue gets: pure functions.

What waits in a queue and runs has a time to clear: its jobs by what one takes. A queue wants
as many slots as clear it within `Rules.clear_within`. Slots of processes that run cost
nothing, so they are changed first and at once; only when they do not suffice does it get
another process, `Rules.shift` per `Rules.cooldown`. If the queues together want more processes
than are allowed, these are shared out by time to clear.

Source: Laravel Horizon, ``AutoScaler``, for strategies, shift and cooldown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALL = "*"
"""The group of all queues, where they are not balanced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What is allowed; see `broadcaster.settings_supervise.SupervisorSettings`.

    Attributes:
        slots: most jobs that a process runs at once.
        max_processes: at least `min_processes` for each queue.
    """

    balance: Literal["auto", "simple", "off"] = "auto"
    strategy: Literal["time", "size"] = "time"
    min_processes: int = 1
    max_processes: int = 1
    min_slots: int = 1
    slots: int = 10
    clear_within: float = 5.0
    shift: int = 1
    cooldown: float = 3.0


class Load(NamedTuple):
    """
    What there is to do in a queue.

    Attributes:
        ready: jobs that could start.
        running: jobs that run; not those that workers have reserved ahead.
        runtime: seconds that one takes; None while that is unknown.
        arriving: jobs that come per second.
    """

    ready: int = 0
    running: int = 0
    runtime: float | None = None
    arriving: float = 0.0


class Share(NamedTuple):
    """What a queue gets: processes, and slots of each of them."""

    processes: int
    slots: int


def groups(queues: Sequence[str], rules: Rules) -> list[str]:
    """Return the groups of processes: one per queue, or one for all."""
    return [ALL] if rules.balance == "off" else list(queues)


def balanced(
    loads: Mapping[str, Load], present: Mapping[str, int], rules: Rules, since_change: float
) -> dict[str, Share]:
    """
    Return what each group should have now.

    Args:
        loads: what there is to do, by group, in the order of their urgency.
        present: processes that it has.
        since_change: seconds since processes were added or taken away; `math.inf` at first.
    """
    wanted = targets(loads, rules)
    if rules.balance != "auto":
        return {name: Share(count, rules.slots) for name, count in wanted.items()}
    begun = any(present.get(name, 0) for name in wanted)
    if not begun:
        counts = dict.fromkeys(wanted, rules.min_processes)
    elif since_change < rules.cooldown:
        counts = {name: present.get(name, 0) for name in wanted}
    else:
        counts = shifted(present, wanted, rules)
    return {name: Share(counts[name], _slots(loads[name], counts[name], rules)) for name in wanted}


def targets(loads: Mapping[str, Load], rules: Rules) -> dict[str, int]:
    """Return the processes that each group should have in the end."""
    if rules.balance != "auto":
        each, rest = divmod(rules.max_processes, max(1, len(loads)))
        return {name: each + (number < rest) for number, name in enumerate(loads)}
    wanted = {
        name: min(
            rules.max_processes,
            max(rules.min_processes, math.ceil(wanted_slots(load, rules) / rules.slots)),
        )
        for name, load in loads.items()
    }
    if sum(wanted.values()) <= rules.max_processes:
        return wanted
    return _shared_out(wanted, {name: weight(load, rules) for name, load in loads.items()}, rules)


def wanted_slots(load: Load, rules: Rules) -> int:
    """
    Return the slots that `load` needs: those that clear what waits in time, and those in use.

    As long as runtimes are unknown, each job gets one. In use are as many as run now, or as
    what arrives takes, whichever is more.

    Source: Little's law for what arrives.
    """
    if load.runtime is None:
        return min(load.ready + load.running, rules.max_processes * rules.slots)
    # No more slots than jobs: one that is not needed clears nothing.
    clearing = min(load.ready, math.ceil(load.ready * load.runtime / rules.clear_within))
    return clearing + max(load.running, math.ceil(load.arriving * load.runtime))


def weight(load: Load, rules: Rules) -> float:
    """Return how much there is to do: the time to clear it in one slot, or its jobs."""
    if rules.strategy == "size" or load.runtime is None:
        return float(load.ready + load.running)
    return (load.ready + load.running) * load.runtime


def shifted(present: Mapping[str, int], wanted: Mapping[str, int], rules: Rules) -> dict[str, int]:
    """
    Return the processes after one change towards `wanted`.

    Each group gains or loses at most `Rules.shift`, none has fewer than `Rules.min_processes`,
    and together they never have more than `Rules.max_processes`: those that want the most
    more gain first.
    """
    counts = {
        name: max(present.get(name, 0) - rules.shift, min(present.get(name, 0), target))
        for name, target in wanted.items()
    }
    free = rules.max_processes - sum(counts.values())
    for name in sorted(wanted, key=lambda name: counts[name] - wanted[name]):
        missing = max(wanted[name], rules.min_processes) - counts[name]
        lacking = max(0, rules.min_processes - counts[name])
        gain = max(0, min(missing, max(rules.shift, lacking), free))
        if counts[name] < present.get(name, 0):
            gain = 0
        counts[name] += gain
        free -= gain
    return counts


def _slots(load: Load, processes: int, rules: Rules) -> int:
    each = math.ceil(wanted_slots(load, rules) / max(1, processes))
    return min(rules.slots, max(rules.min_slots, each))


def _shared_out(
    wanted: Mapping[str, int], weights: Mapping[str, float], rules: Rules
) -> dict[str, int]:
    """Give each group its least, then one more to whom it helps most, until none is left."""
    counts = dict.fromkeys(wanted, rules.min_processes)
    for _ in range(rules.max_processes - sum(counts.values())):
        lacking = [name for name in counts if counts[name] < wanted[name]]
        if not lacking:
            break
        neediest = max(lacking, key=lambda name: weights[name] / counts[name])
        counts[neediest] += 1
    return counts
