"""Several gateways on one Redis behave as one; one that dies is cleaned up after."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from broadcaster.testing.client import SUCCEEDED
from tests.gateway.processes import serve_process
from tests.gateway.world import running_gateway

if TYPE_CHECKING:
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway

ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE = {"user_id": "grace", "user_info": {"name": "Grace"}}
ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"
NOISE = 3.0  # for a machine that is busy with other things


async def test_subscribers_of_both_see_one_order(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as a, right.connect() as b:
        await a.subscribe("orders")
        await b.subscribe("orders")

        sent = [(which, n) for n in range(30) for which in ("left", "right")]
        gateways = {"left": left, "right": right}
        answers = await asyncio.gather(
            *(gateways[which].publish("orders", "e", json.dumps([which, n])) for which, n in sent)
        )
        await left.publish("orders", "end")
        await a.next("end")
        await b.next("end")

    accepted = {one for one, answer in zip(sent, answers, strict=True) if answer.is_success}
    heard = [tuple(data) for data in a.received("e")]
    assert accepted
    assert accepted <= set(heard)  # what a busy machine made Redis too slow for may be there too
    assert len(heard) == len(set(heard))
    assert a.received("e") == b.received("e")


async def test_a_socket_is_excluded_wherever_it_is_connected(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as sender, right.connect() as other:
        await sender.subscribe("orders")
        await other.subscribe("orders")

        await right.publish("orders", "mine", socket_id=sender.socket_id)
        await right.publish("orders", "end")
        await sender.next("end")
        await other.next("end")

    assert sender.received("mine") == []
    assert len(other.received("mine")) == 1


async def test_presence_is_one_list(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as a, right.connect() as watcher:
        await watcher.subscribe("presence-room", GRACE)
        async with right.connect() as tab:
            await a.subscribe("presence-room", ADA)
            success = await tab.subscribe("presence-room", ADA)
            await watcher.next(ADDED)
            users = (await left.get("/channels/presence-room/users")).json()
        await a.unsubscribe("presence-room")
        await watcher.next(REMOVED)

    assert success is not None
    assert success.data["presence"]["ids"] == ["grace", "ada"]
    assert users == {"users": [{"id": "grace"}, {"id": "ada"}]}
    assert len(watcher.received(ADDED)) == 1
    assert len(watcher.received(REMOVED)) == 1


async def test_whispers_cross_gateways(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as a, right.connect() as b:
        await a.subscribe("private-room")
        await b.subscribe("private-room")
        await a.whisper("private-room", "typing", "now")
        await b.next("client-typing")
        await a.settle()

    assert a.received("client-typing") == []


@pytest.mark.process
async def test_members_of_a_killed_gateway_are_announced_as_gone_once(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    """Within the lease and two seconds; the other gateway goes on."""
    lease = 2.0
    survivor = await start_gateway(lease=lease)
    async with (
        serve_process(redis_url, prefix, lease=lease) as victim,
        survivor.connect() as watcher,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(victim.connect()) for _ in range(5)]
        await watcher.subscribe("presence-room", GRACE)
        for number, client in enumerate(clients):
            await client.subscribe("presence-room", {"user_id": f"user{number % 3}"})
        for _ in range(3):
            await watcher.next(ADDED)
        # One of the three is present through the survivor too, and so never goes.
        async with survivor.connect() as second_tab:
            await second_tab.subscribe("presence-room", {"user_id": "user0"})
            victim.kill()
            killed = time.monotonic()
            await watcher.next(REMOVED)
            await watcher.next(REMOVED)
            took = time.monotonic() - killed
            await survivor.publish("presence-room", "still-alive")
            await watcher.next("still-alive")
            users = (await survivor.get("/channels/presence-room/users")).json()

    assert took < lease + 2 + NOISE
    assert sorted(m["user_id"] for m in watcher.received(REMOVED)) == ["user1", "user2"]
    assert users == {"users": [{"id": "grace"}, {"id": "user0"}]}


@pytest.mark.process
async def test_a_paused_gateway_comes_back_with_its_members(
    start_gateway: StartGateway, redis_url: str, prefix: str
) -> None:
    """Longer asleep than its lease: swept, then registered anew, each announced once."""
    survivor = await start_gateway(lease=1.0)
    async with (
        serve_process(redis_url, prefix, lease=1.0) as sleeper,
        survivor.connect() as watcher,
        sleeper.connect() as client,
    ):
        await watcher.subscribe("presence-room", GRACE)
        await client.subscribe("presence-room", ADA)
        await watcher.next(ADDED)
        with sleeper.paused():
            await watcher.next(REMOVED)
        await watcher.next(ADDED)
        fresh = await client.next(SUCCEEDED)
        await client.unsubscribe("presence-room")
        await watcher.next(REMOVED)
        await client.settle()

    assert sorted(fresh.data["presence"]["ids"]) == ["ada", "grace"]
    assert len(watcher.received(ADDED)) == 2
    assert len(watcher.received(REMOVED)) == 2


async def test_two_gateways_recover_from_an_empty_redis_together(
    redis_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list is told that not every gateway has come back to."""
    monkeypatch.setattr("broadcaster.gateway.presence.RECOVERY_SECONDS", 2.0)
    async with (
        running_gateway(redis_server.url, "both", lease=15) as left,
        running_gateway(redis_server.url, "both", lease=15) as right,
        left.connect() as a,
        right.connect() as b,
    ):
        await a.subscribe("presence-room", ADA)
        await b.subscribe("presence-room", GRACE)
        await a.next(ADDED)

        redis_server.restart(keep_data=False)

        lists = [await c.next(SUCCEEDED, within=15) for c in (a, b)]

    assert [sorted(f.data["presence"]["ids"]) for f in lists] == [["ada", "grace"]] * 2
    assert a.received(REMOVED) == []
    assert len(a.received(ADDED)) == 1
