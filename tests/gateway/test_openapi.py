"""
The description of the HTTP API, and a live gateway held to it by schemathesis.

Requests are made up from the description, right ones and wrong ones; they are signed after
they are made, so that they reach what is behind the signature.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from broadcaster.protocol.openapi import document
from broadcaster.protocol.signing import sign_request
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.world import RunningGateway

SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    one.ok().label: one.ok() for one in SCHEMA.get_all_operations() if isinstance(one, Ok)
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
every_operation = pytest.mark.parametrize("label", OPERATIONS)


def signed(request: Any) -> Any:
    """Sign a prepared request (of `requests`) as it will be sent."""
    parts = urlsplit(request.url)
    sent = parse_qsl(parts.query, keep_blank_values=True)
    body = request.body or b""
    query = sign_request(
        APP.key,
        APP.secret,
        method=request.method,
        path=parts.path,
        body=body.encode() if isinstance(body, str) else body,
        params={name: value for name, value in sent if not name.startswith("auth_")},
        now=time.time(),
    )
    request.url = urlunsplit(parts._replace(query=urlencode(query)))
    return request


def unsigned(request: Any) -> Any:
    """Leave whatever the description made of the credentials."""
    return request


def try_out(label: str, url: str, auth: Callable[[Any], Any], *, examples: int) -> set[int]:
    """Send made-up requests, check every answer against the description, return its status."""
    statuses: set[int] = set()
    strategies = [OPERATIONS[label].as_strategy(mode) for mode in GenerationMode]

    @settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(st.one_of(strategies))
    def ask(case: schemathesis.Case[Any]) -> None:
        if auth is signed and "app_id" in case.path_parameters:
            case.path_parameters["app_id"] = APP.id
        response = case.call(base_url=url, auth=auth, timeout=10)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return statuses


@every_operation
async def test_a_gateway_answers_as_it_is_described(label: str, gateway: RunningGateway) -> None:
    url = str(gateway.http.base_url)

    statuses = await asyncio.to_thread(try_out, label, url, signed, examples=30)

    assert statuses & {200, 202}, f"nothing got past the refusals: {statuses}"
    assert await gateway.is_ready()


@pytest.mark.parametrize("label", [label for label in OPERATIONS if " /apps/" in label])
async def test_made_up_credentials_open_nothing(label: str, gateway: RunningGateway) -> None:
    url = str(gateway.http.base_url)

    statuses = await asyncio.to_thread(try_out, label, url, unsigned, examples=10)

    assert not statuses & {200, 202}
    assert 401 in statuses


async def test_the_description_is_served_to_anybody_and_may_be_kept(
    any_gateway: RunningGateway,
) -> None:
    first = await any_gateway.http.get("/openapi.json")
    tag = first.headers["etag"]

    same = await any_gateway.http.get("/openapi.json", headers={"if-none-match": f'"x", W/{tag}'})
    other = await any_gateway.http.get("/openapi.json", headers={"if-none-match": '"x"'})
    head = await any_gateway.http.head("/openapi.json")

    assert first.json() == document()
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "public, max-age=300"
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert "content-type" not in same.headers
    assert (other.status_code, other.content) == (200, first.content)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
