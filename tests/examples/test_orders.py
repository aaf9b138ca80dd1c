"""The order example, run as its README says: gateway, worker, web application, Valkey."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster.protocol.app import App
from broadcaster.testing.client import SUCCEEDED, PusherClient, connected
from tests.examples.example_world import python
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "orders"
APP = App(id="4711", key="orders-key", secret="orders-secret-of-32-characters!!")
SHIPPED = "App\\Events\\OrderShipped"
PATIENCE = 20.0

pytestmark = [pytest.mark.redis, pytest.mark.process]


@dataclass(frozen=True)
class Shop:
    """The running example."""

    web: str
    gateway: str
    worker_log: Path

    def order(self, token: str, amount: object) -> httpx.Response:
        return httpx.post(f"{self.web}/orders", headers=bearer(token), json={"amount": amount})

    def authorize(self, token: str, socket_id: str, channel: str) -> httpx.Response:
        return httpx.post(
            f"{self.web}/broadcasting/auth",
            headers=bearer(token),
            data={"socket_id": socket_id, "channel_name": channel},
        )


@pytest.fixture(scope="module")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    logs = tmp_path_factory.mktemp("orders")
    gateway_port, web_port = free_port(), free_port()
    shop = Shop(
        f"http://127.0.0.1:{web_port}", f"ws://127.0.0.1:{gateway_port}", logs / "worker.log"
    )
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("BROADCASTER_", "REDIS_"))},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "auth")]),
        "REDIS_URL": redis_url,
        "BROADCASTER_PREFIX": f"orders-{uuid.uuid4().hex[:8]}",
        "BROADCASTER_APP_ID": APP.id,
        "BROADCASTER_APP_KEY": APP.key,
        "BROADCASTER_APP_SECRET": APP.secret,
        "BROADCASTER_GATEWAY__DRAIN_SECONDS": "0.2",
    }
    with ExitStack() as running:

        def run(log: Path, *arguments: str) -> None:
            running.enter_context(python(EXAMPLE, arguments, environment, log))

        run(logs / "gateway.log", "-m", "broadcaster", "serve", "--port", str(gateway_port))
        run(shop.worker_log, "-m", "broadcaster", "work", "shop")
        run(logs / "web.log", "-m", "uvicorn", "shop:app", "--port", str(web_port))
        wait_until(lambda: answers(f"http://127.0.0.1:{gateway_port}/ready"))
        wait_until(lambda: answers(f"{shop.web}/orders"))
        yield shop


async def test_an_order_reaches_its_customer_and_nobody_else(shop: Shop) -> None:
    async with connected(shop.gateway, APP) as ada, connected(shop.gateway, APP) as grace:
        await subscribe(shop, ada, "ada-token", "private-orders.1")
        await subscribe(shop, grace, "grace-token", "private-orders.2")

        answer = shop.order("ada-token", 2550)
        event = await ada.next(SHIPPED)
        fence = shop.order("grace-token", 100)
        await grace.next(SHIPPED)

    assert answer.status_code == 201
    order_id = answer.json()["order_id"]
    assert answer.json() == {"success": True, "order_id": order_id}
    assert event.channel == "private-orders.1"
    assert event.data == {"order_id": order_id, "amount": 2550, "status": "pending"}
    assert [data["order_id"] for data in grace.received(SHIPPED)] == [fence.json()["order_id"]]
    assert [data["order_id"] for data in ada.received(SHIPPED)] == [order_id]


async def test_nobody_may_listen_to_the_orders_of_another(shop: Shop) -> None:
    async with connected(shop.gateway, APP) as grace:
        answer = shop.authorize("grace-token", grace.socket_id, "private-orders.1")

    assert answer.status_code == 403


async def test_a_signature_for_another_channel_does_not_open_this_one(shop: Shop) -> None:
    async with connected(shop.gateway, APP) as grace:
        own = shop.authorize("grace-token", grace.socket_id, "private-orders.2").json()
        await grace.send(
            {"event": "pusher:subscribe", "data": {"channel": "private-orders.1", **own}}
        )
        refusal = await grace.next("pusher:subscription_error")

    assert refusal.data["type"] == "AuthError"


def test_the_notification_is_sent_by_a_worker(shop: Shop) -> None:
    order_id = shop.order("ada-token", 999).json()["order_id"]

    wanted = f"mail to ada@example.com: order #{order_id} placed successfully"
    wait_until(lambda: wanted in shop.worker_log.read_text())


@pytest.mark.parametrize("amount", [0, -1, 2.5, True, "25", None, []])
def test_an_amount_that_is_no_number_of_cents_is_refused(shop: Shop, amount: object) -> None:
    assert shop.order("ada-token", amount).status_code == 400


def test_a_body_that_is_no_json_is_refused(shop: Shop) -> None:
    answer = httpx.post(f"{shop.web}/orders", headers=bearer("ada-token"), content=b"\xff{")

    assert answer.status_code == 400


def test_an_unknown_token_may_not_order(shop: Shop) -> None:
    assert shop.order("eve-token", 100).status_code == 401


async def subscribe(shop: Shop, client: PusherClient, token: str, channel: str) -> None:
    """Subscribe as Echo does: ask the application, show the answer to the gateway."""
    answer = shop.authorize(token, client.socket_id, channel)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = {"channel": channel, **answer.json()}
    await client.send({"event": "pusher:subscribe", "data": data})
    await client.next(SUCCEEDED, channel=channel)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code < 500
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE} s"
        time.sleep(0.02)
