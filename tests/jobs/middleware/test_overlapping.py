from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.limits import LockOwner
from broadcaster.errors import NotRunning
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import WithoutOverlapping
from broadcaster.jobs.middleware.overlapping import INLINE_LEASE
from broadcaster.jobs.outcome import Deleted, Released
from broadcaster.jobs.running import require_current_job, running
from tests.jobs.middleware.running import current, ran, run_through

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication


class Recount(Job, name="overlapping.Recount"):
    async def handle(self) -> None: ...


class Other(Job, name="overlapping.Other"):
    async def handle(self) -> None: ...


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


async def test_row_29_the_lock_is_held_while_the_job_runs_and_renewed_with_its_lease(
    app: JobsApplication,
) -> None:
    """The lock is listed with the running job, whose worker renews it."""
    seen: dict[str, LockOwner] = {}

    async def innermost() -> None:
        seen.update(require_current_job("it").locks)

    with running(current(Recount(), number=7)) as job:
        await WithoutOverlapping("account:1")(Recount(), innermost)

    owner = LockOwner(f"{7:032x}", 7)
    assert seen == {"overlap:overlapping.Recount:account:1": owner}
    assert app.locks.leases == [30.0]
    assert app.locks.held == job.locks == {}


async def test_the_lock_is_freed_when_the_job_fails(app: JobsApplication) -> None:
    with pytest.raises(ValueError, match="boom"):
        await run_through(Recount(), WithoutOverlapping("x"), error=ValueError("boom"))

    assert app.locks.held == {}


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, Released(5.0, counts=False)),
        ({"release_after": 60}, Released(60.0, counts=False)),
        ({"release_after": 60, "count": True}, Released(60.0, counts=True)),
        ({"drop": True}, Deleted()),
    ],
)
async def test_a_job_whose_lock_another_one_has_is_put_off(
    app: JobsApplication, options: dict[str, Any], verdict: object
) -> None:
    key = "overlap:overlapping.Recount:x"
    app.locks.held[key] = LockOwner("f" * 32, 3)

    assert await run_through(Recount(), WithoutOverlapping("x", **options)) == verdict

    assert ran == []
    assert app.locks.held == {key: LockOwner("f" * 32, 3)}


async def test_classes_keep_apart_unless_they_share_the_key(app: JobsApplication) -> None:
    app.locks.held["overlap:overlapping.Recount:x"] = LockOwner("f" * 32, 3)
    app.locks.held["overlap::x"] = LockOwner("f" * 32, 3)

    assert await run_through(Other(), WithoutOverlapping("x")) is None
    assert await run_through(Other(), WithoutOverlapping("x", shared=True)) is not None
    assert ran == [Other()]


async def test_without_a_worker_the_lock_lapses_in_the_end(app: JobsApplication) -> None:
    await run_through(Recount(), WithoutOverlapping("x"), here=current(Recount(), lease=0.0))

    assert app.locks.leases == [INLINE_LEASE]


async def test_it_needs_a_running_job(app: JobsApplication) -> None:
    async def innermost() -> None: ...

    with pytest.raises(NotRunning, match="WithoutOverlapping"):
        await WithoutOverlapping("x")(Recount(), innermost)
