"""The redis driver frames publications and hands them to the broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.publisher import RedisPublisher, frame_all
from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.envelope import decode_envelope
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    from pathlib import Path


def test_each_channel_gets_a_frame_of_its_own_under_one_id() -> None:
    first, second = frame_all([make_publication("private-a", "b", number=9, socket_id="1.2")])

    assert (first.channel, second.channel) == ("private-a", "b")
    assert first.event_id == second.event_id == (9).to_bytes(16, "big")
    assert first.excluded == "1.2"
    assert json.loads(first.frame) == {
        "event": "App\\Events\\Shipped",
        "channel": "private-a",
        "data": '{"id":7}',
    }


@pytest.mark.redis
async def test_both_edges_publish_and_a_repeat_changes_nothing(clients: RedisClients) -> None:
    driver = RedisPublisher(clients)

    driver.publish([make_publication("a", number=1)])
    await driver.apublish([make_publication("a", number=2)])
    driver.publish([make_publication("a", number=1), make_publication("a", number=2)])

    kept = [decode_envelope(raw) for raw in await RedisHistory(clients).read("1", "a")]
    assert [int.from_bytes(envelope.event_id, "big") for envelope in kept] == [1, 2]


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    clients = RedisClients(f"unix://{tmp_path}/nobody.sock")
    driver = RedisPublisher(clients)

    with pytest.raises(DriverUnavailable):
        driver.publish([make_publication()])
    with pytest.raises(DriverUnavailable):
        await driver.apublish([make_publication()])

    await clients.aclose()
