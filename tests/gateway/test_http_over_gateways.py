"""The routes of the HTTP API over real gateways: what one of them is asked, all of them know."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from broadcaster.protocol.app import AppLimits
from broadcaster.protocol.signing import sign_request
from tests.gateway.world import APP
from tests.polling import eventually_async

if TYPE_CHECKING:
    import httpx

    from tests.gateway.conftest import StartGateway
    from tests.gateway.world import RunningGateway

pytestmark = pytest.mark.redis


async def post(
    gateway: RunningGateway, path: str, body: bytes = b"", **params: str
) -> httpx.Response:
    """A signed POST to any path."""
    app = gateway.app
    query = sign_request(
        app.key, app.secret, method="POST", path=path, body=body, params=params, now=time.time()
    )
    return await gateway.http.post(path, params=query, content=body)


async def answers(gateway: RunningGateway, route: str, expected: object, **params: str) -> bool:
    return bool((await gateway.get(route, **params)).json() == expected)


async def test_connections_are_counted_over_gateways_whatever_they_subscribe_to(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    assert (await left.get("/connections")).json() == {"connections": 0}
    async with left.connect() as one, left.connect(), right.connect():
        await one.subscribe("orders")

        await eventually_async(lambda: answers(left, "/connections", {"connections": 3}))
        await eventually_async(lambda: answers(right, "/connections", {"connections": 3}))

    await eventually_async(lambda: answers(left, "/connections", {"connections": 0}))
    assert (await left.get("/channels")).json() == {"channels": {}}


@pytest.mark.parametrize("path", [f"/apps/{APP.id}/users/ada/", "/users/ada/"])
async def test_a_user_is_sent_away_from_every_gateway(
    start_gateway: StartGateway, path: str
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as one, right.connect() as two, right.connect() as other:
        for client, user in ((one, "ada"), (two, "ada"), (other, "eve")):
            await client.sign_in({"id": user})

        answer = await post(left, f"{path}terminate_connections", b"{}")

        assert (answer.status_code, answer.content) == (200, b"{}")
        assert [(await client.wait_closed())[0] for client in (one, two)] == [4009, 4009]
        await other.settle()
        assert other.closed is None


async def test_the_old_route_reaches_subscribers_of_another_gateway(
    start_gateway: StartGateway,
) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with right.connect() as client, right.connect() as sender:
        await client.subscribe("orders")
        await sender.subscribe("orders")

        answer = await post(
            left,
            f"/apps/{APP.id}/channels/orders/events",
            '{"a":"\u00e9"}'.encode(),
            name="greeting",
            socket_id=sender.socket_id,
        )

        assert (answer.status_code, answer.content) == (202, b"{}")
        assert (await client.next("greeting")).data == {"a": "\u00e9"}
        await sender.settle()
        assert sender.received("greeting") == []


async def test_prefixes_choose_channels_of_all_gateways(start_gateway: StartGateway) -> None:
    left, right = await start_gateway(), await start_gateway()
    async with left.connect() as one, right.connect() as two:
        await one.subscribe("orders-1")
        await two.subscribe("orders-2")
        await two.subscribe("other")

        expected: object = {"channels": {"orders-1": {}, "orders-2": {}}}
        for gateway in (left, right):
            ask = partial(answers, gateway, "/channels", expected, filter_by_prefix="orders-")
            await eventually_async(ask)


async def test_a_publish_rate_holds_per_gateway(start_gateway: StartGateway) -> None:
    app = replace(APP, limits=AppLimits(publish_rate=1))
    left, right = await start_gateway(app=app), await start_gateway(app=app)
    body = b'{"name":"a","data":"","channels":["%b"]}' % b'","'.join(
        b"c%d" % number for number in range(100)
    )

    first = await left.post("/events", body)
    refused = await left.post("/events", body)
    elsewhere = await right.post("/events", body)

    assert (first.status_code, elsewhere.status_code) == (200, 200)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 90 < int(refused.headers["retry-after"]) <= 100


async def test_a_disabled_app_is_refused(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(app=replace(APP, enabled=False))

    answers = [await gateway.publish("orders", "a"), await gateway.get("/channels")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert (await gateway.http.get("/up")).status_code == 200
