"""One port for two protocols: however a request is cut, it reaches the right one whole."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.gateway import sniff
from broadcaster.gateway.connection import HIGH_WATER, Connection
from broadcaster.gateway.http_protocol import BODY_SECONDS, MAX_HEAD_BYTES
from broadcaster.gateway.keepalive import FIRST_BYTES_SECONDS
from broadcaster.gateway.sniff import Sniffer
from tests.gateway.fakes import FakeNode, FakeTransport, client_frame
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.world import RunningGateway

UPGRADE = (
    f"GET /app/{APP.key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
GET = b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
PING = client_frame(b'{"event":"pusher:ping","data":{}}')


class Http(asyncio.Protocol):
    """Stands for uvicorn's protocol: keeps what it is given."""

    made: list[Http]

    def __init__(self, node: Any, **options: Any) -> None:
        self.node = node
        self.options = options
        self.data = b""
        self.transport: asyncio.BaseTransport | None = None
        Http.made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data


class World:
    """A sniffer whose transport hands bytes to whoever has it."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.transport = FakeTransport()
        self.sniffer = Sniffer(cast("Any", self.node), *cast("Any", ("config", "state", {})))
        self.transport.protocol = self.sniffer
        self.sniffer.connection_made(self.transport)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            protocol = self.transport.protocol
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(piece)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    Http.made = []
    monkeypatch.setattr(sniff, "http_protocol", Http)
    return World()


def cut(data: bytes, at: int) -> tuple[bytes, bytes]:
    return data[:at], data[at:]


@pytest.mark.parametrize("at", range(1, len(UPGRADE)))
def test_an_upgrade_cut_anywhere_is_an_upgrade(world: World, at: int) -> None:
    world.feed(*cut(UPGRADE + PING, at))

    assert Http.made == []
    assert isinstance(world.transport.protocol, Connection)
    assert world.transport.written.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert world.transport.written.endswith(b'{"event":"pusher:pong","data":{}}')
    assert [upgrade.target for upgrade in world.node.upgrades] == [f"/app/{APP.key}?protocol=7"]


@pytest.mark.parametrize("request_", [GET, POST, b"DELETE / HTTP/1.1\r\n\r\n", GET + GET])
def test_http_cut_anywhere_is_handed_over_whole(
    request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniff, "http_protocol", Http)
    for at in range(1, len(request_)):
        Http.made = []
        world = World()
        world.feed(*cut(request_, at))

        [http] = Http.made
        assert http.data == request_
        assert http.transport is world.transport
        assert world.transport.protocol is http
        assert world.transport.written == b""


def test_uvicorn_s_protocol_gets_what_uvicorn_gave(world: World) -> None:
    world.feed(GET)

    [http] = Http.made
    assert http.options == {
        "config": "config",
        "server_state": "state",
        "app_state": {},
        "_loop": None,
    }


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET /app/app-key HTTP/1.1\r\nHost: x\r\n\r\n", id="no-upgrade"),
        pytest.param(UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c"), id="another-upgrade"),
        pytest.param(
            b"GET /x?upgrade=websocket HTTP/1.1\r\nHost: x\r\n\r\n" * 2, id="words-in-a-query"
        ),
    ],
)
def test_a_get_without_an_upgrade_to_websocket_is_http_or_told_why(
    world: World, request_: bytes
) -> None:
    world.feed(request_)

    assert world.node.upgrades == []
    assert Http.made or world.transport.written.startswith(b"HTTP/1.1 400 ")


def test_words_of_an_upgrade_in_other_headers_make_none(world: World) -> None:
    """As browsers write them when a person follows a link."""
    words = b"Referer: http://x/websocket\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"

    world.feed(GET[:-2] + words)

    assert len(Http.made) == 1
    assert world.transport.written == b""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Version: 13", b"Version: 8"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b'"quoted"'),
        (b"Connection: Upgrade", b"Connection: close"),
        (b" HTTP/1.1", b" HTTP/1.0"),
    ],
)
def test_a_malformed_upgrade_gets_400_and_its_cause(world: World, old: bytes, new: bytes) -> None:
    world.feed(UPGRADE.replace(old, new))

    head, _, body = world.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body)["error"]["code"] == "bad_handshake"
    assert world.transport.closed
    assert Http.made == []


def test_a_websocket_gets_the_high_water_mark_of_slow_consumers(world: World) -> None:
    world.feed(UPGRADE)

    assert world.transport.high == HIGH_WATER


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_head_over_its_limit_is_refused_and_not_collected(world: World, method: bytes) -> None:
    world.feed(method + b" / HTTP/1.1\r\nX: ", b"x" * MAX_HEAD_BYTES)

    assert world.transport.written.startswith(b"HTTP/1.1 431 ")
    assert world.transport.closed
    assert Http.made == []
    assert world.sniffer._buffer == b""
    assert world.node.sniffers == set()


def test_what_cannot_become_http_does_not_wait(world: World) -> None:
    """A browser that speaks TLS to this port gets an answer at once."""
    world.feed(b"\x16\x03\x01")

    assert [http.data for http in Http.made] == [b"\x16\x03\x01"]


def test_a_sniffer_is_watched_until_it_has_decided(world: World) -> None:
    assert world.node.sniffers == {world.sniffer}
    assert world.sniffer.since == world.node.time

    world.feed(b"GE")
    assert world.node.sniffers == {world.sniffer}
    world.feed(GET[2:])

    assert world.node.sniffers == set()


def test_a_peer_that_leaves_early_is_forgotten(world: World) -> None:
    world.feed(b"G")
    world.sniffer.connection_lost(None)

    assert world.node.sniffers == set()


def test_a_peer_that_says_nothing_can_be_ended(world: World) -> None:
    world.sniffer.abort()

    assert world.transport.aborted


# -- with real sockets ----------------------------------------------------------------


@asynccontextmanager
async def raw_socket(
    gateway: RunningGateway,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):  # some tests are about being cut off
            await writer.wait_closed()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)


async def test_both_protocols_live_on_one_port(gateway: RunningGateway) -> None:
    async with raw_socket(gateway) as (reader, writer):
        writer.write(GET)
        first = await head_of(reader)
        await reader.readexactly(int(first.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(GET)  # the same connection, kept alive
        second = await head_of(reader)
    async with raw_socket(gateway) as (reader, writer):
        writer.write(UPGRADE)
        third = await head_of(reader)
    async with gateway.connect() as client:
        await client.subscribe("orders")

    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert third.startswith(b"HTTP/1.1 101")


async def test_a_get_of_the_socket_s_path_is_a_404(gateway: RunningGateway) -> None:
    answer = await gateway.http.get(f"/app/{APP.key}")

    assert answer.status_code == 404


async def test_bytes_that_are_no_http_are_answered_with_400(gateway: RunningGateway) -> None:
    async with raw_socket(gateway) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00 this is TLS\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)

    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("first", [b"", b"G", b"GET /app/app-key HTTP/1.1\r\nHost", b"POST /apps"])
async def test_who_does_not_finish_a_request_is_cut_off(
    gateway: RunningGateway, first: bytes
) -> None:
    """Its age is set instead of waited for."""
    async with raw_socket(gateway) as (reader, writer):
        writer.write(first)
        await eventually(lambda: gateway.node.sniffers)
        [sniffer] = gateway.node.sniffers
        assert isinstance(sniffer, Sniffer)
        await eventually(lambda: sniffer._buffer == first)
        sniffer.since -= FIRST_BYTES_SECONDS + 1
        try:
            rest = await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            rest = b""
        await eventually(lambda: not gateway.node.sniffers)

    assert rest == b""


async def test_a_later_head_without_end_is_cut_off(gateway: RunningGateway) -> None:
    """A connection that has carried HTTP gets no more patience than a new one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await reader.readuntil(b'"up"}')
    writer.write(b"GET /up HTTP/1.1\r\nHost: x\r\n")
    await eventually(lambda: len(gateway.node.sniffers) == 1)
    for _ in range(10):
        writer.write(b"X-More: " + b"x" * 2_000 + b"\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 431")
    await eventually(lambda: not gateway.node.sniffers)


