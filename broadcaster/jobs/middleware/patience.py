"""
How long a job waits that finds no room: longer and longer, the more often that was so.

Of a crowd that is put off until there is room, all come back then, and all but a few are put
off once more. So it would ask for much more than it gets, and those that are put off
`MAX_POSTPONED` times fail, which is when there are over a thousand times as many as there is
room for at once. Those that were put off often spread out instead.
"""

from __future__ import annotations

import random

from broadcaster.contracts.settlements import MIN_POSTPONE_SECONDS
from broadcaster.jobs.running import current_job

OFTEN = 20
"""Times that a job was put off, for each of which it waits as long again, on average."""

LONGEST_SECONDS = 3_600.0
"""What is added at most."""


def patience(wait: float, every: float = 0.0) -> float:
    """
    Return the seconds for which the job that runs here is put off.

    Args:
        wait: until there may be room.
        every: seconds from one time that there is room to the next.
    """
    running = current_job()
    often = 0 if running is None else running.past.postponed // OFTEN
    if not often:
        return wait
    spread = 2.0 * random.random()  # noqa: S311 - or they would all come back at once, again
    return wait + min(LONGEST_SECONDS, often * spread * max(every, MIN_POSTPONE_SECONDS))
