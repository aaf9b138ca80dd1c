"""Apps of one server that use the same names never meet (S3, S16)."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from broadcaster.contracts.apps import App, AppLimits, StaticApps, Webhook
from broadcaster.protocol.signing import sign_channel, sign_request, sign_user
from broadcaster.settings import Settings, WebhookSettings
from broadcaster.testing.client import SUCCEEDED
from broadcaster.wiring.webhooks import WebhookService
from tests.gateway.world import APP
from tests.polling import eventually
from tests.webhooks.receiving import receiving

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

pytestmark = pytest.mark.redis

LIMITS = AppLimits(subscription_counts=True)
SHOP = replace(APP, limits=LIMITS)
BLOG = App(id="5678", key="blog-key", secret="b" * 32, limits=LIMITS)
ADA = {"user_id": "ada", "user_info": {"name": "Ada"}}
GRACE = {"user_id": "grace", "user_info": {"name": "Grace"}}
ADDED, COUNT = "pusher_internal:member_added", "pusher_internal:subscription_count"
ERROR = "pusher:subscription_error"


class Pair(NamedTuple):
    """One gateway, as each of two apps sees it."""

    shop: RunningGateway
    blog: RunningGateway


@pytest.fixture
async def pair(start_gateway: StartGateway) -> Pair:
    gateway = await start_gateway(app=SHOP, listed=(SHOP, BLOG))
    return Pair(gateway, gateway.speaking_for(BLOG))


async def test_events_stay_in_their_app(pair: Pair) -> None:
    async with pair.shop.connect() as shop, pair.blog.connect() as blog:
        for client in (shop, blog):
            await client.subscribe("private-orders")
        await pair.shop.publish("private-orders", "shop-event")
        await pair.blog.publish("private-orders", "blog-event")
        await shop.next("shop-event")
        await blog.next("blog-event")
        await shop.settle()
        await blog.settle()

    assert shop.received("blog-event") == []
    assert blog.received("shop-event") == []


async def test_members_stay_in_their_app(pair: Pair) -> None:
    async with pair.shop.connect() as shop, pair.blog.connect() as blog:
        await shop.subscribe("presence-room", ADA)
        success = await blog.subscribe("presence-room", GRACE)
        users = [(await one.get("/channels/presence-room/users")).json() for one in pair]
        await shop.settle()

    assert success is not None
    assert success.data["presence"]["ids"] == ["grace"]
    assert users == [{"users": [{"id": "ada"}]}, {"users": [{"id": "grace"}]}]
    assert shop.received(ADDED) == []


async def test_cached_events_and_counts_stay_in_their_app(pair: Pair) -> None:
    await pair.shop.publish("cache-news", "headline", '"of the shop"')
    async with pair.shop.connect() as shop, pair.blog.connect() as blog:
        await shop.subscribe("cache-news")
        await shop.next("headline")
        await blog.subscribe("cache-news")
        await blog.next("pusher:cache_miss")
        counts = [(await client.next(COUNT)).data for client in (shop, blog)]
        channels = [(await one.get("/channels")).json() for one in pair]

    assert counts == [{"subscription_count": 1}] * 2
    assert channels == [{"channels": {"cache-news": {}}}] * 2
    assert blog.received("headline") == []


async def test_what_is_missed_is_not_filled_from_another_app(pair: Pair) -> None:
    """Positions and history are each app's own: both begin at one."""
    for number in range(3):
        await pair.shop.publish("orders", "old", json.dumps(number))
    async with pair.blog.connect() as blog:
        await blog.subscribe("orders")
        await pair.blog.publish("orders", "new")
        await blog.next("new")

    assert blog.received("old") == []


async def test_whispers_stay_in_their_app(pair: Pair) -> None:
    async with (
        pair.shop.connect() as shop,
        pair.shop.connect() as friend,
        pair.blog.connect() as blog,
    ):
        for client in (shop, friend, blog):
            await client.subscribe("private-room")
        await shop.whisper("private-room", "typing", "x")
        await friend.next("client-typing")
        await blog.settle()

    assert blog.received("client-typing") == []


async def test_users_stay_in_their_app(pair: Pair) -> None:
    """One user id in two apps is two users: messages, and being sent away."""
    async with pair.shop.connect() as shop, pair.blog.connect() as blog:
        for client in (shop, blog):
            await client.sign_in({"id": "ada"})
        await pair.shop.publish("#server-to-user-ada", "hello")
        await shop.next("hello")
        await blog.settle()
        answer = await pair.shop.post("/users/ada/terminate_connections", b"{}")
        await shop.wait_closed()
        await blog.settle()

    assert answer.status_code == 200
    assert blog.received("hello") == []
    assert blog.closed is None or blog.closed[0] != 4009


async def test_webhooks_go_to_the_app_s_own_receiver_under_its_key(
    start_gateway: StartGateway, clients: RedisClients
) -> None:
    async with receiving() as of_shop_only, receiving() as of_blog_only:
        apps = tuple(
            replace(app, webhooks=(Webhook(url=receiver.url, events=("channel_occupied",)),))
            for app, receiver in ((SHOP, of_shop_only), (BLOG, of_blog_only))
        )
        gateway = await start_gateway(app=apps[0], listed=apps)
        settings = Settings(app=apps[0], listed=apps, webhooks=WebhookSettings(allow_private=True))
        service = WebhookService(settings, StaticApps(*apps), clients)
        service.start()
        async with gateway.connect() as shop, gateway.speaking_for(apps[1]).connect() as blog:
            await shop.subscribe("of-the-shop")
            await blog.subscribe("of-the-blog")
            for receiver in (of_shop_only, of_blog_only):
                await receiver.got(1)
        await service.aclose()

    for receiver, app, channel in (
        (of_shop_only, SHOP, "of-the-shop"),
        (of_blog_only, BLOG, "of-the-blog"),
    ):
        assert [event["channel"] for event in receiver.events] == [channel]
        assert receiver.requests[0].header("X-Pusher-Key") == app.key


