"""The first program of the README is run as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

from tests.cli.dev_process import PATIENCE, Dev

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.process, pytest.mark.redis]

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("shop")
    program = re.search(r"```python\n(# shop\.py.*?)```", README.read_text(), re.DOTALL)
    assert program is not None
    (folder / "shop.py").write_text(program[1])
    dev = Dev(folder, "shop:app", "--json")
    yield dev
    dev.clean_up()


def ask(shop: Dev, token: str, socket_id: str) -> httpx.Response:
    return httpx.post(
        f"{shop.ready['app_url']}/broadcasting/auth",
        data={"socket_id": socket_id, "channel_name": "private-orders.1"},
        headers={"Authorization": f"Bearer {token}"},
    )


def test_the_owner_of_an_order_hears_that_it_was_shipped(shop: Dev) -> None:
    gateway, key = shop.ready["gateway_url"].replace("http", "ws"), shop.ready["key"]

    with connect(f"{gateway}/app/{key}?protocol=7&client=test&version=1") as websocket:
        greeting = json.loads(websocket.recv(PATIENCE))
        allowed = ask(shop, "ada-token", json.loads(greeting["data"])["socket_id"])
        subscribe = {"channel": "private-orders.1", **allowed.json()}
        websocket.send(json.dumps({"event": "pusher:subscribe", "data": subscribe}))
        websocket.recv(PATIENCE)
        httpx.post(f"{shop.ready['app_url']}/ship")
        frame = json.loads(websocket.recv(PATIENCE))

    assert frame["event"] == "App\\Events\\OrderShipped"
    assert json.loads(frame["data"]) == {"order_id": 7, "user_id": 1}


def test_another_user_is_refused(shop: Dev) -> None:
    assert ask(shop, "grace-token", "1.1").status_code == 403
