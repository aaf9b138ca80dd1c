"""Redis goes away and comes back under load: workers go on by themselves."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import DriverUnavailable
from broadcaster.worker.outages import Outages
from tests.faults import BareServer
from tests.polling import eventually
from tests.worker.outage_world import LEASE, plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sentinels import Watched

AGAIN = 5.0  # seconds in which workers go on: ten times what a busy machine takes
CALL = 2.0 + 2.0  # seconds that a verb may take, and what a busy machine adds


def test_an_outage_lasts_from_its_first_failure(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(lease=30)
    assert outages.seconds(time.monotonic() + 100) == 0

    outages.away(DriverUnavailable("away"))
    outages.away(DriverUnavailable("away"))

    assert outages.seconds(time.monotonic() + 100) >= 100
    assert outages.retry_at > time.monotonic()
    assert caplog.text.count("queue away") == 1
    outages.back()
    assert (outages.failures, outages.retry_at, outages.seconds(1e9)) == (0, 0.0, 0.0)


@pytest.mark.parametrize(("lease", "longest"), [(30, 2), (3, 0.5)])
def test_a_worker_tries_again_before_others_may_take_what_it_holds(
    lease: float, longest: float
) -> None:
    """That is a third of the lease after the end of the outage."""
    outages = Outages(lease)

    for _ in range(20):
        outages.away(DriverUnavailable("away"))

    assert longest - 0.1 < outages.retry_at - time.monotonic() <= longest


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[BareServer]:
    """A server with a file that it takes long to load, in which time it answers LOADING."""
    server = BareServer(
        tmp_path / "redis",
        key_load_delay="300",
        loading_process_events_interval_bytes="1024",
        # A slow disk would delay writes, with "everysec" after answers: a kill would lose those.
        appendfsync="no",
    )
    server.start()
    server.burden(1_000)
    yield server
    server.kill()


@pytest.mark.redis
@pytest.mark.process
async def test_a_killed_server_loses_nothing_with_its_file_and_without_it_that_is_said(
    bare: BareServer, tmp_path: Path
) -> None:
    async with plant(bare.url, tmp_path) as running:
        load = running.load
        await running.busy()

        bare.kill()
        await asyncio.sleep(1)  # an outage that everybody notices
        bare.start()
        assert bare.is_loading
        await eventually(lambda: not bare.is_loading, within=40)
        kept = await running.on_again()
        before = set(load.accepted)
        await running.all_run(before)
        await running.hold("one", "two", "three")

        bare.kill()
        bare.empty()
        bare.start()
        emptied, back = await running.on_again(), time.monotonic()
        await running.all_run(load.since(back - emptied))
        await eventually(lambda: "jobs of queue default that" in running.output)
        await running.told(forgotten=3, changes=2)
        running.let_go()

    assert max(kept, emptied) < AGAIN
    assert max(load.slowest.values()) < CALL, load.slowest
    # With its file every accepted job runs, and no job twice, be it accepted or not.
    assert before <= running.done
    assert [name for name, times in running.runs.items() if times > 1] == []
    # Without it, what was not run yet is gone, and workers say what they can know of it.
    assert running.output.count("another Redis process answers than before") == 4


@pytest.mark.process
async def test_a_failover_loses_only_what_was_not_copied_and_that_is_said(
    watched: Watched, tmp_path: Path
) -> None:
    async with plant(watched.url, tmp_path) as running:
        load = running.load
        await running.busy()

        cut = time.monotonic()
        await asyncio.to_thread(watched.copy)
        await asyncio.to_thread(watched.cut_replica)
        await running.hold("lost")
        await asyncio.to_thread(watched.kill_master)
        await eventually(lambda: watched.moved, within=20)
        moved = time.monotonic()
        took = await running.on_again()
        accepted = set(load.accepted)
        await running.all_run(load.since(moved) & accepted)
        lost = accepted - running.done
        await running.told(forgotten=1, changes=1)
        running.let_go()

    assert took < AGAIN
    assert max(load.slowest.values()) < CALL, load.slowest
    assert all(cut < load.accepted[number] < moved for number in lost)
    # What was run and not settled in the copy runs again: only jobs of the last moment.
    twice = [name for name, times in running.runs.items() if times > 1]
    assert all(running.first_runs[name] > cut - LEASE for name in twice)
    assert running.output.count("another Redis process answers than before") == 2


@pytest.mark.process
async def test_a_frozen_master_that_wakes_up_soon_gets_nothing_any_more(
    watched: Watched, tmp_path: Path
) -> None:
    """It takes itself for the master for ten seconds, and then forgets what it accepted."""
    async with plant(watched.url, tmp_path) as running:
        load = running.load
        await running.busy()

        frozen = time.monotonic()
        watched.freeze_master()
        await eventually(lambda: watched.moved, within=20)
        watched.thaw_master()
        thawed = time.monotonic()
        took = await running.on_again()
        accepted = set(load.accepted)
        await running.all_run(load.since(thawed + 1) & accepted)

    assert took < AGAIN
    assert max(load.slowest.values()) < CALL, load.slowest
    # What was on its way to the old master when it woke up may be answered yet, and is lost.
    lost = accepted - running.done
    assert all(frozen - 1 < load.accepted[number] < thawed + 1 for number in lost)