# -- credentials of another -----------------------------------------------------------


def of_shop(client: PusherClient, channel: str, data: str | None = None) -> str:
    return sign_channel(
        SHOP.key, SHOP.secret, socket_id=client.socket_id, channel=channel, channel_data=data
    )


def with_the_secret_of_shop(client: PusherClient, channel: str) -> str:
    return sign_channel(BLOG.key, SHOP.secret, socket_id=client.socket_id, channel=channel)


@pytest.mark.parametrize(
    ("sign", "cause"),
    [
        (of_shop, "signed for another app of this server"),
        (with_the_secret_of_shop, "signed with the secret of another app of this server"),
    ],
)
async def test_a_signature_of_another_app_is_refused_and_the_log_says_why(
    pair: Pair,
    caplog: pytest.LogCaptureFixture,
    sign: Callable[[PusherClient, str], str],
    cause: str,
) -> None:
    """The client is not told: which apps a server has is nobody's business."""
    caplog.set_level(logging.INFO, "broadcaster.gateway")
    async with pair.blog.connect() as client:
        auth = sign(client, "private-orders")
        await client.send(
            {"event": "pusher:subscribe", "data": {"channel": "private-orders", "auth": auth}}
        )
        refused = await client.next(ERROR)

    assert (refused.data["type"], refused.data["status"]) == ("AuthError", 401)
    assert "another app" not in json.dumps(refused.data)
    lines = [record for record in caplog.records if getattr(record, "event", "") == "denied"]
    assert [getattr(record, "app", None) for record in lines] == [BLOG.id]
    assert cause in lines[0].getMessage()
    assert SHOP.secret not in caplog.text
    assert auth not in caplog.text


async def test_a_sign_in_of_another_app_is_refused(pair: Pair) -> None:
    async with pair.blog.connect() as client:
        data = '{"id":"ada"}'
        for key, secret in ((SHOP.key, SHOP.secret), (BLOG.key, SHOP.secret)):
            auth = sign_user(key, secret, socket_id=client.socket_id, user_data=data)
            await client.send({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}})
            error = await client.next("pusher:error")
            assert error.data["code"] == 4009


ROUTES: list[tuple[str, str, bytes]] = [
    ("POST", "/events", b'{"name":"e","channel":"orders","data":"{}"}'),
    ("POST", "/batch_events", b'{"batch":[{"name":"e","channel":"orders","data":"{}"}]}'),
    ("GET", "/channels", b""),
    ("GET", "/channels/orders", b""),
    ("GET", "/channels/presence-room/users", b""),
    ("GET", "/connections", b""),
    ("POST", "/users/ada/terminate_connections", b"{}"),
]


@pytest.mark.parametrize(("method", "route", "body"), ROUTES)
@pytest.mark.parametrize(
    ("key", "secret"),
    [(SHOP.key, SHOP.secret), (BLOG.key, SHOP.secret), (SHOP.key, BLOG.secret)],
    ids=["both", "secret", "key"],
)
async def test_credentials_of_another_app_open_no_route(
    pair: Pair, method: str, route: str, body: bytes, key: str, secret: str
) -> None:
    path = f"/apps/{BLOG.id}{route}"
    async with pair.blog.connect() as client:
        await client.subscribe("orders")
        params = sign_request(
            key, secret, method=method, path=path, body=body, params={}, now=time.time()
        )
        answer = await pair.blog.http.request(method, path, params=params, content=body or None)
        await client.settle()

    assert answer.status_code == 401
    assert client.received("e") == []
    assert SHOP.secret not in answer.text
    assert BLOG.secret not in answer.text


async def test_a_full_app_does_not_keep_another_out(start_gateway: StartGateway) -> None:
    """Limits are each app's own: connections, channels, messages."""
    small = replace(SHOP, limits=AppLimits(max_connections=1, max_channels=1))
    gateway = await start_gateway(app=small, listed=(small, BLOG))
    blog = gateway.speaking_for(BLOG)
    async with gateway.connect() as only, blog.connect() as one, blog.connect() as two:
        async with gateway.connect(established=False) as second:
            code, _ = await second.wait_closed()
        await only.subscribe("a")
        await only.subscribe("b", wait=False)
        await only.next(ERROR, channel="b")
        for client in (one, two):
            await client.subscribe("a")
            await client.subscribe("b")
        await eventually(lambda: gateway.node.census.count(BLOG.id) == 2)

    assert code == 4100


async def test_an_app_whose_revocations_cannot_be_read_does_not_hold_another_up(
    pair: Pair, clients: RedisClients
) -> None:
    revoked = clients.keys.of_app(SHOP.id, "revoked")
    await clients.aio.set(revoked, "no hash")
    async with pair.shop.connect() as shop, pair.blog.connect() as blog:
        await shop.subscribe("orders", wait=False)
        await blog.subscribe("orders")
        before = shop.received(SUCCEEDED)
        await clients.aio.delete(revoked)
        await shop.next(SUCCEEDED, channel="orders")

    assert before == []
