"""S19: what anybody can see. There is no dashboard and no metrics page to protect yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from starlette.routing import Route

from tests.gateway.world import APP

if TYPE_CHECKING:
    from tests.gateway.world import RunningGateway

# Without credentials; what they say is the same whatever happens in channels.
OPEN = {"/", "/up", "/health", "/live", "/ready", "/openapi.json"}


async def test_s19_whatever_answers_without_credentials_is_on_this_list(
    gateway: RunningGateway,
) -> None:
    application = gateway.server.config.app
    routes = getattr(application, "routes")  # noqa: B009 (an ASGI application of Starlette's)
    plain = {route.path for route in routes if isinstance(route, Route) and "{" not in route.path}

    answers = {path: (await gateway.http.get(path)).status_code for path in plain}
    assert {path for path, status in answers.items() if status == 200} <= OPEN


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/usage",
        "/dashboard",
        "/admin",
        "/debug",
        "/debug/pprof",
        "/config",
        "/stats",
        "/.env",
        "/broadcaster.toml",
        "/.broadcaster/dev.json",
        "/static/../../etc/passwd",
        "/docs",
        "/apps",
        "/apps/1234",
    ],
)
async def test_s19_there_is_nothing_else_to_find(path: str, gateway: RunningGateway) -> None:
    answer = await gateway.http.get(path)

    assert answer.status_code in (401, 404)


async def test_s19_what_is_open_names_no_app_and_no_channel(gateway: RunningGateway) -> None:
    async with gateway.connect() as client:
        await client.subscribe("private-confidential")
        pages = [(await gateway.http.get(path)).text for path in sorted(OPEN)]

    for page in pages:
        for word in (APP.key, APP.secret, "confidential", "redis://", "unix://", client.socket_id):
            assert word not in page


async def test_s19_no_answer_names_the_software_s_versions(gateway: RunningGateway) -> None:
    answer = await gateway.http.get("/up")

    assert {name.lower() for name in answer.headers}.isdisjoint({"server", "x-powered-by"})
    assert json.loads((await gateway.http.get("/")).text).keys() <= {
        "name",
        "websocket",
        "http_api",
        "up",
        "ready",
        "openapi",
    }
