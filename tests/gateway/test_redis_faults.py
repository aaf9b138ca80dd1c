"""Redis frozen, restarted and emptied under a gateway that goes on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.world import RunningGateway

pytestmark = pytest.mark.redis

ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE = {"user_id": "grace", "user_info": {"name": "Grace"}}
ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"
BACK = 5.0  # seconds in which everything works again


async def published(gateway: RunningGateway, channel: str, numbers: range) -> list[int]:
    """Publish numbered events and return those that were accepted."""
    accepted = []
    for number in numbers:
        answer = await gateway.publish(channel, "numbered", json.dumps(number))
        if answer.status_code == 200:
            accepted.append(number)
        else:
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["error"]["code"] == "driver_unavailable"
    return accepted


async def numbers_of(client: PusherClient, accepted: Iterable[int]) -> list[int]:
    """Wait until the numbered events that were accepted have arrived; return all, in order."""
    wanted = set(accepted)
    await eventually(lambda: wanted <= set(client.received("numbered")), within=15)
    await client.settle()
    return client.received("numbered")


async def test_a_frozen_redis_is_said_and_outlived(redis_server: FaultyServer) -> None:
    """Sockets stay, /ready turns, publishes fail fast, and nothing accepted is lost."""
    async with (
        running_gateway(redis_server.url, "frozen", lease=15) as gateway,
        gateway.connect() as client,
        gateway.connect() as late,
    ):
        await client.subscribe("orders")
        await client.subscribe("presence-room", ADA)
        accepted = await published(gateway, "orders", range(5))

        redis_server.freeze()
        frozen = time.monotonic()
        try:
            asked = time.monotonic()
            refused = await published(gateway, "orders", range(5, 6))
            took = time.monotonic() - asked
            await eventually_async(lambda: _not(gateway.is_ready()), within=5)
            # A subscription is not refused for a passing reason: its answer waits.
            await late.subscribe("presence-room", GRACE, wait=False)
            await client.settle()
            await asyncio.sleep(max(0.0, 5 - (time.monotonic() - frozen)))
        finally:
            redis_server.thaw()

        await eventually_async(gateway.is_ready, within=BACK)
        await late.next("pusher_internal:subscription_succeeded", within=BACK)
        accepted += await published(gateway, "orders", range(6, 10))
        got = await numbers_of(client, accepted)
        await client.next(ADDED)

    assert refused == []
    assert took < 3
    # An event whose publish was refused may still have been carried out: never twice, never lost.
    assert set(accepted) <= set(got)
    assert sorted(got) == got == sorted(set(got))
    assert client.received("pusher:resync") == []


async def test_a_restart_with_its_file_loses_nothing(redis_server: FaultyServer) -> None:
    async with (
        running_gateway(redis_server.url, "kept", lease=15) as gateway,
        gateway.connect() as client,
        gateway.connect() as other,
    ):
        await client.subscribe("orders")
        await client.subscribe("presence-room", ADA)
        await other.subscribe("presence-room", GRACE)
        accepted = await published(gateway, "orders", range(5))

        redis_server.restart(keep_data=True)

        await eventually_async(gateway.is_ready, within=BACK)
        accepted += await published(gateway, "orders", range(5, 10))
        got = await numbers_of(client, accepted)
        users = (await gateway.get("/channels/presence-room/users")).json()
        await other.unsubscribe("presence-room")
        await client.next(REMOVED)

    assert got == accepted
    assert client.received("pusher:resync") == []
    assert users == {"users": [{"id": "ada"}, {"id": "grace"}]}
    assert client.received(ADDED) == [GRACE]
    assert client.received(REMOVED) == [{"user_id": "grace"}]


async def test_events_published_while_pubsub_is_down_are_filled_in(
    redis_server: FaultyServer,
) -> None:
    """The connection that carries events falls; what was published meanwhile comes after all."""
    from broadcaster.drivers.redis.client import RedisClients

    async with (
        running_gateway(redis_server.url, "gap", lease=15) as gateway,
        gateway.connect() as client,
    ):
        await client.subscribe("orders")
        accepted = await published(gateway, "orders", range(3))
        await client.next("numbered")
        killer = RedisClients(redis_server.url)
        kill = asyncio.create_task(_keep_killing_pubsub(killer))
        accepted += await published(gateway, "orders", range(3, 23))
        kill.cancel()
        await asyncio.gather(kill, return_exceptions=True)
        await killer.aclose()
        got = await numbers_of(client, accepted)

    assert got == accepted
    assert client.received("pusher:resync") == []


async def test_an_empty_redis_is_filled_again_and_the_loss_is_said(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.gateway.presence.RECOVERY_SECONDS", 1.0)
    async with (
        running_gateway(redis_server.url, "empty", lease=15) as gateway,
        gateway.connect() as client,
        gateway.connect() as other,
        gateway.connect() as quiet,
    ):
        await client.subscribe("orders")
        await quiet.subscribe("untouched")
        await client.subscribe("presence-room", ADA)
        await other.subscribe("presence-room", GRACE)
        await client.next(ADDED)
        await published(gateway, "orders", range(5))
        await numbers_of(client, range(5))

        redis_server.restart(keep_data=False)

        back = time.monotonic()
        resync = await client.next("pusher:resync", within=BACK)
        await eventually_async(gateway.is_ready, within=BACK)
        assert (await gateway.publish("orders", "after")).status_code == 200
        await client.next("after", within=BACK)
        assert time.monotonic() - back < BACK
        fresh = await client.next("pusher_internal:subscription_succeeded", channel="presence-room")
        await quiet.settle()
        users = (await gateway.get("/channels/presence-room/users")).json()
        channels = (await gateway.get("/channels")).json()["channels"]

    assert (resync.channel, resync.data) == ("orders", {"reason": "data_lost"})
    assert sorted(fresh.data["presence"]["ids"]) == ["ada", "grace"]
    assert sorted(user["id"] for user in users["users"]) == ["ada", "grace"]
    assert sorted(channels) == ["orders", "presence-room", "untouched"]
    # Nothing was lost on a channel that never had an event, and nobody came or went.
    assert quiet.received("pusher:resync") == []
    assert client.received(ADDED) == [GRACE]
    assert client.received(REMOVED) == []


async def _not(answer: object) -> bool:
    assert asyncio.iscoroutine(answer)
    return not await answer


async def _keep_killing_pubsub(clients: object) -> None:
    from broadcaster.drivers.redis.client import RedisClients

    assert isinstance(clients, RedisClients)
    while True:
        await clients.aio.execute_command("CLIENT", "KILL", "TYPE", "pubsub")  # type: ignore[no-untyped-call] # redis-py left it so
        await asyncio.sleep(0.05)


async def test_a_list_that_cannot_be_used_costs_no_gateway_its_lease(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are registered under the next epoch; it is when it is repaired."""
    monkeypatch.setattr("broadcaster.gateway.presence.REFUSED_SECONDS", 0.05)
    clients = RedisClients(redis_server.url, "poison")
    bad = clients.keys.channel(APP.id, "presence-bad", "p:connections")
    async with (
        running_gateway(redis_server.url, "poison", lease=1.5) as gateway,
        gateway.connect() as client,
    ):
        for room in ("presence-bad", "presence-good"):
            await client.subscribe(room, ADA)
        await gateway.node.counts_settled()
        keeper, presence = gateway.node._lease, gateway.node._stores.presence
        await clients.aio.rename(bad, b"elsewhere")
        await clients.aio.set(bad, "garbage")
        await clients.aio.delete(clients.keys.nodes("leases"))
        keeper.wake()

        async def settled() -> bool:
            lease = await keeper.current()
            return lease.epoch > 1 and not keeper._unregistered

        await eventually_async(settled)
        for _ in range(3):
            await keeper.confirm()
        epoch = (await keeper.current()).epoch
        counts = await presence.counts(APP.id, ["presence-bad", "presence-good"])
        await clients.aio.delete(bad)
        key = f"{gateway.node.options.name}:{epoch}:{client.socket_id}"

        async def registered() -> bool:
            return await clients.aio.hexists(bad, key)

        await eventually_async(registered)
    await clients.aclose()

    assert epoch == 2
    assert counts == [1, 1]
