"""S14: requests that are too large, lie about their length, or hide another request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.gateway.world import APP
from tests.polling import eventually
from tests.security.raw import UPGRADE_HEADERS, raw_client
from tests.security.requests import EVENTS, event_body, signed_target

if TYPE_CHECKING:
    import httpx

    from tests.gateway.world import RunningGateway

BATCH = f"/apps/{APP.id}/batch_events"


async def post(gateway: RunningGateway, path: str, body: bytes) -> httpx.Response:
    return await gateway.http.post(signed_target(path, body), content=body)


def batch(count: int) -> bytes:
    return b'{"batch":[%b]}' % b",".join([event_body()] * count)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (EVENTS, event_body(channel=None, channels=[f"c{n}" for n in range(101)]), 400),
        (EVENTS, event_body(channel=None, channels=["private-encrypted-a", "b"]), 400),
        (EVENTS, event_body(name="x" * 201), 400),
        (EVENTS, event_body(name="pusher:error"), 400),
        (EVENTS, event_body(name="pusher_internal:member_removed"), 400),
        (EVENTS, event_body(channel="private-a:b"), 400),
        (EVENTS, event_body(channel="a\nb"), 400),
        (EVENTS, event_body(data="x" * 10_241), 413),
        (EVENTS, event_body(data={"x": 1}), 400),
        (EVENTS, event_body(socket_id="1.2:private-y"), 400),
        (EVENTS, b"[" * 50_000, 400),
        (EVENTS, b'{"name":' + b"9" * 50_000 + b"}", 400),
        (EVENTS, json.dumps({"x": "x" * 3_000_000}).encode(), 413),
        (BATCH, batch(11), 400),
        (BATCH, b'{"batch":[]}', 400),
    ],
    ids=range(15),
)
async def test_s14_too_much_or_misshapen_is_refused_in_json(
    path: str, body: bytes, status: int, gateway: RunningGateway
) -> None:
    answer = await post(gateway, path, body)

    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


async def chunked(gateway: RunningGateway, *chunks: bytes, signed: bytes) -> bytes:
    async with raw_client(gateway) as client:
        head = f"POST {signed_target(EVENTS, signed)} HTTP/1.1\r\nHost: x\r\n"
        client.write(head.encode(), b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
        await client.until(b"\r\n\r\n")
        client.half_close()
        return await client.rest()


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_s14_a_chunked_body_is_read_and_its_signature_checked(
    gateway: RunningGateway,
) -> None:
    body = event_body()

    assert (await chunked(gateway, in_chunks(body, 3), signed=body)).startswith(b"HTTP/1.1 200")
    other = in_chunks(event_body(2), 3)
    assert (await chunked(gateway, other, signed=body)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("size", [b"zz", b"-5", b"ffffffffffffffffff", b"0x5", b" 5", b""])
async def test_s14_a_chunk_that_lies_about_its_length_ends_the_connection(
    size: bytes, gateway: RunningGateway
) -> None:
    body = event_body()

    async with raw_client(gateway) as client:
        head = f"POST {signed_target(EVENTS, body)} HTTP/1.1\r\nHost: x\r\n"
        client.write(head.encode(), b"Transfer-Encoding: chunked\r\n\r\n")
        client.write(size, b"\r\n", body, b"\r\n0\r\n\r\n", b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.rest()

    assert b"HTTP/1.1 200" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/apps/1234%2fevents",
        "/apps/1234/channels/orders%2f..%2f..%2fusers",
        "/apps/1234/../1234/events",
        "//apps/1234/events",
        "/apps/1234/events/",
        "/apps/1234/events;x=y",
        "/apps/%31234/events",
        "/apps/1234/channels/%ff/users",
        "/apps/1234/channels/a%00b",
        "/apps/١٢٣٤/events",
    ],
)
async def test_s14_a_path_in_disguise_is_none_of_the_routes(
    path: str, gateway: RunningGateway
) -> None:
    """Signed for the plain path, as a proxy that tidies paths would let it through."""
    body = event_body()
    query = signed_target(EVENTS, body).partition("?")[2]
    async with gateway.connect() as client:
        await client.subscribe("orders")
        async with raw_client(gateway) as raw:
            head = f"POST {path}?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.write(head.encode(), body)
            raw.half_close()
            answer = await raw.rest()
        await gateway.publish("orders", "after")
        await client.next("after")

    assert answer[9:12] in (b"400", b"401", b"404", b"405")
    assert client.received("e") == []


SMUGGLED = b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n"
AMBIGUOUS = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 29\r\n",
    "a list of lengths": b"Content-Length: 0, 29\r\n",
    "a length and chunks": b"Content-Length: 29\r\nTransfer-Encoding: chunked\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 29\r\n",
    "chunks that are not last": b"Transfer-Encoding: chunked, identity\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "a space before the colon": b"Content-Length : 29\r\n",
    "a folded header": b"X: y\r\n Content-Length: 29\r\n",
    "a signed length": b"Content-Length: +29\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a bare CR": b"X: y\rContent-Length: 29\r\n",
    "a NUL": b"X: y\x00\r\n",
}


async def test_s14_a_request_that_two_servers_would_cut_differently_is_not_served(
    gateway: RunningGateway,
) -> None:
    """A proxy in front may see one request where this server sees two."""
    for name, headers in AMBIGUOUS.items():
        async with raw_client(gateway) as client:
            client.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\n", headers, b"\r\n", SMUGGLED)
            client.half_close()
            answer = await client.rest()

        assert answer.count(b"HTTP/1.1 ") <= 1, (name, answer)
        assert b'"up"' not in answer, name
    await eventually(lambda: not gateway.node.sniffers)


UPGRADES = {
    "with a body": f"GET /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}Content-Length: 29\r\n\r\n",
    "with chunks": (
        f"GET /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "by POST": f"POST /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}\r\n",
    "by POST with a body": (
        f"POST /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}Content-Length: 29\r\n\r\n"
    ),
    "to an old version": f"GET /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}\r\n".replace(
        "Version: 13", "Version: 0"
    ),
    "with a bad key": f"GET /app/{APP.key} HTTP/1.1\r\n{UPGRADE_HEADERS}\r\n".replace(
        "dGhl", "%%%%"
    ),
    "folded": f"GET /app/{APP.key} HTTP/1.1\r\nX: y\r\n z\r\n{UPGRADE_HEADERS}\r\n",
    "with a bare LF": f"GET /app/{APP.key} HTTP/1.1\r\nX: y\nZ: z\r\n{UPGRADE_HEADERS}\r\n",
    "with a bare CR": f"GET /app/{APP.key} HTTP/1.1\r\nX: y\rZ: z\r\n{UPGRADE_HEADERS}\r\n",
    "by HTTP/1.0": f"GET /app/{APP.key} HTTP/1.0\r\n{UPGRADE_HEADERS}\r\n",
}


@pytest.mark.parametrize("later", [False, True], ids=["first", "on a used connection"])
async def test_s14_an_upgrade_that_is_none_opens_no_tunnel(
    gateway: RunningGateway, *, later: bool
) -> None:
    """
    A proxy that believes in a refused upgrade passes everything on unseen.

    So after one there is neither a 101 nor an answer to what follows.
    """
    for name, upgrade in UPGRADES.items():
        async with raw_client(gateway) as client:
            before = 0
            if later:
                client.write(SMUGGLED)
                before = len(await client.until(b'"up"}'))
            client.write(upgrade.encode(), SMUGGLED)
            client.half_close()
            answer = (await client.rest())[before:]

        assert b" 101 " not in answer, name
        assert b'"up"' not in answer, name
        assert not gateway.node.connections, name
