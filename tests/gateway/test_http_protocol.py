"""Installations without httptools are no easier to hold up; with it, see test_sniff.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway import http_protocol
from broadcaster.gateway.http_protocol import BODY_SECONDS, PatientH11
from broadcaster.gateway.keepalive import FIRST_BYTES_SECONDS
from tests.polling import eventually
from tests.security.raw import raw_client
from tests.security.requests import EVENTS, event_body, signed_target
from tests.security.test_s14_http import AMBIGUOUS, SMUGGLED, UPGRADES

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

# h11 joins folded lines and ends lines at a bare LF, as RFC 9112, sections 5.2 and 2.2 allow;
# httptools refuses both.
LENIENT = {"a folded header", "folded", "with a bare LF"}


@pytest.fixture(autouse=True)
def _without_httptools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_build", PatientH11)


async def test_a_later_head_that_takes_too_long_is_aborted(gateway: RunningGateway) -> None:
    async with raw_client(gateway) as client:
        client.write(SMUGGLED)
        await client.until(b'"up"}')
        assert not gateway.node.sniffers
        client.write(b"GET /up HTT")
        await eventually(lambda: gateway.node.sniffers)
        [newcomer] = gateway.node.sniffers
        began = newcomer.since
        client.write(b"P/1.1\r\nHost:")
        newcomer.since = began - FIRST_BYTES_SECONDS
        await client.rest()

    assert newcomer.since == began - FIRST_BYTES_SECONDS
    await eventually(lambda: not gateway.node.sniffers)


async def test_a_body_that_takes_too_long_is_aborted(gateway: RunningGateway) -> None:
    async with raw_client(gateway) as client:
        client.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        await client.until(b"HTTP/1.1 404")
        [newcomer] = gateway.node.sniffers
        newcomer.since -= FIRST_BYTES_SECONDS + BODY_SECONDS
        await client.rest()

    await eventually(lambda: not gateway.node.sniffers)


async def test_whole_requests_are_served_and_watched_no_longer(gateway: RunningGateway) -> None:
    body = event_body()
    head = f"POST {signed_target(EVENTS, body)} HTTP/1.1\r\nHost: x\r\n"
    async with raw_client(gateway) as client:
        client.write(head.encode(), b"Content-Length: %d\r\n\r\n" % len(body), body)
        await client.until(b"HTTP/1.1 200")
        await eventually(lambda: not gateway.node.sniffers)
        client.write(SMUGGLED + SMUGGLED[:10])
        await client.until(b'"up"}')
        await eventually(lambda: len(gateway.node.sniffers) == 1)
        client.write(SMUGGLED[10:])
        await eventually(lambda: not gateway.node.sniffers)


async def test_ambiguous_requests_are_not_served(gateway: RunningGateway) -> None:
    for name in AMBIGUOUS.keys() - LENIENT:
        async with raw_client(gateway) as client:
            client.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\n", AMBIGUOUS[name], b"\r\n")
            client.write(SMUGGLED)
            client.half_close()
            answer = await client.rest()
        assert b'"up"' not in answer, name


async def test_an_upgrade_that_is_none_opens_no_tunnel(gateway: RunningGateway) -> None:
    for name in UPGRADES.keys() - LENIENT:
        async with raw_client(gateway) as client:
            client.write(SMUGGLED)
            before = len(await client.until(b'"up"}'))
            client.write(UPGRADES[name].encode(), SMUGGLED)
            client.half_close()
            answer = (await client.rest())[before:]
        assert b" 101 " not in answer, name
        assert b'"up"' not in answer, name
