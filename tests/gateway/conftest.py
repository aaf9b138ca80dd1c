"""Gateways for the tests of this folder."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from broadcaster.gateway.facts import Facts
from tests.gateway.mounted_world import mounted_world
from tests.gateway.world import RunningGateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.protocol.facts import Fact


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Fact]:
    """The facts that gateways tell; they are not queued."""
    facts: list[Fact] = []

    def tell(_: Facts, fact: Fact) -> None:
        facts.append(fact)

    monkeypatch.setattr(Facts, "tell", tell)
    return facts


class StartGateway(Protocol):
    async def __call__(self, **options: Any) -> RunningGateway: ...


@pytest.fixture
async def start_gateway(redis_url: str, prefix: str) -> AsyncIterator[StartGateway]:
    """Start gateways on one Redis; they stop when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> RunningGateway:
            options = {"redis_url": redis_url, "prefix": prefix, **options}
            return await stack.enter_async_context(running_gateway(**options))

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """One gateway with a short lease and a short grace."""
    return await start_gateway()


@pytest.fixture(params=["served", "/", "/realtime"])
async def any_gateway(
    request: pytest.FixtureRequest, redis_url: str, prefix: str
) -> AsyncIterator[RunningGateway]:
    """One gateway behind each of its shells: served, and mounted at a root and under a path."""
    if request.param == "served":
        async with running_gateway(redis_url, prefix) as served:
            yield served
    else:
        async with mounted_world(redis_url, prefix, path=request.param) as mounted:
            yield mounted
