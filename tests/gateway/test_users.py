"""Signed-in users: what is sent to them reaches them, and only them; and they can be sent away."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.drivers.redis.revocations import RedisRevocations
from broadcaster.errors import DriverError, DriverRefused, DriverUnavailable
from broadcaster.protocol.app import AppLimits
from broadcaster.protocol.revocation import revocation
from broadcaster.protocol.signing import sign_channel
from broadcaster.testing.client import SUCCEEDED
from tests.gateway.world import APP, running_gateway
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.testing.client import PusherClient
    from tests.faults import FaultyServer
    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

pytestmark = pytest.mark.redis

ADA = "#server-to-user-ada"
TERMINATED = (4009, "The connections of this user were terminated")


@pytest.fixture
async def store(clients: RedisClients) -> RedisRevocations:
    return RedisRevocations(clients)


def limited(**limits: Any) -> Any:
    return replace(APP, limits=replace(AppLimits(), **limits))


async def said(client: PusherClient, event: str = "hello") -> list[Any]:
    await client.settle()
    return client.received(event)


@pytest.mark.parametrize("failure", [DriverUnavailable("away"), DriverRefused("wrong type")])
async def test_a_sign_in_waits_for_a_store_that_fails(
    gateway: RunningGateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: DriverError,
) -> None:
    """While Redis is away the log is not filled with what the probe says already."""
    monkeypatch.setattr("broadcaster.gateway.users.REFUSED_SECONDS", 0.01)
    real, failures = RedisRevocations.moments, [failure, failure]

    async def moments(store: RedisRevocations, app_id: str, user_ids: Sequence[str]) -> list[float]:
        if failures:
            raise failures.pop()
        return await real(store, app_id, user_ids)

    monkeypatch.setattr(RedisRevocations, "moments", moments)
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada"})

        refused = isinstance(failure, DriverRefused)
        assert failures == []
        assert caplog.text.count("sign-ins wait") == (2 if refused else 0)


async def test_apps_whose_sign_ins_are_refused_rest_however_many_come(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def moments(_store: object, _app_id: str, user_ids: Sequence[str]) -> list[float]:
        asked.append(len(user_ids))
        raise DriverRefused("wrong type")

    monkeypatch.setattr(RedisRevocations, "moments", moments)
    async with AsyncExitStack() as stack:
        for number in range(5):
            client = await stack.enter_async_context(gateway.connect())
            await client.sign_in({"id": str(number)}, wait=False)
            await client.settle()

    assert asked == [1]


# -- sent to a user -------------------------------------------------------------------


async def test_what_is_sent_to_a_user_reaches_them_without_a_subscription(
    any_gateway: RunningGateway,
) -> None:
    async with any_gateway.connect() as ada, any_gateway.connect() as eve:
        answer = await ada.sign_in({"id": "ada", "user_info": {"name": "Ada"}})
        await eve.sign_in({"id": "eve"})

        await any_gateway.publish(ADA, "hello", "1")
        await ada.next("hello", channel=ADA)

        assert answer is not None
        assert json.loads(answer.data["user_data"])["id"] == "ada"
        assert await said(eve) == []


async def test_an_event_comes_once_to_who_subscribed_to_the_channel_too(
    gateway: RunningGateway,
) -> None:
    """pusher-js subscribes after signing in; other clients do not."""
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada"})
        await ada.subscribe(ADA)
        await gateway.publish(ADA, "hello", "1")
        await ada.next("hello")
        await ada.unsubscribe(ADA)
        await ada.settle()
        await gateway.publish(ADA, "hello", "2")
        await ada.next("hello")

        assert await said(ada) == [1, 2]


async def test_every_connection_of_a_user_gets_it_on_every_gateway_in_order(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as one, right.connect() as two, right.connect() as three:
        for client in (one, two, three):
            await client.sign_in({"id": "ada"})
        for number in range(20):
            await (left, right)[number % 2].publish(ADA, "hello", str(number))

        for client in (one, two, three):
            for _ in range(20):
                await client.next("hello")
            assert client.received("hello") == list(range(20))


async def test_nothing_is_missed_from_the_moment_of_success(gateway: RunningGateway) -> None:
    """A running flow: from the first event that came, there is no gap."""
    async with gateway.connect() as ada:
        flow = asyncio.create_task(_flow(gateway, 60))
        await ada.sign_in({"id": "ada"})
        await gateway.publish(ADA, "after")
        await ada.next("after")
        await flow
        await gateway.publish(ADA, "last")
        await ada.next("last")
        got = await said(ada)

    assert got == list(range(60 - len(got), 60))


async def _flow(gateway: RunningGateway, count: int) -> None:
    for number in range(count):
        await gateway.publish(ADA, "hello", str(number))


async def test_the_sender_can_be_left_out(gateway: RunningGateway) -> None:
    async with gateway.connect() as one, gateway.connect() as two:
        await one.sign_in({"id": "ada"})
        await two.sign_in({"id": "ada"})
        await gateway.publish(ADA, "hello", "1", socket_id=one.socket_id)
        await two.next("hello")

        assert await said(one) == []


async def test_sign_in_and_subscription_may_be_sent_together(gateway: RunningGateway) -> None:
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada"}, wait=False)
        await ada.subscribe(ADA, wait=False)
        await ada.next("pusher:signin_success")
        await ada.next(SUCCEEDED, channel=ADA)
        await gateway.publish(ADA, "hello", "1")
        await ada.next("hello")

        assert await said(ada) == [1]


async def test_signing_in_again_as_the_same_user_is_answered_and_as_another_refused(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada"})
        await ada.sign_in({"id": "ada"})
        await ada.sign_in({"id": "eve"}, wait=False)
        error = await ada.next("pusher:error")
        await gateway.publish(ADA, "hello", "1")
        await ada.next("hello")

        assert error.data["code"] == 4009
        assert "belongs to another user" in error.data["message"]
        assert ada.closed is None


async def test_a_connection_that_is_gone_leaves_nothing_behind(gateway: RunningGateway) -> None:
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada", "watchlist": ["eve", "bob"]})
        assert gateway.node.hub.channels

    await eventually(lambda: not gateway.node.hub.channels)


async def test_a_sign_in_waits_while_redis_is_away(redis_server: FaultyServer) -> None:
    async with (
        running_gateway(redis_server.url, "frozen", lease=15) as gateway,
        gateway.connect() as ada,
    ):
        redis_server.freeze()
        try:
            await ada.sign_in({"id": "ada"}, wait=False)
            await ada.settle()
            early = ada.received("pusher:signin_success")
        finally:
            redis_server.thaw()

        await ada.next("pusher:signin_success")
        await eventually(lambda: not gateway.node.reasons())
        await gateway.publish(ADA, "hello", "1")
        await ada.next("hello")
        assert early == []


# -- presence -------------------------------------------------------------------------


async def enter_unnamed(client: PusherClient, channel: str) -> None:
    """Subscribe to a presence channel without channel_data, as pusher-js does after sign-in."""
    auth = sign_channel(
        APP.key, APP.secret, socket_id=client.socket_id, channel=channel, channel_data=None
    )
    await client.send({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}})


async def test_a_signed_in_user_is_a_member_without_channel_data(gateway: RunningGateway) -> None:
    async with gateway.connect() as bob, gateway.connect() as ada:
        await bob.subscribe("presence-room", {"user_id": "bob"})
        await ada.sign_in({"id": "ada", "user_info": {"name": "Ada"}})
        await enter_unnamed(ada, "presence-room")
        entered = await ada.next(SUCCEEDED, channel="presence-room")
        added = await bob.next("pusher_internal:member_added")

        assert added.data == {"user_id": "ada", "user_info": {"name": "Ada"}}
        assert entered.data["presence"]["hash"] == {"bob": None, "ada": {"name": "Ada"}}


async def test_who_has_not_signed_in_is_no_member_without_channel_data(
    gateway: RunningGateway,
) -> None:
    async with gateway.connect() as client:
        await enter_unnamed(client, "presence-room")
        refused = await client.next("pusher:subscription_error", channel="presence-room")

        assert (refused.data["status"], refused.data["code"]) == (401, "member_missing")


async def test_a_number_as_member_id_stays_a_number_end_to_end(gateway: RunningGateway) -> None:
    async with gateway.connect() as first, gateway.connect() as second:
        await first.subscribe("presence-room", {"user_id": "7"})
        await second.subscribe("presence-room", {"user_id": 42})
        added = await first.next("pusher_internal:member_added")
        users = (await gateway.get("/channels/presence-room/users")).json()
        await second.unsubscribe("presence-room")
        removed = await first.next("pusher_internal:member_removed")

        assert added.data["user_id"] == 42
        assert removed.data["user_id"] == 42
        assert users == {"users": [{"id": "7"}, {"id": "42"}]}


# -- terminating ----------------------------------------------------------------------


async def test_every_connection_of_a_user_is_closed_and_nobody_elses(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as one, right.connect() as two, right.connect() as eve:
        await one.sign_in({"id": "ada"})
        await two.sign_in({"id": "ada"})
        await eve.sign_in({"id": "eve"})
        await eve.subscribe("presence-room", {"user_id": "ada"})

        await store.aterminate(APP.id, "ada")
        assert [await one.wait_closed(), await two.wait_closed()] == [TERMINATED] * 2

        await eve.settle()
        assert one.received("pusher:error") == [{"code": 4009, "message": TERMINATED[1]}]
        assert eve.closed is None


async def test_a_termination_is_of_one_app_alone(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    other = replace(APP, id="77", key="other-key")
    first, second = await start_gateway(), await start_gateway(app=other)
    async with first.connect() as here, second.connect() as there:
        await here.sign_in({"id": "ada"})
        await there.sign_in({"id": "ada", "watchlist": ["bob"]})
        async with first.connect() as bob:
            await bob.sign_in({"id": "bob"})
            await first.node.users.settled(within=5)
        await store.aterminate(APP.id, "ada")
        await here.wait_closed()
        await there.settle()

        assert there.closed is None
        assert there.watched() == []


async def test_who_signs_in_after_a_termination_stays(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    """However soon afterwards, and on whichever gateway."""
    left, right = await start_gateway(), await start_gateway()
    for _ in range(20):
        await store.aterminate(APP.id, "ada")
        async with left.connect() as one, right.connect() as two:
            await asyncio.gather(one.sign_in({"id": "ada"}), two.sign_in({"id": "ada"}))
            await one.settle()
            await two.settle()
            assert (one.closed, two.closed) == (None, None)


async def test_a_gateway_that_was_cut_off_closes_those_who_had_signed_in_before(
    redis_server: FaultyServer,
) -> None:
    """Its pub/sub connection was down when it was told, and it reads what it missed."""
    async with (
        running_gateway(redis_server.url, "cut", lease=15) as gateway,
        gateway.connect() as ada,
    ):
        await ada.sign_in({"id": "ada"})
        gateway.node.connection_lost()
        topic = gateway.node._stores.control(APP.id)
        gateway.node._revocations.received = lambda *_: None  # type: ignore[method-assign]
        await gateway.node._stores.revocations.aterminate(APP.id, "ada")
        await ada.settle()
        before = ada.closed
        gateway.node.subscribed(topic)

        assert await ada.wait_closed(within=5) == TERMINATED
        assert before is None


async def test_a_gateway_learns_late_and_spares_who_signed_in_since(
    start_gateway: StartGateway, store: RedisRevocations
) -> None:
    gateway = await start_gateway()
    gateway.node._revocations.received = lambda *_: None  # type: ignore[method-assign]
    async with gateway.connect() as before, gateway.connect() as after:
        await before.sign_in({"id": "ada"})
        await store.aterminate(APP.id, "ada")
        await after.sign_in({"id": "ada"})
        gateway.node.subscribed(gateway.node._stores.control(APP.id))

        assert await before.wait_closed() == TERMINATED
        await after.settle()
        assert after.closed is None


async def test_a_termination_is_not_forgotten_with_the_data_of_redis(
    redis_server: FaultyServer,
) -> None:
    """Written back by a node that knows it, it closes nobody who signed in since."""
    async with (
        running_gateway(redis_server.url, "lost", lease=15) as knowing,
        running_gateway(redis_server.url, "lost", lease=15) as other,
        knowing.connect() as eve,
        other.connect() as ada,
    ):
        await eve.sign_in({"id": "eve"})
        await knowing.node._stores.revocations.aterminate(APP.id, "ada")
        await eventually(lambda: len(knowing.node._revocations._apps[APP.id].table))
        redis_server.restart(keep_data=False)
        await ada.sign_in({"id": "ada"})
        await eventually(lambda: not knowing.node.reasons() and not other.node.reasons())
        await ada.settle()
        await eve.settle()

        assert (ada.closed, eve.closed) == (None, None)


async def test_a_revoked_user_is_signed_out_and_hears_nothing_more(
    gateway: RunningGateway, store: RedisRevocations, clients: RedisClients
) -> None:
    async with gateway.connect() as ada:
        await ada.sign_in({"id": "ada"})
        seconds, _ = await clients.aio.time()  # type: ignore[no-untyped-call] # redis-py has no types here
        await store.arevoke(APP.id, revocation("ada", None, now=seconds + 1.0))
        error = await ada.next("pusher:error")
        await gateway.publish(ADA, "hello", "1")

        assert error.data == {"code": 4009, "message": "Signed out: the sign-in was revoked"}
        assert await said(ada) == []
        assert ada.closed is None


# -- authorization in time ------------------------------------------------------------


async def test_who_is_not_authorized_in_time_is_closed_and_others_stay(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(app=limited(authorization_timeout=1.0))
    async with (
        gateway.connect() as public,
        gateway.connect() as private,
        gateway.connect() as user,
        gateway.connect() as refused,
    ):
        await public.subscribe("orders")
        await private.subscribe("private-orders")
        await user.sign_in({"id": "ada"})
        await refused.send(
            {"event": "pusher:subscribe", "data": {"channel": "private-a", "auth": "x"}}
        )

        for client in (public, refused):
            assert (await client.wait_closed())[0] == 4009
        for client in (private, user):
            await client.settle()
            assert client.closed is None
        assert public.received("pusher:error") == [
            {"code": 4009, "message": "Connection not authorized within timeout"}
        ]


# -- watchlists: what is wrong with them ----------------------------------------------


async def test_a_watchlist_over_the_limit_is_cut_and_the_rest_named(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(app=limited(watchlist=2))
    async with gateway.connect() as ada, gateway.connect() as bob, gateway.connect() as dan:
        await bob.sign_in({"id": "bob"})
        await dan.sign_in({"id": "dan"})
        await ada.sign_in({"id": "ada", "watchlist": ["bob", "eve", "dan"]})
        error = await ada.next("pusher:error")
        await ada.next("pusher_internal:watchlist_events")

        assert error.data == {
            "code": 4302,
            "message": "Watchlist: 3 users are over the limit of 2; watched are: bob, eve",
        }
        assert ada.watched() == [("online", ["bob"])]
