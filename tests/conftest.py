"""Fixtures that more than one package of tests needs: a Redis-protocol server and its clients."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.embedded import EmbeddedServer, find_server_binary
from broadcaster.errors import NotConfigured
from broadcaster.jobs.lifecycle import LifecycleEvent
from tests.faults import FaultyServer
from tests.hearing import hearing
from tests.sentinels import Watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# How long one example takes says nothing on a busy machine.
settings.register_profile("broadcaster", deadline=None)
settings.load_profile("broadcaster")

# Marks by fixture; and under CI=true a skipped test is a failed test.
pytest_plugins = ("tests.plugins.marks", "tests.plugins.no_skips", "tests.plugins.patience")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """One server for the whole session; tests keep apart by `prefix` and never flush."""
    _require_server()
    with EmbeddedServer() as server:
        yield server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[FaultyServer]:
    """A server of this test's own, with an append-only file."""
    _require_server()
    server = FaultyServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A master and a replica without files, and a sentinel."""
    _require_server()
    made = Watched(tmp_path / "watched")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def prefix() -> str:
    """A key prefix that nobody else uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def clients(redis_url: str, prefix: str) -> AsyncIterator[RedisClients]:
    """Clients of the session's server under a prefix of their own."""
    made = RedisClients(redis_url, prefix)
    yield made
    await made.aclose()


@pytest.fixture
def heard() -> Iterator[list[LifecycleEvent]]:
    """What listeners of jobs, queues and workers are told during the test."""
    with hearing(LifecycleEvent) as events:
        yield events


@pytest.fixture
def server_binary() -> None:
    """For tests that start a server by themselves."""
    _require_server()


def _require_server() -> None:
    try:
        find_server_binary()
    except NotConfigured as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
