from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from broadcaster.demo.app import STATIC, create_app, create_open_app
from broadcaster.errors import NotConfigured
from broadcaster.protocol.signing import sign_channel
from broadcaster.settings import Settings
from tests.demo.conftest import SETTINGS

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from tests.events.recording import RecordingApplication

ADA = {"Authorization": "Bearer ada"}
HEX_ID = "a1b2"


async def test_the_page_and_its_files_are_served(demo: httpx.AsyncClient) -> None:
    page = (await demo.get("/")).text

    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert (await demo.get(path)).status_code == 200, path


async def test_the_page_learns_where_the_gateway_is(demo: httpx.AsyncClient) -> None:
    answer = await demo.get("/config.json")

    assert answer.json() == {"key": "demo-key", "host": None, "port": 18080, "scheme": "http"}


async def test_the_policy_allows_own_files_and_one_gateway(demo: httpx.AsyncClient) -> None:
    policy = (await demo.get("/")).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "connect-src 'self' ws://127.0.0.1:18080 wss://127.0.0.1:18080;" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("host", "gateway"),
    [
        ("localhost:8000", "ws://localhost:18080"),
        ("[::1]:8000", "ws://[::1]:18080"),
        ("demo.example", "ws://demo.example:18080"),
        ("x; script-src *", "ws://127.0.0.1:18080"),
        ("a b", "ws://127.0.0.1:18080"),
    ],
)
async def test_the_policy_follows_the_host_that_was_asked(
    demo: httpx.AsyncClient, host: str, gateway: str
) -> None:
    answer = await demo.get("/up", headers={"host": host})

    assert f" {gateway} " in answer.headers["content-security-policy"]
    assert "script-src *" not in answer.headers["content-security-policy"]


async def test_nothing_in_the_page_is_inline_or_from_elsewhere() -> None:
    page = (STATIC / "index.html").read_text()

    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    assert re.findall(r'(?:src|href)="(?!/)', page) == []


async def test_shipping_queues_a_job_and_an_event(
    demo: httpx.AsyncClient, queue: RecordingApplication
) -> None:
    answer = await demo.post("/orders/7/ship", headers=ADA, json={})

    assert answer.status_code == 202
    assert answer.json().items() >= {"order_id": 7, "status": "shipped"}.items()
    job, event = queue.payloads()
    assert (job.job, job.data) == ("PackOrder", {"order_id": 7, "customer": "ada"})
    assert event.data["channels"] == ["private-orders.ada"]
    assert event.data["name"] == "App\\Events\\OrderShipped"
    assert event.data["socket_id"] is None


async def test_the_order_of_another_customer_goes_to_their_channel(
    demo: httpx.AsyncClient, queue: RecordingApplication
) -> None:
    await demo.post("/orders/7/ship", headers=ADA, json={"customer": "grace"})

    assert queue.payloads()[1].data["channels"] == ["private-orders.grace"]


async def test_the_sender_is_left_out_when_asked(
    demo: httpx.AsyncClient, queue: RecordingApplication
) -> None:
    headers = {**ADA, "X-Socket-ID": "12.34"}

    await demo.post("/orders/7/ship", headers=headers, json={"to_others": True})

    assert queue.payloads()[1].data["socket_id"] == "12.34"


async def test_a_chat_message_goes_to_the_others_in_the_room(
    demo: httpx.AsyncClient, queue: RecordingApplication
) -> None:
    headers = {**ADA, "X-Socket-ID": "12.34"}

    answer = await demo.post("/chat/lobby", headers=headers, json={"id": HEX_ID, "text": "hello"})

    assert answer.status_code == 202
    (event,) = queue.payloads()
    assert event.data["channels"] == ["presence-chat.lobby"]
    assert event.data["socket_id"] == "12.34"
    assert '"name":"Ada"' in event.data["data"]


async def test_a_wave_goes_to_the_user_and_to_no_room(
    demo: httpx.AsyncClient, queue: RecordingApplication
) -> None:
    answer = await demo.post("/wave/grace", headers=ADA, json={})

    assert answer.status_code == 202
    (event,) = queue.payloads()
    assert event.data["channels"] == ["#server-to-user-grace"]
    assert event.data["name"] == "App\\Events\\Waved"
    assert json.loads(event.data["data"]) == {"by": {"id": "ada", "name": "Ada"}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/wave/Grace!", {}),
        ("/chat/lobby", {"id": HEX_ID, "text": ""}),
        ("/chat/lobby", {"id": HEX_ID, "text": "  "}),
        ("/chat/lobby", {"id": HEX_ID, "text": "x" * 501}),
        ("/chat/lobby", {"id": HEX_ID, "text": 5}),
        ("/chat/lobby", {"id": "<b>", "text": "hello"}),
        ("/chat/lobby", {"text": "hello"}),
        ("/chat/Lobby!", {"id": HEX_ID, "text": "hello"}),
        ("/chat/lobby", ["hello"]),
        ("/chat/lobby", {"id": HEX_ID, "text": "hello", "more": "x" * 5000}),
        ("/orders/7/ship", {"customer": "Grace!"}),
        ("/orders/7/ship", {"customer": 7}),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_is_queued(
    demo: httpx.AsyncClient, queue: RecordingApplication, path: str, body: object
) -> None:
    answer = await demo.post(path, headers=ADA, json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"
    assert queue.jobs == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 4000, b"{"])
async def test_a_body_that_is_no_json_is_refused(demo: httpx.AsyncClient, content: bytes) -> None:
    answer = await demo.post("/chat/lobby", headers=ADA, content=content)

    assert answer.status_code == 400


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer Not A Name"}])
@pytest.mark.parametrize("path", ["/orders/7/ship", "/chat/lobby", "/wave/grace"])
async def test_who_says_no_name_may_do_nothing(
    demo: httpx.AsyncClient, queue: RecordingApplication, path: str, headers: dict[str, str]
) -> None:
    answer = await demo.post(path, headers=headers, json={"id": HEX_ID, "text": "hello"})

    assert answer.status_code == 401
    assert queue.jobs == []


async def test_the_auth_route_signs_for_the_owner(demo: httpx.AsyncClient) -> None:
    answer = await demo.post(
        "/broadcasting/auth",
        headers=ADA,
        data={"socket_id": "12.34", "channel_name": "private-orders.ada"},
    )

    assert answer.status_code == 200
    app = SETTINGS.require_app()
    assert answer.json()["auth"] == sign_channel(
        app.key,
        app.secret,
        socket_id="12.34",
        channel="private-orders.ada",
        channel_data=answer.json().get("channel_data"),
    )


async def test_the_auth_route_refuses_everybody_else(demo: httpx.AsyncClient) -> None:
    answer = await demo.post(
        "/broadcasting/auth",
        headers=ADA,
        data={"socket_id": "12.34", "channel_name": "private-orders.grace"},
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.1", "2001:db8::1", "somewhere"])
async def test_only_this_machine_is_answered(address: str) -> None:
    answer = await get(create_app(SETTINGS), address)

    assert answer.status_code == 403
    assert "create_open_app" in answer.text


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_this_machine(address: str) -> None:
    assert (await get(create_app(SETTINGS), address)).status_code == 200


async def test_the_open_demo_answers_anybody() -> None:
    assert (await get(create_open_app(SETTINGS), "192.168.1.7")).status_code == 200


def test_without_credentials_it_says_what_to_set() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ID"):
        create_app(Settings())


async def get(app: Starlette, address: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
        return await client.get("/up")