async def test_a_later_head_that_takes_too_long_is_aborted(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET)
    await reader.readuntil(b'"up"}')
    writer.write(b"GET /up HTT")
    await eventually(lambda: len(gateway.node.sniffers) == 1)
    [newcomer] = gateway.node.sniffers
    newcomer.since -= FIRST_BYTES_SECONDS
    rest = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert rest == b""


async def test_an_upgrade_that_does_not_wait_for_an_answer_gets_none(
    gateway: RunningGateway,
) -> None:
    """The answer to the request before it would come in the middle of the WebSocket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(GET + UPGRADE)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"101 Switching" not in answer


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""


async def test_trailers_without_end_are_cut_off(gateway: RunningGateway) -> None:
    """uvicorn would keep every one of them in memory."""
    async with raw_socket(gateway) as (reader, writer):
        writer.write(
            b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        try:
            for _ in range(200):
                writer.write(b"X-More: " + b"x" * 1_000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            pass
        await read_to_the_end(reader)

    await eventually(lambda: not gateway.node.sniffers)


async def test_a_body_in_tiny_chunks_is_no_attack(gateway: RunningGateway) -> None:
    async with raw_socket(gateway) as (reader, writer):
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: not gateway.node.sniffers)

    assert answer.startswith(b"HTTP/1.1 404")


async def test_a_body_that_never_comes_is_not_waited_for(gateway: RunningGateway) -> None:
    """Its request was answered long ago, with 404."""
    async with raw_socket(gateway) as (reader, writer):
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        [newcomer] = gateway.node.sniffers
        newcomer.since -= FIRST_BYTES_SECONDS + BODY_SECONDS
        rest = await read_to_the_end(reader)

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"not_found" in rest
    await eventually(lambda: not gateway.node.sniffers)


async def test_a_head_with_bare_line_feeds_is_answered(gateway: RunningGateway) -> None:
    async with raw_socket(gateway) as (reader, writer):
        writer.write(b"GET /up HTTP/1.1\nHost: x\n\n")
        async with asyncio.timeout(5):
            answer = await reader.readline()

    assert answer.startswith(b"HTTP/1.1 ")
