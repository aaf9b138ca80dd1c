"""JSON answers over plain ASGI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.gateway.answers import (
    Answer,
    header,
    method_not_allowed,
    not_found,
    refuse,
    request_id,
    send_answer,
)

if TYPE_CHECKING:
    from starlette.types import Message


class Wire:
    """Collects what an ASGI application sends."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}


def scope(*headers: tuple[bytes, bytes], **fields: Any) -> dict[str, Any]:
    return {"type": "http", "path": "/x", "headers": list(headers), **fields}


async def test_an_answer_has_its_length_and_its_id() -> None:
    wire = Wire()

    await send_answer(wire.send, Answer(201, b"{}", ((b"x-a", b"1"),)), b"id")

    start, body = wire.sent
    assert start["status"] == 201
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": b"2",
        b"x-request-id": b"id",
        b"x-a": b"1",
    }
    assert body == {"type": "http.response.body", "body": b"{}"}


def test_a_refusal_has_code_and_message() -> None:
    answer = refuse(400, "bad", "sentence", (b"a", b"b"))

    assert (answer.status, answer.headers) == (400, ((b"a", b"b"),))
    assert json.loads(answer.body) == {"error": {"code": "bad", "message": "sentence"}}


def test_a_wrong_method_is_told_the_right_ones() -> None:
    answer = method_not_allowed("BREW", "GET, HEAD")

    assert answer.status == 405
    assert answer.headers == ((b"allow", b"GET, HEAD"),)


def test_the_first_header_of_a_name_counts() -> None:
    found = scope((b"a", b"1"), (b"b", b"2"), (b"b", b"3"))

    assert header(found, b"b") == b"2"
    assert header(found, b"c") == b""


@pytest.mark.parametrize(
    ("sent", "used"),
    [(b"trace-1.a_B", b"trace-1.a_B"), (b"x" * 64, b"x" * 64), (b"x" * 65, b""), (b"a\nb", b"")],
)
def test_only_harmless_request_ids_are_taken_over(sent: bytes, used: bytes) -> None:
    assert request_id(scope((b"x-request-id", sent))) == used


async def test_an_unknown_path_gets_an_id_even_without_sending_one() -> None:
    wire = Wire()

    await not_found(scope(), wire.receive, wire.send)

    assert wire.sent[0]["status"] == 404
    assert len(dict(wire.sent[0]["headers"])[b"x-request-id"]) == 32


async def test_a_websocket_to_an_unknown_path_is_turned_down() -> None:
    wire = Wire()

    await not_found(scope(type="websocket"), wire.receive, wire.send)

    assert wire.sent == [{"type": "websocket.close", "code": 4005}]
