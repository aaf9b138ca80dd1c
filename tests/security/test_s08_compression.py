"""S8: compression is never agreed on, so there is nothing to blow up and no context to keep."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from tests.gateway.fakes import MASK
from tests.security.raw import raw_websocket
from tests.security.requests import EVENTS, event_body, signed_target

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=15, permessage-bzip2, x-webkit-deflate-frame",
]


@pytest.mark.parametrize("offer", OFFERS)
async def test_s08_deflate_is_declined(offer: str, gateway: RunningGateway) -> None:
    async with raw_websocket(gateway, headers=f"Sec-WebSocket-Extensions: {offer}\r\n") as client:
        await client.until(b"connection_established")

    head = client.got.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101")
    assert b"extensions" not in head


async def test_s08_a_compressed_frame_is_a_violation(gateway: RunningGateway) -> None:
    """Its first reserved bit says "compressed"; nothing is inflated."""
    bomb = zlib.compress(b"[" * 10_000_000)[2:-4]
    head = b"\xc1\xfe" + len(bomb).to_bytes(2, "big") + MASK

    async with raw_websocket(
        gateway, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n"
    ) as client:
        client.write(head, bomb)
        assert await client.close_code() == 1002


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
async def test_s08_a_compressed_body_is_refused_unread(
    encoding: str, gateway: RunningGateway
) -> None:
    body = zlib.compress(event_body(), wbits=31)

    answer = await gateway.http.post(
        signed_target(EVENTS, body), content=body, headers={"content-encoding": encoding}
    )

    assert answer.status_code == 415
