"""The demo in this process, its queue replaced by one that records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from broadcaster import current
from broadcaster.demo.app import create_app
from broadcaster.protocol.app import App
from broadcaster.settings import GatewaySettings, Settings
from tests.events.recording import RecordingApplication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SETTINGS = Settings(
    app=App(id="123456", key="demo-key", secret="s" * 32), gateway=GatewaySettings(port=18080)
)


@pytest.fixture
def queue() -> Iterator[RecordingApplication]:
    application = RecordingApplication()
    current.use(application)
    yield application
    current.reset()


@pytest.fixture
async def demo(queue: RecordingApplication) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(SETTINGS), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client
