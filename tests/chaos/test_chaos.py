"""The bounded version of `make chaos`: real workers, killed again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.run import Options, chaos

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.redis, pytest.mark.process]

JOBS = 700
STRIKES = 17
SEED = 897


@pytest.mark.usefixtures("server_binary")
@pytest.mark.timeout(300)  # it takes 15 s where nothing else runs
async def test_every_promise_is_kept_while_workers_are_killed(tmp_path: Path) -> None:
    """Nothing lost; links, callbacks and counts exact; locks free; nothing left over."""
    options = Options(
        seed=SEED,
        jobs=JOBS,
        workers=3,
        seconds=6.0,
        kills=STRIKES,
        pause=(0.2, 0.5),
        gentle=0.15,
        cold=0.2,
        max_crashes=3,
    )
    told: list[str] = []

    verdict = await chaos(options, tmp_path, told.append)

    assert not verdict.findings, "\n".join([*map(str, verdict.findings[:20]), *told[-3:]])
    assert verdict.numbers["kills"] >= 10
    assert verdict.numbers["freezes"] > 0
    assert verdict.numbers["runs"] > verdict.numbers["jobs that ran"] > JOBS / 2
