"""``broadcaster webhook test``: a receiver tried from a terminal."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from pusher import Pusher  # type: ignore[import-untyped]  # it has no types

from broadcaster.cli.webhook import webhook
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.errors import ConfigurationError
from broadcaster.settings import Settings, WorkerSettings
from broadcaster.wiring.worker_options import queue_names
from tests.cli.surroundings import CREDENTIALS, surround
from tests.webhooks.receiving import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.app_table import AppTable

PRIVATE = {"BROADCASTER_WEBHOOKS__ALLOW_PRIVATE": "true"}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surround(tmp_path, monkeypatch)


def run(*args: str, **env: str) -> Result:
    given = {**CREDENTIALS, **env}
    return CliRunner().invoke(webhook, ["test", *args], env=given, catch_exceptions=False)


def hooks(*said: dict[str, Any]) -> dict[str, str]:
    return {**PRIVATE, "BROADCASTER_APP__WEBHOOKS": json.dumps(said)}


async def test_each_receiver_of_the_app_gets_a_signed_sample() -> None:
    async with receiving() as first, receiving() as second:
        env = hooks({"url": first.url + "?a=secret"}, {"url": second.url, "events": ["cache_miss"]})
        second.extra = b"\r\n\r\nthank\x1b[31m you"

        result = await asyncio.to_thread(run, **env)

    assert result.exit_code == 0
    assert f"POST {first.url}  channel_occupied of app" in result.stdout
    assert "accepted: 200 in" in result.stdout.replace("(thank [31m you) ", "")
    assert "secret" not in result.stdout
    (request,) = second.requests
    library = Pusher(
        app_id=CREDENTIALS["BROADCASTER_APP_ID"],
        key=CREDENTIALS["BROADCASTER_APP_KEY"],
        secret=CREDENTIALS["BROADCASTER_APP_SECRET"],
    )
    checked = library.validate_webhook(
        request.header("X-Pusher-Key"), request.header("X-Pusher-Signature"), request.body.decode()
    )
    assert checked["events"] == [{"name": "cache_miss", "channel": "presence-webhook-test"}]


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "did not accept the signature"), (308, "redirects are not followed"), (500, "500")],
)
async def test_what_is_not_accepted_is_explained(status: int, said: str) -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _: status

        result = await asyncio.to_thread(run, "--url", receiver.url, **PRIVATE)

    assert result.exit_code == 1
    assert f"not accepted: {status}" in result.stdout
    assert said in result.stdout


async def test_the_guard_holds_here_too() -> None:
    async with receiving() as receiver:
        result = await asyncio.to_thread(run, "--url", receiver.url)

    assert result.exit_code == 1
    assert "webhooks.allow_private" in result.stdout
    assert receiver.connections == 0


@pytest.mark.parametrize("event", ["member_added", "client_event", "subscription_count"])
async def test_an_event_can_be_chosen(event: str) -> None:
    async with receiving() as receiver:
        await asyncio.to_thread(run, "--url", receiver.url, "--event", event, **PRIVATE)

    assert [told["name"] for told in receiver.events] == [event]


def test_an_app_without_receivers_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r"\[\[app.webhooks\]\]"):
        run()


def test_another_app_must_be_one_that_there_is() -> None:
    with pytest.raises(ConfigurationError, match="no app has the id '999'"):
        run("--app", "999")


async def test_the_app_may_be_one_that_redis_holds(clients: RedisClients) -> None:
    async with receiving() as receiver:
        blog: AppTable = {"id": "blog", "key": "blog-key", "secret": "blog secret"}
        blog["webhooks"] = [{"url": receiver.url, "events": ["cache_miss"]}]
        await RedisApps(clients).put(blog, replacing=None)
        env = {"REDIS_URL": clients.url, "BROADCASTER_PREFIX": clients.prefix, **PRIVATE}

        result = await asyncio.to_thread(run, "--app", "blog", **env)

    assert result.exit_code == 0
    assert receiver.requests[0].header("X-Pusher-Key") == "blog-key"


@pytest.mark.parametrize("queue", ["broadcaster.facts", "default,broadcaster.webhooks"])
def test_no_worker_takes_the_queues_of_gateways(queue: str) -> None:
    said = WorkerSettings(queue=tuple(queue.split(",")))

    with pytest.raises(ConfigurationError, match="for gateways"):
        queue_names(said, Settings())
