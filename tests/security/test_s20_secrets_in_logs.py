"""
S20: what may never stand in a log, looked for in everything that is logged at debug level.

A gateway and a worker as processes, an auth endpoint in this one, with `debug` on, which is
the worst case; through everything that goes well and everything that is refused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from broadcaster_auth import Authorizer, broadcasting_auth
from broadcaster_auth.tokens import load_key, mint

from broadcaster import PrivateChannel, ShouldBroadcast, broadcast
from broadcaster.contracts.apps import App
from broadcaster.protocol.signing import hmac_hex, sign_channel, sign_request, sign_user
from broadcaster.testing.client import connected
from tests.e2e.chain import backend
from tests.gateway.processes import environment, serve_process
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.testing.client import PusherClient
    from tests.gateway.processes import ServeProcess

# Each stands where something confidential stands in real life.
MARKS = {
    "payload": "MARK-payload-7c1f",
    "whisper": "MARK-whisper-9d02",
    "member": "MARK-member-41ab",
    "user": "MARK-user-info-e3c8",
    "hook header": "MARK-hook-header-55d1",
    "hook query": "MARK-hook-query-a9e0",
    "cookie": "MARK-cookie-0b7e",
}
GRANT_KEY = "MARK-grant-key-of-thirty-two-bytes-or-more"
MASTER_KEY = base64.b64encode(b"MARK-master-key-of-32-bytes-long").decode()


@dataclass
class Shipped(ShouldBroadcast):
    """Travels through queue and worker."""

    number: int

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel("orders")

    def broadcast_with(self) -> dict[str, Any]:
        return {"secret": MARKS["payload"]}


class Session:
    """What is done, and what was used for it that nobody may read."""

    def __init__(self, served: ServeProcess) -> None:
        self.served = served
        self.url = f"ws://127.0.0.1:{served.port}"
        self.used: set[str] = set()

    def channel(self, client: PusherClient, name: str, data: str | None = None) -> str:
        auth = sign_channel(
            APP.key, APP.secret, socket_id=client.socket_id, channel=name, channel_data=data
        )
        self.used.add(auth.partition(":")[2])
        return auth

    def grant(self, *channels: str, now: float) -> str:
        key = load_key("1", "HS256", GRANT_KEY, app_secret=APP.secret)
        token = mint(key, app_id=APP.id, sub="7", channels=channels, now=now, lifetime=60)
        self.used.update(token.split(".")[1:])
        return f"{APP.key}:{token}"

    async def subscribe(self, client: PusherClient, name: str, **data: Any) -> None:
        await client.send({"event": "pusher:subscribe", "data": {"channel": name, **data}})

    async def http(
        self, route: str, body: bytes, *, bend: str = "", now: float | None = None
    ) -> int:
        path = f"/apps/{APP.id}{route}"
        params = sign_request(
            APP.key,
            APP.secret,
            method="POST",
            path=path,
            body=body,
            params={},
            now=time.time() if now is None else now,
        )
        self.used.add(params["auth_signature"])
        if bend:
            params[bend] = params[bend][:-1] + ("0" if params[bend][-1] != "0" else "1")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.served.port}") as http:
            headers = {"Cookie": MARKS["cookie"], "Authorization": f"Bearer {MARKS['cookie']}"}
            answer = await http.post(path, params=params, content=body, headers=headers)
        return answer.status_code


async def subscriptions(session: Session) -> None:
    """Signed, granted, refused, and refused in every way that explains itself."""
    member = json.dumps({"user_id": "7", "user_info": {"x": MARKS["member"]}})
    async with connected(session.url, APP) as client:
        await session.subscribe(client, "private-a", auth=session.channel(client, "private-a"))
        auth = session.channel(client, "presence-a", member)
        await session.subscribe(client, "presence-a", auth=auth, channel_data=member)
        await session.subscribe(
            client, "private-g", auth=session.grant("private-g", now=time.time())
        )
        for _ in range(3):
            await client.next("pusher_internal:subscription_succeeded")
        wrong = [
            ("private-b", session.channel(client, "b"), None),
            ("private-b", session.channel(client, "private-other"), None),
            ("presence-b", session.channel(client, "presence-b", member), member + " "),
            ("presence-b", session.channel(client, "presence-b"), member),
            ("private-b", session.grant("private-z", now=time.time()), None),
            ("private-b", session.grant("private-b", now=time.time() - 3_600), None),
            ("private-b", session.grant("private-b", now=time.time())[:-3], None),
            ("private-b", f"{APP.key}:{APP.secret}", None),
            ("private-b", f"{APP.secret}:" + "0" * 64, None),
        ]
        for name, auth, data in wrong:
            more = {} if data is None else {"channel_data": data}
            await session.subscribe(client, name, auth=auth, **more)
            await client.next("pusher:subscription_error")
        await client.whisper("private-a", "x", MARKS["whisper"])
        await client.whisper("private-none", "x", MARKS["whisper"])
        await client.send('{"event":"pusher:subscribe","data":"' + MARKS["member"])
        await client.send({"event": "client-" + "x" * 300, "data": MARKS["whisper"]})
        await client.settle()


async def sign_ins(session: Session) -> None:
    user_data = json.dumps({"id": "7", "user_info": {"x": MARKS["user"]}})
    async with connected(session.url, APP) as client:
        for data in (user_data + " ", user_data):
            auth = sign_user(APP.key, APP.secret, socket_id=client.socket_id, user_data=user_data)
            session.used.add(auth.partition(":")[2])
            await client.send({"event": "pusher:signin", "data": {"auth": auth, "user_data": data}})
        await client.next("pusher:signin_success")


async def publishes(session: Session) -> None:
    body = json.dumps({"name": "e", "channel": "private-a", "data": MARKS["payload"]}).encode()
    assert await session.http("/events", body) == 200
    for bend in ("auth_signature", "body_md5", "auth_key"):
        assert await session.http("/events", body, bend=bend) == 401
    assert await session.http("/events", body, now=time.time() - 700) == 401
    assert await session.http("/events", body[:-1]) == 400
    assert await session.http("/events", body.replace(b"private-a", b"a b")) == 400
    assert await session.http("/batch_events", body) == 400


async def auth_requests(session: Session) -> None:
    """The auth endpoint, in this process."""
    rules = Authorizer()
    rules.add("room", lambda user: {"id": 7, "name": MARKS["member"]})

    def broken(user: object) -> bool:
        raise RuntimeError("the rule is broken")

    rules.add("broken", broken)
    app = App(id=APP.id, key=APP.key, secret=APP.secret)
    endpoint = broadcasting_auth(
        app,
        user=lambda request: {"id": 7},
        authorizer=rules,
        user_data=lambda user: {"id": "7", "user_info": {"x": MARKS["user"]}},
        debug=True,
    )
    transport = httpx.ASGITransport(endpoint, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as http:
        headers = {"Authorization": f"Bearer {MARKS['cookie']}", "Cookie": MARKS["cookie"]}
        for channel in ("private-room", "presence-room", "private-broken", "private-none", "a b"):
            form = {"socket_id": "1.2", "channel_name": channel}
            answer = await http.post("/auth", data=form, headers=headers)
            if answer.status_code == 200:
                session.used.add(answer.json()["auth"].partition(":")[2])
        await http.post("/user-auth", data={"socket_id": "1.2"}, headers=headers)


@asynccontextmanager
async def working(redis_url: str, prefix: str, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broadcaster", "work", "--log-level", "debug"),
            env=environment(redis_url, prefix, BROADCASTER_DEBUG="true"),
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def forbidden(session: Session) -> dict[str, str]:
    """What is looked for, by what it is."""
    return {
        **MARKS,
        "app secret": APP.secret,
        "grant key": GRANT_KEY,
        "master key": MASTER_KEY,
        "master key itself": "MARK-master-key",
        "half of the secret": APP.secret[:16] + APP.secret[16:24],
        **{f"signature or token {n}": text for n, text in enumerate(sorted(session.used))},
    }


@pytest.mark.process
async def test_s20_no_secret_token_or_payload_is_logged_at_any_level(
    redis_url: str, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "broadcaster")
    caplog.set_level(logging.DEBUG, "broadcaster_auth")
    served_log, worked_log = tmp_path / "serve.log", tmp_path / "work.log"
    hooks = [
        {
            "url": f"http://127.0.0.1:9/hook?token={MARKS['hook query']}",
            "headers": {"X-Token": MARKS["hook header"]},
        }
    ]
    settings: dict[str, Any] = {
        "BROADCASTER_DEBUG": "true",
        "BROADCASTER_APP_GRANT_KEY": GRANT_KEY,
        "BROADCASTER_APP_ENCRYPTION_KEY": MASTER_KEY,
        "BROADCASTER_APP__WEBHOOKS": json.dumps(hooks).replace(":9/", ":49151/"),
        "BROADCASTER_WEBHOOKS__ALLOW_PRIVATE": "true",
    }
    async with (
        serve_process(
            redis_url, prefix, "--log-level", "debug", "--drain", "0", log=served_log, **settings
        ) as served,
        working(redis_url, prefix, worked_log),
        backend(redis_url, prefix),
    ):
        session = Session(served)
        await subscriptions(session)
        await sign_ins(session)
        await publishes(session)
        await auth_requests(session)
        async with connected(session.url, APP) as client:
            await client.subscribe("private-orders")
            await asyncio.to_thread(broadcast, Shipped(1))
            await client.next("App\\Events\\Shipped")
        await eventually(lambda: "published" in worked_log.read_text("utf-8"))

    logged = {
        "gateway": served_log.read_text("utf-8"),
        "worker": worked_log.read_text("utf-8"),
        "auth endpoint": caplog.text + " ".join(str(vars(record)) for record in caplog.records),
    }
    found = [
        f"{what} in the log of the {whose}"
        for what, text in forbidden(session).items()
        for whose, said in logged.items()
        if text in said
    ]
    assert found == []
    assert '"event": "denied"' in logged["gateway"], "refusals are told, so there was much to hide"
    assert '"level": "debug"' in logged["gateway"]
    assert "auth_signature" not in logged["gateway"]


def test_s20_what_is_looked_for_would_be_found() -> None:
    digest = hmac_hex(APP.secret, b"1.2:private-a")

    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert digest in f'{{"msg": "denied: got {digest}"}}'
