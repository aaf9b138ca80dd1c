"""The HTTP driver against a stub that checks signatures as a server does."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from broadcaster.contracts.apps import App
from broadcaster.drivers.http.pusher import PusherPublisher, build_requests
from broadcaster.errors import DriverUnavailable, PublishRefused
from broadcaster.protocol.signing import verify_request
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.requests import Request

    from broadcaster.contracts.publisher import Publication

APP = App(id="1", key="app-key", secret="app-secret")
NOW = 1_700_000_000.0


class Stub:
    """A Pusher-compatible server: verifies what it gets, and keeps it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.keys: list[str] = []
        self.answer: Response = Response("{}", media_type="application/json")
        routes = [Route("/{path:path}", self.accept, methods=["POST"])]
        self.app = Starlette(routes=routes)

    async def accept(self, request: Request) -> Response:
        body = await request.body()
        verify_request(
            key=APP.key,
            secret=APP.secret,
            method="POST",
            path=request.url.path,
            params=dict(request.query_params),
            body=body,
            now=NOW,
        )
        assert request.headers["content-type"] == "application/json"
        self.received.append((request.url.path, json.loads(body)))
        self.keys.append(request.headers["idempotency-key"])
        return self.answer

    def handle_sync(self, request: httpx.Request) -> httpx.Response:
        """The same for the sync client, which cannot call ASGI."""
        verify_request(
            key=APP.key,
            secret=APP.secret,
            method=request.method,
            path=request.url.path,
            params=dict(request.url.params),
            body=request.content,
            now=NOW,
        )
        self.received.append((request.url.path, json.loads(request.content)))
        self.keys.append(request.headers["idempotency-key"])
        return httpx.Response(self.answer.status_code, content=bytes(self.answer.body))


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture(params=["sync", "async"])
def publish(request: pytest.FixtureRequest, stub: Stub) -> Any:
    """Publish through either edge; both must do the same."""

    async def run(
        publications: Sequence[Publication], base_url: str = "http://push.example:8080"
    ) -> None:
        driver = PusherPublisher(
            APP,
            base_url=base_url,
            transport=httpx.MockTransport(stub.handle_sync),
            async_transport=httpx.ASGITransport(stub.app),
            now=lambda: NOW,
        )
        try:
            if request.param == "sync":
                driver.publish(publications)
            else:
                await driver.apublish(publications)
        finally:
            await driver.aclose()

    return run


async def test_an_event_is_posted_with_a_valid_signature(publish: Any, stub: Stub) -> None:
    await publish([make_publication("private-a", "b", socket_id="1.2")])

    assert stub.received == [
        (
            "/apps/1/events",
            {
                "name": "App\\Events\\Shipped",
                "data": '{"id":7}',
                "channels": ["private-a", "b"],
                "socket_id": "1.2",
            },
        )
    ]


async def test_several_events_travel_in_tens(publish: Any, stub: Stub) -> None:
    await publish([make_publication("a", data=f"{number}") for number in range(21)])

    (first, one), (second, two), (third, three) = stub.received
    assert (first, second, third) == (
        "/apps/1/batch_events",
        "/apps/1/batch_events",
        "/apps/1/events",
    )
    assert [item["data"] for item in one["batch"]] == [f"{number}" for number in range(10)]
    assert len(two["batch"]) == 10
    assert three["data"] == "20"
    assert one["batch"][0] == {"name": "App\\Events\\Shipped", "data": "0", "channel": "a"}


async def test_a_repeat_carries_the_key_of_the_first_attempt(publish: Any, stub: Stub) -> None:
    publications = [make_publication("a", "b", number=1)]
    publications += [make_publication("a", number=number) for number in range(2, 13)]

    await publish(publications)
    await publish(publications)

    one, ten, last, *again = stub.keys
    assert (one, last) == (publications[0].id, publications[-1].id)
    assert len({one, ten, last}) == 3
    assert again == [one, ten, last]


async def test_a_path_prefix_is_kept_and_signed(publish: Any, stub: Stub) -> None:
    await publish([make_publication("a")], "http://push.example/pusher/")

    assert stub.received[0][0] == "/pusher/apps/1/events"


async def test_text_of_any_script_survives(publish: Any, stub: Stub) -> None:
    await publish([make_publication("a", data='{"a":"ä ✓ 𝄞"}', name="größe+&=?/ x")])

    assert stub.received[0][1]["data"] == '{"a":"ä ✓ 𝄞"}'
    assert stub.received[0][1]["name"] == "größe+&=?/ x"


async def test_nothing_to_publish_asks_nothing(publish: Any, stub: Stub) -> None:
    await publish([])

    assert stub.received == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500])
async def test_a_refusal_carries_status_and_the_servers_words(
    publish: Any, stub: Stub, status: int
) -> None:
    stub.answer = PlainTextResponse("Invalid signature " + "x" * 1000, status)

    with pytest.raises(PublishRefused, match=f"answered {status}: 'Invalid signature") as caught:
        await publish([make_publication("a")])

    assert caught.value.status == status
    assert len(caught.value.message) < 500


async def test_a_redirect_is_no_success(publish: Any, stub: Stub) -> None:
    stub.answer = Response(status_code=302, headers={"location": "http://elsewhere/"})

    with pytest.raises(PublishRefused, match="302"):
        await publish([make_publication("a")])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_server_that_cannot_work_just_now_is_unavailable(
    publish: Any, stub: Stub, status: int
) -> None:
    """The job is tried again, where a refusal would be final."""
    stub.answer = PlainTextResponse("later", status)

    with pytest.raises(DriverUnavailable, match=f"{status}"):
        await publish([make_publication("a")])


def test_neighbours_with_one_channel_share_a_request_and_order_is_kept() -> None:
    requests = build_requests(
        [
            make_publication("a", number=1),
            make_publication("b", number=2),
            make_publication("a", "b", number=3),
            make_publication("a", number=4),
        ],
        "1",
        "/prefix",
    )

    assert [request.path for request in requests] == [
        "/prefix/apps/1/batch_events",
        "/prefix/apps/1/events",
        "/prefix/apps/1/events",
    ]


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        driver = PusherPublisher(APP, base_url=f"http://127.0.0.1:{port}")

        with pytest.raises(DriverUnavailable, match=f"127.0.0.1:{port}") as caught:
            driver.publish([make_publication()])

    driver.close()
    assert "app-secret" not in str(caught.value)
    assert caught.value.exit_code == 69


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts connections and never says anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_silent_server_is_given_up(silent_server: str) -> None:
    driver = PusherPublisher(APP, base_url=silent_server, timeout=0.3)

    with pytest.raises(DriverUnavailable, match="too late"):
        await driver.apublish([make_publication()])
    with pytest.raises(DriverUnavailable, match="too late"):
        await asyncio.to_thread(driver.publish, [make_publication()])

    await driver.aclose()


def test_connections_are_reused_over_calls_threads_and_loops(stub: Stub) -> None:
    """Each event loop has its own pool; a closed loop's is dropped."""
    driver = PusherPublisher(
        APP,
        base_url="http://push.example",
        transport=httpx.MockTransport(stub.handle_sync),
        async_transport=httpx.ASGITransport(stub.app),
        now=lambda: NOW,
    )

    async def twice() -> None:
        await driver.apublish([make_publication()])
        await driver.apublish([make_publication()])

    asyncio.run(twice())
    asyncio.run(twice())
    thread = threading.Thread(target=driver.publish, args=([make_publication()],))
    thread.start()
    thread.join(5)
    driver.publish([make_publication()])

    assert len(stub.received) == 6
    assert len(driver._by_loop) == 1
    driver.close()
