"""Request bodies: whole, or refused at a cap and a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import RequestRefused
from broadcaster.gateway import bodies
from broadcaster.gateway.bodies import ClientGone, read_body, refuse_encoding

if TYPE_CHECKING:
    from starlette.types import Message


class Sender:
    """Hands out `chunks`, then says nothing; counts what was taken."""

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        self._chunks = list(chunks)
        self._ends = ends
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self._chunks):
            await asyncio.Event().wait()
        chunk = self._chunks[self.taken]
        self.taken += 1
        more = not self._ends or self.taken < len(self._chunks)
        return {"type": "http.request", "body": chunk, "more_body": more}


def scope(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


@pytest.mark.parametrize(
    "chunks", [[b"abc"], [b"a", b"bc"], [b"", b"abc"], [b"abc", b""], [b"a", b"", b"bc"]]
)
async def test_chunks_become_one_body(chunks: list[bytes]) -> None:
    assert await read_body(scope(), Sender(*chunks).receive, 3) == b"abc"


async def test_no_body_is_an_empty_one() -> None:
    assert await read_body(scope(), Sender(b"").receive, 3) == b""


@pytest.mark.parametrize("chunks", [[b"abcd"], [b"ab", b"cd"], [b"abc", b"d", b""]])
async def test_a_body_over_the_cap_is_read_to_its_end_and_refused(chunks: list[bytes]) -> None:
    sender = Sender(*chunks)

    with pytest.raises(
        RequestRefused, match=r"^the body has 4 bytes or more; 3 are allowed$"
    ) as caught:
        await read_body(scope(), sender.receive, 3)

    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
    assert sender.taken == len(chunks)


async def test_a_body_that_says_it_is_huge_is_not_read() -> None:
    sender = Sender(b"x")

    with pytest.raises(RequestRefused, match="has 9999999 bytes"):
        await read_body(scope(content_length="9999999"), sender.receive, 3)

    assert sender.taken == 0


async def test_an_absurd_length_costs_nothing_to_refuse() -> None:
    with pytest.raises(RequestRefused, match="or more; 3 are allowed"):
        await read_body(scope(content_length="9" * 10_000), Sender(b"x").receive, 3)


async def test_a_length_that_lies_low_is_found_out() -> None:
    with pytest.raises(RequestRefused, match="has 4 bytes"):
        await read_body(scope(content_length="1"), Sender(b"abcd").receive, 3)


async def test_draining_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DRAIN_BYTES", 10)
    sender = Sender(*[b"xxxx"] * 100)

    with pytest.raises(RequestRefused, match="has 12 bytes or more"):
        await read_body(scope(), sender.receive, 3)

    assert sender.taken == 3


async def test_a_body_that_stops_coming_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)

    with pytest.raises(RequestRefused) as caught:
        await read_body(scope(), Sender(b"x", ends=False).receive, 3)

    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


async def test_a_client_that_leaves_is_no_refusal() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await read_body(scope(), receive, 3)


@pytest.mark.parametrize("encoding", ["identity", "IDENTITY", ""])
def test_plain_bodies_pass(encoding: str) -> None:
    refuse_encoding(scope(content_encoding=encoding))


@pytest.mark.parametrize("encoding", ["gzip", "x" * 1_000, "identity, gzip"])
def test_compressed_bodies_are_refused(encoding: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        refuse_encoding(scope(content_encoding=encoding))

    assert caught.value.status == 415
    assert len(caught.value.message) < 200
