from __future__ import annotations

from typing import Any

import pytest

from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import SkipIf, SkipUnless
from tests.jobs.middleware.running import ran, run_through


class Mail(Job, name="skipping.Mail"):
    user: str = "ada"

    async def handle(self) -> None: ...


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


async def later(job: Mail) -> bool:
    return job.user == "ada"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [(True, True), (False, False), (lambda job: job.user == "bob", False), (later, True)],
)
async def test_a_job_is_skipped_by_a_condition(condition: Any, *, holds: bool) -> None:
    assert await run_through(Mail(), SkipIf(condition)) is None
    assert len(ran) == (not holds)

    await run_through(Mail(), SkipUnless(condition))
    assert len(ran) == 1
