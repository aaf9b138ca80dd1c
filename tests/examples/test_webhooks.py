"""The webhook receiver of the examples takes what gateways send, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster import configure, current
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.app_table import parse_webhooks
from broadcaster.protocol.webhooks import webhook_body, webhook_headers
from broadcaster.settings import Settings
from tests.webhooks.webhook_world import APP, fact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.protocol.facts import Fact

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhooks"


@pytest.fixture
def receiver() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("example_receiver", EXAMPLE / "receiver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    configure(Settings(app=APP))
    yield module
    current.reset()
    del sys.modules[spec.name]


async def send(receiver: Any, facts: Sequence[Fact], **headers: str) -> int:
    body = webhook_body(facts, now=facts[0].time_ms / 1000)
    given = dict(webhook_headers(APP, Webhook(url="http://x/hooks"), facts, body)) | headers
    async with client(receiver) as http:
        return (await http.post("/hooks", content=body, headers=given)).status_code


def client(receiver: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=receiver.app)
    return httpx.AsyncClient(transport=transport, base_url="http://receiver")


async def test_it_takes_each_event_once(receiver: Any) -> None:
    facts = [fact("orders"), fact("presence-a", "member_added", user_id="7"), fact("cache-a")]

    assert await send(receiver, facts) == 204
    assert await send(receiver, facts[:1]) == 204

    async with client(receiver) as http:
        latest = (await http.get("/")).json()
    assert [event["channel"] for event in latest] == ["cache-a", "presence-a", "orders"]


async def test_it_takes_nothing_that_is_unsigned_or_old(receiver: Any) -> None:
    one = fact()

    assert await send(receiver, [one], **{"X-Pusher-Signature": "0" * 64}) == 401
    assert await send(receiver, [one], **{"X-Pusher-Key": "other"}) == 401
    long_ago = fact(time_ms=one.time_ms - 400_000)
    assert await send(receiver, [long_ago]) == 401
    assert not receiver.seen


def test_its_settings_name_it() -> None:
    tables = tomllib.loads((EXAMPLE / "broadcaster.toml").read_text(encoding="utf-8"))

    (hook,) = parse_webhooks(tables["app"]["webhooks"], "the example")

    assert hook.url.endswith(":9000/hooks")
    assert "uvicorn receiver:app --port 9000" in (EXAMPLE / "README.md").read_text("utf-8")
    assert json.dumps(hook.headers) == "[]"
