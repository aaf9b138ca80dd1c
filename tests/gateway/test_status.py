"""What orchestrators and people are told about a gateway."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Router

from broadcaster.gateway.answers import not_found
from broadcaster.gateway.status import status_routes


class Node:
    """A node that is as ready as it is told to be."""

    def __init__(self, *reasons: str) -> None:
        self._reasons = list(reasons)

    def reasons(self) -> list[str]:
        return self._reasons


async def ask(path: str, *reasons: str, method: str = "GET") -> httpx.Response:
    app = Router(routes=status_routes(Node(*reasons), new_id=lambda: "new-id"), default=not_found)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.request(method, path)
    assert response.headers["content-type"] == "application/json"
    return response


@pytest.mark.parametrize("path", ["/up", "/health", "/live"])
async def test_a_running_gateway_is_up_even_when_it_cannot_serve(path: str) -> None:
    response = await ask(path, "Redis does not answer")

    assert (response.status_code, response.json()) == (200, {"status": "up"})
    assert response.headers["cache-control"] == "no-store"


async def test_a_gateway_without_reasons_is_ready() -> None:
    response = await ask("/ready")

    assert (response.status_code, response.json()) == (200, {"ready": True, "reasons": []})
    assert response.headers["cache-control"] == "no-store"


async def test_a_gateway_that_is_not_ready_says_why() -> None:
    response = await ask("/ready", "Redis does not answer", "draining")

    assert response.status_code == 503
    assert response.json() == {"ready": False, "reasons": ["Redis does not answer", "draining"]}


async def test_the_root_names_the_product_and_its_doors() -> None:
    response = await ask("/")

    assert response.status_code == 200
    assert response.json()["name"] == "broadcaster"
    assert "version" not in response.text


@pytest.mark.parametrize("path", ["/", "/up", "/health", "/live", "/ready", "/openapi.json"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_load_balancers_may_ask_with_other_methods(path: str, method: str) -> None:
    """HAProxy checks with OPTIONS unless told otherwise."""
    assert (await ask(path, method=method)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/up", "/ready"])
async def test_other_methods_are_not_allowed(path: str) -> None:
    response = await ask(path, method="POST")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert response.headers["x-request-id"] == "new-id"


async def test_an_unknown_path_is_not_found_in_json() -> None:
    response = await ask("/wp-login.php")

    assert response.status_code == 404
    assert response.json()["error"] == {
        "code": "not_found",
        "message": "there is nothing at '/wp-login.php'; see GET / for what there is",
    }
