"""From a fact in the queue to a request at a receiver, over real Redis and real sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pusher import Pusher  # type: ignore[import-untyped]  # it has no types

from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.failed import RedisFailedJobs
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.fact_jobs import (
    WEBHOOK_QUEUE,
    Delivery,
    delivery_id,
    encode_delivery,
)
from broadcaster.protocol.facts import FACT_QUEUE
from tests.polling import eventually, eventually_async
from tests.webhooks.receiving import HANG, WebhookReceiver, receiving
from tests.webhooks.webhook_world import APP, WebhookWorld, fact

if TYPE_CHECKING:
    from broadcaster.protocol.facts import Fact

pytestmark = pytest.mark.redis


def _bodies(jobs: Any) -> list[bytes]:
    bodies: list[bytes] = list(jobs.values())
    return bodies


def told() -> list[Fact]:
    return [
        fact("orders"),
        fact("orders", "channel_vacated"),
        fact("presence-room", "member_added", user_id="7"),
        fact("presence-room", "member_removed", user_id="7"),
        fact("presence-room", "client_event", event="client-x", data='{"a":1}', socket_id="1.2"),
        fact("cache-news", "cache_miss"),
        fact("orders", "subscription_count", subscription_count=3),
    ]


async def test_the_python_library_accepts_what_is_sent(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    library = Pusher(app_id=APP.id, key=APP.key, secret=APP.secret)

    async with world.service(Webhook(url=receiver.url)):
        await world.put(*told())
        await receiver.got(7)

    for request in receiver.requests:
        assert request.header("Content-Type") == "application/json"
        key, signature = request.header("X-Pusher-Key"), request.header("X-Pusher-Signature")
        checked = library.validate_webhook(key, signature, request.body.decode())
        assert checked is not None
        assert len(checked["events"]) == 1
        assert library.validate_webhook(key, signature, request.body.decode() + " ") is None
    by_name = {event["name"]: event for event in receiver.events}
    assert by_name == {
        "channel_occupied": {"name": "channel_occupied", "channel": "orders"},
        "channel_vacated": {"name": "channel_vacated", "channel": "orders"},
        "member_added": {"name": "member_added", "channel": "presence-room", "user_id": "7"},
        "member_removed": {"name": "member_removed", "channel": "presence-room", "user_id": "7"},
        "client_event": {
            "name": "client_event",
            "channel": "presence-room",
            "event": "client-x",
            "data": '{"a":1}',
            "socket_id": "1.2",
        },
        "cache_miss": {"name": "cache_miss", "channel": "cache-news"},
        "subscription_count": {
            "name": "subscription_count",
            "channel": "orders",
            "subscription_count": 3,
        },
    }


async def test_an_endpoint_gets_what_it_asked_for_with_its_own_headers(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    hook = Webhook(
        url=receiver.url,
        events=("channel_occupied",),
        channel_prefix="presence-",
        channel_suffix=".eu",
        headers=(("Authorization", "Bearer of news"), ("user-agent", "mine")),
    )

    async with world.service(hook):
        await world.put(fact("presence-a.us"), fact("private-a.eu"), fact("presence-a.eu"))
        await world.put(fact("presence-a.eu", "channel_vacated"))
        await world.nothing_waits()

    assert receiver.channels == ["presence-a.eu"]
    assert receiver.requests[0].header("Authorization") == "Bearer of news"
    assert receiver.requests[0].header("User-Agent") == "mine"
    assert receiver.requests[0].header("Host") == f"127.0.0.1:{receiver.port}"


async def test_facts_are_gathered_for_who_takes_batches(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with world.service(Webhook(url=receiver.url, batch=True), batch_seconds=0.5):
        facts = [fact(f"room-{number}") for number in range(120)]
        await world.put(*facts)
        await world.nothing_waits()

    assert sorted(receiver.channels) == sorted(one.channel for one in facts)
    sizes = [len(request.events) for request in receiver.requests]
    assert max(sizes) == 50
    assert len(sizes) < 20
    for request in receiver.requests:
        by_id = {one.id: one.channel for one in facts}
        assert [by_id[name] for name in request.ids] == [e["channel"] for e in request.events]


async def test_what_is_refused_comes_again_under_its_id(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    answers = iter([500, 404, 200])
    receiver.answer = lambda _: next(answers)
    one = fact()

    async with world.service(Webhook(url=receiver.url)):
        await world.put(one)
        await receiver.got(3)
        await world.nothing_waits()

    assert [request.ids for request in receiver.requests] == [[one.id]] * 3
    assert {request.json["time_ms"] for request in receiver.requests} == {one.time_ms}
    assert await world.failed() == []


async def test_a_redirect_is_not_followed(
    world: WebhookWorld, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving() as other, world.service(Webhook(url=receiver.url)):
        receiver.answer = lambda _: 307
        receiver.extra = f"Location: {other.url}\r\n\r\n".encode()
        await world.put(fact())
        await receiver.got(2)

        assert other.requests == []
    assert "the answer was 307: redirects are not followed" in caplog.text


async def test_five_minutes_after_the_fact_it_is_given_up(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 503
    old = fact(time_ms=int((time.time() - 301) * 1000))

    async with world.service(Webhook(url=receiver.url + "?token=secret")):
        await world.put(old)
        await world.nothing_waits()
        (job,) = await world.failed()

        assert (job.queue, job.reason, job.attempts) == (WEBHOOK_QUEUE, "status_503", 1)
        assert job.error == f"{receiver.url}: the answer was 503, not 2xx"
        assert len(receiver.requests) == 1
        now_ms = time.time() * 1000
        assert 200_000 < now_ms - receiver.requests[0].json["time_ms"] < 290_000


async def test_a_private_address_is_refused_at_once_unless_it_is_allowed(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with world.service(Webhook(url=receiver.url), allow_private=False):
        await world.put(fact())
        await world.nothing_waits()
        (job,) = await world.failed()

    assert job.reason == "address_refused"
    assert "127.0.0.1 is this machine" in job.error
    assert receiver.connections == 0


async def test_what_failed_can_be_sent_again_by_hand(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 503
    async with world.service(Webhook(url=receiver.url)):
        await world.put(fact(time_ms=int((time.time() - 400) * 1000)))
        await world.nothing_waits()
        receiver.answer = lambda _: 200
        (job,) = await world.failed()

        assert await asyncio.to_thread(RedisFailedJobs(world.clients).retry, [job.id]) == [job.id]
        await receiver.got(2)
        await world.nothing_waits()
        assert [job.retried_at is None for job in await world.failed()] == [False]


async def test_a_receiver_that_hangs_holds_up_nobody_else(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with AsyncExitStack() as stack:
        dead = await stack.enter_async_context(receiving())
        dead.answer = lambda _: HANG
        hooks = [Webhook(url=dead.url, events=("cache_miss",))]
        hooks.append(Webhook(url=receiver.url, events=("channel_occupied",)))
        async with world.service(*hooks):
            await world.put(*(fact(f"cache-{number}", "cache_miss") for number in range(2_000)))
            await eventually(lambda: dead.requests)

            await world.put(*(fact(f"room-{number}") for number in range(20)))
            await receiver.got(20)

            assert len(receiver.channels) == 20
            assert dead.most_at_once <= 10
            waiting = await world.sizes()
            assert waiting.ready + waiting.delayed + waiting.held > 1_900
            await stack.aclose()  # or the service would wait for it before it ends


async def test_a_webhook_whose_endpoint_is_gone_is_dropped_and_said(
    world: WebhookWorld, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    old = fact(time_ms=int((time.time() - 400) * 1000))
    body = encode_delivery(Delivery(url=receiver.url, fact=old))
    await world.queue.apush([NewJob(delivery_id(old, receiver.url), WEBHOOK_QUEUE, body)])

    async with world.service(app=replace(APP, webhooks=())):
        await world.nothing_waits()

    assert receiver.requests == []
    assert "app '1234' has no such webhook any more" in caplog.text
    assert await world.failed() == []


async def test_a_gateway_with_older_settings_leaves_a_new_endpoint_to_others(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    one = fact()
    body = encode_delivery(Delivery(url=receiver.url, fact=one))
    await world.queue.apush([NewJob(delivery_id(one, receiver.url), WEBHOOK_QUEUE, body)])

    async def given_back() -> bool:
        return (await world.sizes()).delayed == 1

    async with world.service(app=replace(APP, webhooks=())):
        await eventually_async(given_back)
    async with world.service(Webhook(url=receiver.url)):
        await receiver.got(1)


async def test_nothing_of_an_unknown_app_is_told(
    world: WebhookWorld, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.service(Webhook(url=receiver.url)):
        await world.put(fact(app_id="999", time_ms=int((time.time() - 400) * 1000)))
        await world.nothing_waits()

    assert receiver.requests == []
    assert "there is no such app any more" in caplog.text


async def test_no_secret_lies_in_redis_or_in_the_log(
    world: WebhookWorld, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda _: 500
    hook = Webhook(url=receiver.url + "?k=query", headers=(("Authorization", "Bearer header"),))

    async with world.service(hook):
        await world.put(fact(name="client_event", event="client-x", data="payload"))
        await receiver.got(1)
        redis = world.clients.sync
        bodies = b"".join(
            body
            for queue in (FACT_QUEUE, WEBHOOK_QUEUE)
            for body in _bodies(redis.hgetall(world.clients.keys.queue(queue, "jobs")))
        )

    assert b"client-x" in bodies
    for secret in (APP.secret, "Bearer header"):
        assert secret.encode() not in bodies
    for secret in (APP.secret, "Bearer header", "query", "payload"):
        assert secret not in caplog.text


async def test_a_stopped_service_leaves_the_rest_in_the_queue(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda _: 500
    async with world.service(Webhook(url=receiver.url)):
        await world.put(fact("a"), fact("b"), fact("c"))
        await receiver.got(3)

    async def all_given_back() -> bool:
        sizes = await world.sizes()
        return sizes.held == 0 and sizes.delayed + sizes.ready == 3

    await eventually_async(all_given_back)
    tried = len(receiver.channels)
    receiver.answer = lambda _: 200
    async with world.service(Webhook(url=receiver.url)):
        await world.nothing_waits()
    assert sorted(receiver.channels[tried:]) == ["a", "b", "c"]


async def test_a_gateway_may_leave_it_to_others(
    world: WebhookWorld, receiver: WebhookReceiver
) -> None:
    async with world.service(Webhook(url=receiver.url), drain=False):
        await world.put(fact())
        async with world.service(Webhook(url=receiver.url)):
            await receiver.got(1)
