"""Jobs to be scheduled."""

from __future__ import annotations

from broadcaster.jobs.job import Job


class Tidy(Job, name="tests.Tidy", queue="chores", retry_until=600):
    """Does nothing."""

    folder: str = "attic"

    async def handle(self) -> None:
        """Do nothing."""
