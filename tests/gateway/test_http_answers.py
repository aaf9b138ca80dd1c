"""Bad input over HTTP: each row of the page on errors is what the server really answers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.apps import App, AppLimits
from broadcaster.protocol.signing import sign_request
from tests.gateway.http_world import APP, BATCH, CHANNELS, EVENT, EVENTS, NOW, OTHER, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
ITEM = {"name": "a", "data": "", "channel": "a"}
OLD = f"{CHANNELS}/orders/events"


def event(body: bytes | dict[str, Any]) -> Callable[[World], Awaitable[httpx.Response]]:
    """A signed `events` request with `body`, or with EVENT changed by it."""
    return lambda world: world.call(
        "POST", EVENTS, body if isinstance(body, bytes) else {**EVENT, **body}
    )


def read(path: str, **params: str) -> Callable[[World], Awaitable[httpx.Response]]:
    """A signed GET."""
    return lambda world: world.call("GET", path, params=params)


def credentials(**change: str | None) -> Callable[[World], Awaitable[httpx.Response]]:
    """An `events` request whose signed query was changed; None takes a parameter out."""

    async def ask(world: World) -> httpx.Response:
        raw = json.dumps(EVENT).encode()
        signed = sign_request(
            APP.key, APP.secret, method="POST", path=EVENTS, body=raw, params={}, now=NOW
        )
        params = {name: value for name, value in {**signed, **change}.items() if value is not None}
        return await world.send("POST", EVENTS, content=raw, params=params)

    return ask


def compressed(world: World) -> Awaitable[httpx.Response]:
    return world.call("POST", EVENTS, EVENT, headers={"content-encoding": "gzip"})


def late(world: World) -> Awaitable[httpx.Response]:
    world.now = NOW + 601
    return world.call("GET", CHANNELS)


async def other_request(world: World) -> httpx.Response:
    first = await world.call("POST", EVENTS, {**EVENT, "idempotency_key": "key-1"})
    assert first.status_code == 200
    world.broker.calls = 0
    return await world.call("POST", EVENTS, {**EVENT, "data": "2", "idempotency_key": "key-1"})


async def too_fast(world: World) -> httpx.Response:
    world.apps.add(replace(APP, limits=AppLimits(publish_rate=10)))
    first = await world.call("POST", EVENTS, {**EVENT, "channels": [f"c{n}" for n in range(40)]})
    assert first.status_code == 200
    world.broker.calls = 0
    return await world.call("POST", EVENTS, EVENT)


async def disabled(world: World) -> httpx.Response:
    world.apps.add(replace(APP, enabled=False))
    return await world.call("GET", CHANNELS)


CASES: dict[str, Callable[[World], Awaitable[httpx.Response]]] = {
    # JSON
    "broken JSON": event(b'{"name":'),
    "5 kB of `[`": event(b"[" * 5_000),
    "an ignored field holding 5 kB of `[`": event(b'{"x":' + b"[" * 5_000),
    "a lone surrogate": event(b'{"name":"\\ud800","data":"","channel":"a"}'),
    "the number NaN": event(b'{"name":"a","data":NaN,"channel":"a"}'),
    "bytes that are not UTF-8": event(b'{"name":"\xff","data":"","channel":"a"}'),
    "`data` that is an object": event({"data": {"a": 1}}),
    "no `data`": event(b'{"name":"a","channel":"a"}'),
    # Limits
    "`data` of 10,241 bytes": event({"data": "x" * 10_241}),
    "a body of 2 MB": lambda world: world.send("POST", EVENTS, content=b"x" * 2_000_000),
    "101 channels": event({"channels": [f"c{n}" for n in range(101)]}),
    "no channel": event({"channels": []}),
    "`channel` and `channels`": event({"channel": "a"}),
    "a batch of 11": lambda world: world.call("POST", BATCH, {"batch": [ITEM] * 11}),
    "a batch with one bad event": lambda world: world.call(
        "POST", BATCH, {"batch": [ITEM, {**ITEM, "channel": ""}]}
    ),
    # Names
    "a channel name with a space": event({"channels": ["a b"]}),
    "a channel name of 201 characters": event({"channels": ["c" * 201]}),
    "a reserved channel name": event({"channels": ["#all"]}),
    "an encrypted channel among others": event({"channels": ["private-encrypted-a", "b"]}),
    "an event name of 201 characters": event({"name": "n" * 201}),
    "an event name of the protocol's": event({"name": "pusher:error"}),
    "a bad `socket_id`": event({"socket_id": "1.2:private-y"}),
    "an unknown `info`": event({"info": "cache"}),
    "`info=user_count` without a presence channel": event({"info": "user_count"}),
    "an idempotency key of 129 characters": event({"idempotency_key": "k" * 129}),
    "two idempotency keys": lambda world: world.call(
        "POST", EVENTS, {**EVENT, "idempotency_key": "a"}, headers={"idempotency-key": "b"}
    ),
    "an idempotency key of another request": other_request,
    "more messages than the publish rate": too_fast,
    # The deprecated route
    "an old request without `name`": lambda world: world.call("POST", OLD),
    "an old request that is not UTF-8": lambda world: world.call(
        "POST", OLD, b"\xff", {"name": "a"}
    ),
    # Reads
    "an unknown parameter of a read": read(f"{CHANNELS}/presence-a/users", info="user_count"),
    "`user_count` of all channels": read(CHANNELS, info="user_count"),
    "the cache of another channel": read(f"{CHANNELS}/private-a", info="cache"),
    "users of a private channel": read(f"{CHANNELS}/private-a/users"),
    "a parameter given twice": lambda world: world.send("GET", f"{CHANNELS}?info=a&INFO=b"),
    "an array parameter": lambda world: world.send("GET", f"{CHANNELS}?info[]=user_count"),
    "a query that is not UTF-8": lambda world: world.send("GET", f"{CHANNELS}?info=%FF"),
    "a path that is not UTF-8": lambda world: world.send("GET", f"{CHANNELS}/%FF"),
    "a query of 9,005 bytes": lambda world: world.send("GET", f"{CHANNELS}?info={'x' * 9_000}"),
    # Users
    "a user id with a space": lambda world: world.call(
        "POST", "/apps/1234/users/a%20b/terminate_connections"
    ),
    # Credentials
    "no credentials": lambda world: world.send("GET", CHANNELS),
    "no timestamp": credentials(auth_timestamp=None),
    "no signature": credentials(auth_signature=None),
    "a timestamp that is no number": credentials(auth_timestamp="soon"),
    "another `auth_version`": credentials(auth_version="2.0"),
    "a timestamp 601 s old": late,
    "a wrong signature": credentials(auth_signature="0" * 64),
    "a body that does not match its md5": credentials(body_md5="0" * 32),
    "a body without md5": credentials(body_md5=None),
    "another app's credentials": lambda world: world.call("GET", CHANNELS, app=OTHER),
    "a disabled app": disabled,
    "an app that does not exist": lambda world: world.call("GET", "/apps/9/channels"),
    "an app that does not exist, and a made-up key": lambda world: world.call(
        "GET", "/apps/9/channels", app=App(id="9", key="guess", secret="guess")
    ),
    # HTTP
    "a wrong path": lambda world: world.send("GET", "/apps/1234/nothing"),
    "a wrong method": lambda world: world.send("GET", EVENTS),
    "a compressed body": compressed,
}


@pytest.mark.parametrize("name", CASES)
async def test_the_page_on_errors_has_the_exact_answer(name: str) -> None:
    world = World()

    response = await CASES[name](world)

    error = response.json()["error"]
    status, code, message = row(name)
    assert (response.status_code, error["code"]) == (status, code)
    assert re.fullmatch(re.escape(message).replace("…", ".*"), error["message"])
    assert world.broker.calls == 0


async def test_unknown_json_fields_are_no_error() -> None:
    response = await event({"tags": [1], "__proto__": {}})(World())

    assert (response.status_code, response.content) == (200, b"{}")


def row(name: str) -> tuple[int, str, str]:
    """The documented answer: ``| name | status | `code` | message |``."""
    found = re.findall(
        rf"^\| {re.escape(name)} \| (\d+) \| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE
    )
    assert len(found) == 1, f"docs/errors.md has {len(found)} rows for {name!r}"
    [(status, code, message)] = found
    return int(status), code, message
