from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from broadcaster_auth import broadcasting_auth_wsgi

from tests.auth.conftest import USERS, make_rules
from tests.auth.grant_keys import app_with

if TYPE_CHECKING:
    from collections.abc import Callable

FORM = b"socket_id=1234.1234&channel_name=private-orders.1"


def call(
    body: bytes = FORM,
    *,
    check: Callable[[Any], Any] = validator,
    server: dict[str, Any] | None = None,
    **environ: Any,
) -> tuple[str, bytes]:
    app = check(
        broadcasting_auth_wsgi(
            app_with(), user=lambda request: USERS["ada-token"], authorizer=make_rules()
        )
    )
    full: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/auth",
        "SCRIPT_NAME": "/broadcasting",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "wsgi.input": io.BytesIO(body),
        **environ,
        **(server or {}),
    }
    full = {name: value for name, value in full.items() if value is not None}
    setup_testing_defaults(full)
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> object:
        statuses.append(status)
        return lambda data: None

    answer = app(full, start_response)
    content = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return statuses[0], content


def test_it_keeps_to_the_letter_of_wsgi() -> None:
    status, content = call()

    assert status == "200 OK"
    assert content.startswith(b'{"auth":"')
    assert call(REQUEST_METHOD="OPTIONS") == ("204 No Content", b"")
    assert call(PATH_INFO="/nothing")[0] == "404 Not Found"


def test_a_get_asks_by_its_query() -> None:
    query = FORM.decode()

    status, _ = call(
        b"", REQUEST_METHOD="GET", QUERY_STRING=query, CONTENT_LENGTH=None, CONTENT_TYPE=None
    )

    assert status == "200 OK"


@pytest.mark.parametrize("length", ["", None, "-1", "x", "\u0665", "1e3"])
def test_without_a_usable_length_there_is_no_body(length: str | None) -> None:
    status, _ = call(CONTENT_LENGTH=length, check=lambda app: app)

    assert status == "400 Bad Request"


def test_a_chunked_body_is_read_where_the_server_ends_it() -> None:
    status, _ = call(CONTENT_LENGTH=None, server={"wsgi.input_terminated": True})

    assert status == "200 OK"


def test_a_large_body_is_not_read() -> None:
    class Untouched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("too long to be read")

    status, _ = call(
        CONTENT_LENGTH="70000", check=lambda app: app, server={"wsgi.input": Untouched(FORM)}
    )

    assert status.startswith("413")


def test_a_chunked_body_without_end_is_cut_off_at_64_kb() -> None:
    status, _ = call(b"x" * 100_000, CONTENT_LENGTH=None, server={"wsgi.input_terminated": True})

    assert status.startswith("413")
