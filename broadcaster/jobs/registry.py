"""
Jobs by name: the only way from a payload to code.

A payload names a job; a worker looks the name up here. Nothing is ever imported because
a payload says so: modules that define jobs are imported when the worker starts.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from broadcaster.errors import UnknownJob
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from broadcaster.jobs.job import Job

RESERVED_PREFIX = "broadcaster."


class Registry:
    """A table of job classes."""

    def __init__(self) -> None:
        self._jobs: dict[str, type[Job]] = {}

    def register(self, name: str, job: type[Job]) -> None:
        """
        Add `job` under `name`.

        Defining the same class again (a reloaded module) replaces it.

        Raises:
            ValueError: the name is reserved, or another class has it.
        """
        ours = job.__module__.startswith(RESERVED_PREFIX)
        if not name or (name.startswith(RESERVED_PREFIX) and not ours):
            raise ValueError(f"job name {name!r} is reserved; choose another with name=...")
        other = self._jobs.get(name)
        if other is not None and _place(other) != _place(job):
            raise ValueError(
                f"two jobs are called {name!r}: {_place(other)} and {_place(job)}; "
                "give one of them another name with name=..."
            )
        self._jobs[name] = job

    def find(self, name: str) -> type[Job]:
        """
        Return the job called `name`.

        Raises:
            UnknownJob: no module that was imported defines it.
        """
        job = self._jobs.get(name)
        if job is None:
            close = difflib.get_close_matches(name, self._jobs, n=1)
            hint = f" (is it {close[0]!r}?)" if close else ""
            raise UnknownJob(
                f"no job is called {shown(name, 200)}{hint}: name the module that defines it "
                "(broadcaster work shop.jobs, or imports in broadcaster.toml)"
            )
        return job

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._jobs)

    def queues(self, connection: str) -> list[str]:
        """Return the queues that jobs of this connection name, sorted."""
        all_of_them = [job.options for job in self._jobs.values()]
        mine = [one for one in all_of_them if (one.connection or "default") == connection]
        return sorted({one.queue for one in mine if one.queue})


registry = Registry()
"""The jobs of this process: `Job` subclasses and `@job` functions enter when defined."""


def _place(job: type[Job]) -> str:
    return f"{job.__module__}.{job.__qualname__}"
