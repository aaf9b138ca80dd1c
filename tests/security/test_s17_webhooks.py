"""S17: webhooks sent where they must not go, changed, or sent again by somebody else."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.http.webhooks import HttpWebhooks
from broadcaster.errors import AddressRefused, BroadcasterError
from broadcaster.protocol.addresses import AddressRules, parse_allowed
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.facts import Fact, fact_id
from broadcaster.protocol.signing import hmac_hex
from broadcaster.protocol.webhooks import webhook_body, webhook_headers
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INSIDE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]


@asynccontextmanager
async def sender(*addresses: str, rules: AddressRules | None = None) -> AsyncIterator[HttpWebhooks]:
    """One whose every name has these addresses."""

    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return list(addresses)

    made = HttpWebhooks(rules or AddressRules(), timeout=5.0, resolve=resolve)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.mark.parametrize("address", INSIDE)
async def test_s17_no_request_goes_inside_whatever_name_leads_there(address: str) -> None:
    async with sender(address) as webhooks:
        with pytest.raises(AddressRefused):
            await webhooks.post("https://innocent.example/hook", [], b"{}")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
async def test_s17_no_spelling_of_an_address_leads_inside(url: str) -> None:
    webhooks = HttpWebhooks(AddressRules(), timeout=5.0)
    try:
        with pytest.raises(AddressRefused):
            await webhooks.post(url, [], b"{}")
    finally:
        await webhooks.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://x/",
        "ftp://x/",
        "https://user:pass@x.example/",
        "https://x.example:6379/",
        "https://x.example:25/",
        "https://x.example/a\r\nX: y",
        "https://x.example\\@inside.example/",
        "//x.example/",
        "",
    ],
)
async def test_s17_what_is_no_plain_url_is_never_asked(url: str) -> None:
    async with sender("203.0.113.1") as webhooks:
        with pytest.raises(BroadcasterError):
            await webhooks.post(url, [], b"{}")


@asynccontextmanager
async def receiver(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every connection so, and what it was sent."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        server.close()
        await server.wait_closed()


async def test_s17_redirects_are_not_followed() -> None:
    rules = parse_allowed(["outside.example"], private=False)
    moved = (
        b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:%d/inside\r\nContent-Length: 0\r\n\r\n"
    )
    inside = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with (
        receiver(inside) as (inner, got),
        receiver(moved % inner) as (outer, _),
        sender("127.0.0.1", rules=rules) as webhooks,
    ):
        answer = await webhooks.post(f"http://outside.example:{outer}/", [], b"{}")

    assert answer.status == 307
    assert got == []


async def test_s17_the_address_that_was_checked_is_the_one_that_is_asked() -> None:
    """A name that changes between check and connection (DNS rebinding) changes nothing."""
    asked: list[str] = []

    async def rebind(host: str, port: int) -> list[str]:
        del port
        asked.append(host)
        return ["203.0.113.1"] if len(asked) > 1 else ["127.0.0.1"]

    webhooks = HttpWebhooks(AddressRules(), timeout=5.0, resolve=rebind)
    try:
        with pytest.raises(AddressRefused):
            await webhooks.post("http://rebind.example/", [], b"{}")
    finally:
        await webhooks.aclose()
    assert asked == ["rebind.example"]


def test_s17_the_signature_covers_the_exact_bytes_and_the_time() -> None:
    """A receiver that refuses old times refuses a replay with it."""
    now = time.time()
    fact = Fact(
        id=fact_id("x", 1),
        app_id=APP.id,
        name="channel_occupied",
        channel="orders",
        time_ms=int(now * 1000),
    )

    body = webhook_body([fact], now=now)
    headers = dict(webhook_headers(APP, Webhook(url="https://x.example/"), [fact], body))

    assert headers["X-Pusher-Signature"] == hmac_hex(APP.secret, body)
    assert abs(json.loads(body)["time_ms"] / 1000 - now) < 5
    assert APP.secret not in str(headers)
