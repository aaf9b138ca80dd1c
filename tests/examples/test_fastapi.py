"""The FastAPI example, run as its README says: ``broadcaster dev`` and the page's own requests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster.protocol.app import App
from broadcaster.testing.client import SUCCEEDED, PusherClient, connected
from tests.cli.dev_process import Dev

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fastapi"
VENDOR = ROOT / "broadcaster" / "demo" / "static" / "vendor"
PINNED = "App\\Events\\NotePinned"
THANKS = "App\\Events\\ThanksGiven"

pytestmark = [pytest.mark.redis, pytest.mark.process]


class Board:
    """The running example."""

    def __init__(self, dev: Dev) -> None:
        ready = dev.ready
        self.web: str = ready["app_url"].rstrip("/")
        self.gateway: str = ready["gateway_url"].replace("http", "ws")
        self.app = App(id="unused", key=ready["key"], secret="the page has none")

    def post(self, path: str, user: str, body: object = None, socket_id: str = "") -> int:
        headers = {**token_of(user), **({"X-Socket-ID": socket_id} if socket_id else {})}
        return httpx.post(self.web + path, headers=headers, json=body).status_code

    def authorize(self, user: str, socket_id: str, channel: str) -> httpx.Response:
        return httpx.post(
            f"{self.web}/broadcasting/auth",
            headers=token_of(user),
            data={"socket_id": socket_id, "channel_name": channel},
        )

    async def enter(self, client: PusherClient, user: str, channel: str) -> Any:
        """Subscribe as Echo does: ask the application, show the answer to the gateway."""
        answer = self.authorize(user, client.socket_id, channel)
        assert answer.status_code == 200, answer.text
        data = {"channel": channel, **answer.json()}
        await client.send({"event": "pusher:subscribe", "data": data})
        return (await client.next(SUCCEEDED, channel=channel)).data


def token_of(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {user}-token"}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("board")
    for name in ("board.py", "page.html"):
        shutil.copy(EXAMPLE / name, folder)
    dev = Dev(folder, "board:app", "--json")
    try:
        yield Board(dev)
    finally:
        dev.clean_up()


def test_the_page_gets_stock_clients_from_the_installed_package(board: Board) -> None:
    page = httpx.get(board.web).text

    for name in ("pusher.min.js", "echo.iife.js"):
        assert f'src="/vendor/{name}"' in page
        assert httpx.get(f"{board.web}/vendor/{name}").content == (VENDOR / name).read_bytes()


def test_the_page_is_told_where_the_gateway_is(board: Board) -> None:
    config = httpx.get(f"{board.web}/config.json").json()

    assert config == {"key": board.app.key, "port": int(board.gateway.rpartition(":")[2])}


async def test_a_note_reaches_the_others_and_not_the_tab_that_pinned_it(board: Board) -> None:
    async with connected(board.gateway, board.app) as ada, connected(board.gateway, board.app) as g:
        await board.enter(ada, "ada", "presence-board")
        await board.enter(g, "grace", "presence-board")

        status = board.post("/notes", "ada", {"text": "hello"}, ada.socket_id)
        board.post("/notes", "grace", {"text": "fence"}, g.socket_id)
        note = await g.next(PINNED)
        await ada.next(PINNED)

    assert status == 201
    assert note.data == {"author": "Ada", "text": "hello"}
    assert [data["text"] for data in ada.received(PINNED)] == ["fence"]


async def test_the_board_knows_who_is_here(board: Board) -> None:
    async with connected(board.gateway, board.app) as ada, connected(board.gateway, board.app) as g:
        await board.enter(ada, "ada", "presence-board")
        members = await board.enter(g, "grace", "presence-board")

    assert members["presence"]["hash"]["1"] == {"id": 1, "name": "Ada"}
    assert members["presence"]["hash"]["2"] == {"id": 2, "name": "Grace"}


async def test_thanks_reach_one_user_only(board: Board) -> None:
    async with connected(board.gateway, board.app) as ada:
        await board.enter(ada, "ada", "private-users.1")

        status = board.post("/thanks/1", "grace")
        thanks = await ada.next(THANKS, channel="private-users.1")

    assert status == 202
    assert thanks.data == {"sender": "Grace"}


def test_a_refusal_under_dev_says_why(board: Board) -> None:
    spying = board.authorize("grace", "1.1", "private-users.1")
    public = board.authorize("grace", "1.1", "users.2")

    assert spying.status_code == 403
    assert spying.json()["error"]["code"] == "rule_refused"
    assert public.status_code == 403
    assert "or use 'private-users.2'" in public.json()["error"]["message"]


def test_nobody_pins_without_a_login(board: Board) -> None:
    assert board.post("/notes", "eve", {"text": "hello"}) == 401
    assert board.post("/notes", "ada", {"text": ""}) == 422


def test_the_page_says_what_its_readme_promises() -> None:
    page = (EXAMPLE / "page.html").read_text()

    assert page.count(".error(") == 3
    assert "X-Socket-ID" in page
    assert json.dumps("reverb") in page
