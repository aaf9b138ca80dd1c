"""S16: names that would spell other keys, and whoever else may write into the Redis server."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from broadcaster.drivers.redis.keys import Keys
from broadcaster.errors import ConfigurationError
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.drivers.redis.client import RedisClients
    from tests.faults import FaultyServer
    from tests.gateway.world import RunningGateway

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
INJECTIONS = ["*", "a*", "[ab]", "?", "{a}", "a}b", "a:b", "a b", "a\r\nFLUSHALL", "a\x00b", "é"]


@pytest.mark.parametrize("name", INJECTIONS)
def test_s16_no_name_spells_another_key(name: str) -> None:
    keys = Keys("p")

    for ask in (
        lambda: keys.topic("1", name),
        lambda: keys.channel("1", name, "m"),
        lambda: keys.control(name),
        lambda: keys.queue(name, "ready"),
    ):
        with pytest.raises(ConfigurationError):
            ask()


@pytest.mark.parametrize("name", INJECTIONS)
async def test_s16_nobody_subscribes_by_pattern(name: str, gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.send({"event": "pusher:subscribe", "data": {"channel": name}})
        answer = await client.next("pusher:subscription_error")
        await gateway.publish("abc", "e")
        await client.settle()

    assert answer.data["type"] == "InvalidChannel"
    assert client.received("e") == []


async def test_s16_apps_with_the_same_channels_do_not_hear_each_other() -> None:
    """`1` and `12`, `a` and `2:a`: the app id ends where the colon stands."""
    keys = Keys("p")
    made = {
        keys.topic(app, channel)
        for app, channel in (("1", "2a"), ("12", "a"), ("1", "a"), ("2", "a"), ("1", "a;2"))
    }

    assert len(made) == 5


@pytest.mark.parametrize(
    "planted",
    [b"", b"\x00", b"garbage", b'{"event":"x"}', b"\x80\x04\x95.", b"\xff" * 10_000],
)
async def test_s16_what_a_stranger_publishes_is_dropped(
    planted: bytes, gateway: RunningGateway, clients: RedisClients
) -> None:
    """It is no envelope; nothing from Redis is ever unpickled or imported by name."""
    async with gateway.connect() as client:
        await client.subscribe("orders")
        await clients.aio.publish(clients.keys.topic(APP.id, "orders"), planted)
        await clients.aio.publish(clients.keys.control(APP.id), planted)
        await gateway.publish("orders", "after")
        await client.next("after")

    assert [frame.event for frame in client.frames[2:]] == ["after"]


def test_s16_nothing_that_runs_what_it_reads_is_imported() -> None:
    root = Path(__file__).parents[2]
    words = re.compile(
        r"^\s*(import|from) (pickle|marshal|shelve|dill|cloudpickle|yaml)\b", re.MULTILINE
    )

    found = [
        path
        for folder in ("broadcaster", "auth/broadcaster_auth")
        for path in (root / folder).rglob("*.py")
        if words.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@asynccontextmanager
async def confined_gateway(server: FaultyServer, prefix: str) -> AsyncIterator[RunningGateway]:
    """A gateway whose Redis user has the rights of the documentation and no others."""
    [recipe] = re.findall(r"^(ACL SETUSER broadcaster .+)$", PAGE, re.MULTILINE)
    words = recipe.replace("broadcaster:", f"{prefix}:").split()
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command(*words)
    confined = server.url.replace("unix://", "unix://broadcaster:PASSWORD@")
    async with running_gateway(confined, prefix) as gateway:
        yield gateway


async def test_s16_the_documented_acl_is_enough_for_a_gateway_and_for_nothing_else(
    redis_server: FaultyServer, prefix: str
) -> None:
    async with confined_gateway(redis_server, prefix) as gateway, gateway.connect() as client:
        await client.subscribe("orders")
        await client.subscribe("presence-room", {"user_id": "1"})
        await client.subscribe("private-a")
        assert (await gateway.publish("orders", "e")).status_code == 200
        await client.next("e")

        async def occupied() -> bool:
            answer = await gateway.get("/channels")
            return set(answer.json()["channels"]) == {"orders", "presence-room", "private-a"}

        await eventually_async(occupied)

    confined = redis_server.url.replace("unix://", "unix://broadcaster:PASSWORD@")
    with redis.Redis.from_url(confined) as user:
        for words in (
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "SET", "maxmemory", "1"),
            ("GET", "somebody-elses"),
            ("PUBLISH", "somebody-elses", "x"),
            ("EVAL", "return redis.call('GET', 'somebody-elses')", "0"),
            ("DEBUG", "SLEEP", "0"),
            ("SHUTDOWN", "NOSAVE"),
            ("MODULE", "LIST"),
            ("ACL", "LIST"),
        ):
            with pytest.raises(redis.ResponseError):
                user.execute_command(*words)
