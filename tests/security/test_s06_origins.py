"""S6: pages of other origins; a policy that is applied, and the socket closed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from tests.gateway.conftest import StartGateway

ALLOWED = ("example.com", "*.shop.example", "::1")


def app(*allowed: str) -> object:
    return replace(APP, limits=replace(APP.limits, allowed_origins=allowed))


ELSEWHERE = [
    "null",
    "https://evil-example.com",
    "https://example.com.evil.test",
    "https://evil.test/example.com",
    "https://example.com@evil.test",
    "https://evil.test#example.com",
    "https://evil.test?example.com",
    "https://sub.example.com",
    "https://shop.example.evil.test",
    "https://evilshop.example",
    "https://[::2]",
    "https://[::1",
    "file://",
    "example.com",
    "https://",
]
OURS = [
    "https://example.com",
    "http://example.com",
    "https://example.com:8443",
    "HTTPS://EXAMPLE.COM",
    "https://a.shop.example",
    "https://[::1]:3000",
    None,
]


async def test_s06_a_page_from_elsewhere_is_told_4009_and_closed(
    start_gateway: StartGateway,
) -> None:
    """Not an error event on a socket that stays open and can subscribe."""
    gateway = await start_gateway(app=app(*ALLOWED))

    for origin in ELSEWHERE:
        async with raw_websocket(gateway, headers=f"Origin: {origin}\r\n") as client:
            client.say({"event": "pusher:subscribe", "data": {"channel": "orders"}})
            code = await client.close_code()

        assert code == 4009, origin
        assert [event["event"] for event in client.events()] == ["pusher:error"]
        assert not gateway.node.hub.channels
    await eventually(lambda: not gateway.node.connections)


async def test_s06_a_page_of_ours_may_connect_and_so_may_what_is_no_browser(
    start_gateway: StartGateway,
) -> None:
    """A program can send any origin it likes; the check protects users of browsers."""
    gateway = await start_gateway(app=app(*ALLOWED))

    for origin in OURS:
        headers = "" if origin is None else f"Origin: {origin}\r\n"
        async with raw_websocket(gateway, headers=headers) as client:
            await client.until(b"connection_established")


async def test_s06_two_origins_are_no_handshake(start_gateway: StartGateway) -> None:
    """Which of them would be checked?"""
    gateway = await start_gateway(app=app(*ALLOWED))

    headers = "Origin: https://example.com\r\nOrigin: https://evil.test\r\n"
    async with raw_websocket(gateway, headers=headers) as client:
        answer = await client.rest()

    assert answer.startswith(b"HTTP/1.1 400")
