"""What supervisors tell about the workers that they keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPERVISOR_SECONDS = 30.0
"""Silence after which a supervisor is no longer listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """
    The workers of one queue, or of several that are served in order.

    Attributes:
        queue: its name, or ``*``.
        wanted: processes that should run.
        slots: jobs that each runs at once.
        pids: processes that run.
        stopping: processes that finish what they run.
        deaths: how many have ended that nobody had asked to, other than in good order.
        last_code: how the last one ended that its supervisor had not asked to.
        ready: jobs that could start.
        runtime: seconds that one typically takes, or None.
    """

    queue: str
    wanted: int
    slots: int
    pids: tuple[int, ...] = ()
    stopping: tuple[int, ...] = ()
    deaths: int = 0
    last_code: int | None = None
    ready: int = 0
    runtime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """
    The groups of one table of the settings.

    Attributes:
        draining: its table is gone, and its workers finish what they run.
    """

    name: str
    balance: str
    groups: tuple[GroupStatus, ...] = ()
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatus:
    """
    One supervising process.

    Attributes:
        name: unique on all hosts.
        started_at: Unix seconds, by its own clock.
        state: what it does.
        pools: what it keeps.
        seen_at: Unix seconds, by the store's clock, of this description; 0 until it was stored.
        read_at: Unix seconds, by its own clock, when it last took the tables of its settings.
        refused: what was wrong with them when they were read after that; "" if nothing was.
    """

    name: str
    started_at: float = 0.0
    state: Literal["running", "stopping", "stopped"] = "running"
    pools: tuple[PoolStatus, ...] = field(default=())
    seen_at: float = 0.0
    read_at: float = 0.0
    refused: str = ""


class SupervisorBoard(Protocol):
    """
    Where supervisors say how they are: one document with an entry for each.

    Methods block, and raise `DriverUnavailable` or `DriverRefused`.
    """

    def tell(self, status: SupervisorStatus) -> None:
        """Store `status` for `SUPERVISOR_SECONDS`; forget those that are silent for longer."""
        ...

    def read(self) -> Sequence[SupervisorStatus]:
        """Return all that have told lately, by name."""
        ...
