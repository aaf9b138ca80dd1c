"""Webhooks of real gateway processes: what they hear from clients, and what a kill leaves."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.mounting import mounted_gateway
from broadcaster.protocol.app import Webhook
from broadcaster.settings import QueueSettings, Settings, WebhookSettings
from broadcaster.testing.client import connected
from tests.gateway.processes import serve_process
from tests.polling import eventually
from tests.webhooks.receiving import HANG, Received, WebhookReceiver
from tests.webhooks.webhook_world import APP, WebhookWorld, fact

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.gateway.processes import ServeProcess

pytestmark = pytest.mark.redis


def serving(
    world: WebhookWorld, *hooks: dict[str, Any]
) -> AbstractAsyncContextManager[ServeProcess]:
    more: dict[str, Any] = {
        "BROADCASTER_APP__WEBHOOKS": json.dumps(hooks),
        "BROADCASTER_WEBHOOKS__ALLOW_PRIVATE": "true",
        "BROADCASTER_WEBHOOKS__TIMEOUT": "2",
        "BROADCASTER_QUEUE__LEASE": "1",
    }
    return serve_process(world.clients.url, world.clients.prefix, **more)


async def test_a_client_event_is_told_with_who_sent_it(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with (
        serving(world, {"url": receiver.url, "events": ["client_event"]}) as gateway,
        connected(f"ws://127.0.0.1:{gateway.port}", APP) as client,
    ):
        await client.subscribe("presence-room", {"user_id": 7})
        await client.whisper("presence-room", "typing", {"a": "ü"})
        (request,) = await receiver.got(1)

    (event,) = request.events
    assert json.loads(event.pop("data")) == {"a": "ü"}
    assert event == {
        "name": "client_event",
        "channel": "presence-room",
        "event": "client-typing",
        "socket_id": client.socket_id,
        "user_id": "7",
    }


async def test_who_comes_and_goes_is_told_once(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with serving(world, {"url": receiver.url, "batch": True}) as gateway:
        url = f"ws://127.0.0.1:{gateway.port}"
        async with connected(url, APP) as client, connected(url, APP) as tab:
            for one in (client, tab):
                await one.subscribe("presence-room", {"user_id": "ada"})
            await eventually(lambda: len(receiver.events) == 2, within=15)
        await eventually(lambda: len(receiver.events) == 4, within=15)
        await world.nothing_waits()

    names = [event["name"] for event in receiver.events]
    assert sorted(names[:2]) == ["channel_occupied", "member_added"]
    assert sorted(names[2:]) == ["channel_vacated", "member_removed"]
    assert {event["channel"] for event in receiver.events} == {"presence-room"}
    assert {event.get("user_id") for event in receiver.events} == {None, "ada"}


async def test_a_killed_gateway_loses_no_webhook(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    """Some were waiting for a retry, some on their way: the next gateway sends them all."""
    accepted: set[str] = set()
    well = False

    def answer(request: Received) -> int:
        if well or request.channels_end_with("0"):
            accepted.update(request.ids)
            return 200
        return 500 if request.channels_end_with("1") else HANG

    receiver.answer = answer
    facts = [fact(f"room-{number}") for number in range(60)]
    async with serving(world, {"url": receiver.url}) as gateway:
        await world.put(*facts)
        await receiver.got(10)
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()

    assert accepted != {one.id for one in facts}
    well = True
    async with serving(world, {"url": receiver.url}):
        await eventually(lambda: accepted == {one.id for one in facts}, within=40)
        await world.nothing_waits(within=40)
    assert await world.failed() == []


async def test_a_stopped_gateway_ends_in_good_order(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: HANG
    async with serving(world, {"url": receiver.url}) as gateway:
        await world.put(fact())
        await receiver.got(1)
        gateway.process.send_signal(signal.SIGTERM)

        assert await gateway.process.wait() == 0
    sizes = await world.sizes()
    assert sizes.held == 0
    assert sizes.ready + sizes.delayed == 1


async def test_a_mounted_gateway_sends_them_too(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    from dataclasses import replace

    settings = Settings(
        app=replace(APP, webhooks=(Webhook(url=receiver.url),)),
        redis_url=world.clients.url,
        prefix=world.clients.prefix,
        queue=QueueSettings(lease=2.0),
        webhooks=WebhookSettings(allow_private=True),
    )
    gateway = mounted_gateway(settings)

    async with gateway.lifespan(None):
        await world.put(fact())
        await receiver.got(1)
