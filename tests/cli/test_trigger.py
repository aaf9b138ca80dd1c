"""``broadcaster trigger``: one event from a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from broadcaster.cli.trigger import read_data, trigger
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import (
    BroadcasterError,
    InvalidChannel,
    InvalidPayload,
    InvalidSocketId,
    NotConfigured,
    UnknownDriver,
)
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.lanes import ordered_queue
from tests.cli.surroundings import CREDENTIALS, surround

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surround(tmp_path, monkeypatch)


def run(*args: str, **env: str) -> Result:
    return CliRunner().invoke(trigger, args, env={**CREDENTIALS, **env}, catch_exceptions=False)


def test_a_name_gets_the_namespace_as_in_echo() -> None:
    result = run("orders,private-a", "OrderShipped", '{"id":7}', BROADCAST_DRIVER="null")

    assert result.stdout == ("published 1 event: App\\Events\\OrderShipped to orders, private-a\n")


def test_a_name_with_a_dot_before_it_is_taken_as_it_is() -> None:
    assert "order.shipped to orders" in run("orders", ".order.shipped", "--driver", "log").stdout


@pytest.mark.redis
async def test_an_event_reaches_redis(clients: RedisClients) -> None:
    env = {"REDIS_URL": clients.url, "BROADCASTER_PREFIX": clients.prefix}

    result = run("orders", "OrderShipped", '{"id": 7}', "--socket-id", "1.2", **env)

    assert result.stdout.startswith("published 1 event")
    (raw,) = await RedisHistory(clients).read("1", "orders")
    envelope = decode_envelope(raw)
    assert envelope.excluded == "1.2"
    assert json.loads(envelope.frame) == {
        "event": "App\\Events\\OrderShipped",
        "channel": "orders",
        "data": '{"id":7}',
    }


@pytest.mark.redis
async def test_an_event_can_go_through_the_queue(clients: RedisClients) -> None:
    env = {"REDIS_URL": clients.url, "BROADCASTER_PREFIX": clients.prefix}

    result = run("orders", "OrderShipped", "--queued", **env)

    assert result.stdout.startswith("queued 1 event")
    queue = RedisQueue(clients)
    (lane,) = queue.queues()
    assert (lane, queue.sizes(lane).ready) == (ordered_queue("broadcasts", "orders"), 1)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("a b", "X"), InvalidChannel),
        (("a", "X", "{"), InvalidPayload),
        (("a", "X", "[NaN]"), InvalidPayload),
        (("a", "X", '"\\ud800"'), InvalidPayload),
        (("a", "X", "--socket-id", "x"), InvalidSocketId),
        (("a", "X", "--driver", "ably"), UnknownDriver),
        (("a", "X"), NotConfigured),
    ],
)
def test_what_cannot_be_sent_is_refused(
    args: tuple[str, ...], error: type[BroadcasterError]
) -> None:
    with pytest.raises(error):
        run(*args)


def test_data_is_any_json() -> None:
    assert read_data('[1,"a",null]') == [1, "a", None]
    with pytest.raises(InvalidPayload, match="quote it for the shell"):
        read_data("{id: 1}")
    with pytest.raises(InvalidPayload):
        read_data("[" * 100_000)
