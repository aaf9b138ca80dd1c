"""Broadcasts go to the lanes of their channels, so that each channel keeps its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broadcaster.contracts.application import BroadcastRules
from broadcaster.events.broadcast import abroadcast, broadcast
from broadcaster.events.event import ShouldBroadcast
from broadcaster.protocol.lanes import LANES, by_lane, lane_name, ordered_queue

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


@dataclass
class Moved(ShouldBroadcast):
    channels: tuple[str, ...]

    def broadcast_on(self) -> tuple[str, ...]:
        return self.channels


def test_row_52_all_events_of_a_channel_go_to_one_lane(app: RecordingApplication) -> None:
    app.rules = BroadcastRules()

    for _ in range(3):
        broadcast(Moved(("orders.1",)))

    lane = ordered_queue("broadcasts", "orders.1")
    assert [job.queue for job in app.jobs] == [lane, lane, lane]
    assert len({job.id for job in app.jobs}) == 3


async def test_an_event_of_many_channels_is_one_job_per_lane_under_one_id(
    app: RecordingApplication,
) -> None:
    app.rules = BroadcastRules()
    channels = tuple(f"orders.{number}" for number in range(60))

    await abroadcast(Moved(channels))

    told = {job.queue: job for job in app.jobs}
    lanes = by_lane(channels)
    assert set(told) == {lane_name("broadcasts", lane) for lane in lanes}
    assert len(told) == len(app.jobs) == LANES
    assert {job.id for job in app.jobs} == {payload.id for payload in app.payloads()}
    assert len({job.id for job in app.jobs}) == 1
    of_lane = [tuple(payload.data["channels"]) for payload in app.payloads()]
    assert of_lane == list(lanes.values())
