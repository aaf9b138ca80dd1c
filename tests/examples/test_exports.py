"""Row 54 from end to end: gateway, worker, web application, and a job in a process of its own."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster.protocol.app import App
from broadcaster.testing.client import SUCCEEDED, PusherClient, connected
from tests.cli.worker_process import environment
from tests.examples.example_world import EXAMPLES, python
from tests.polling import eventually_async
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

APP = App(id="4711", key="exports-key", secret="exports-secret-of-32-characters!")

pytestmark = [pytest.mark.redis, pytest.mark.process]


@dataclass(frozen=True)
class Site:
    """The running example."""

    web: str
    gateway: str

    async def ask(self, method: str, path: str, token: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.request(method, self.web + path, headers=headers, **more)

    async def enter(self, client: PusherClient, token: str, channel: str) -> int:
        """Subscribe as Echo does; return what the application answers."""
        asked = {"socket_id": client.socket_id, "channel_name": channel}
        answer = await self.ask("POST", "/broadcasting/auth", token, data=asked)
        if answer.status_code == httpx.codes.OK:
            data = {"channel": channel, **answer.json()}
            await client.send({"event": "pusher:subscribe", "data": data})
            await client.next(SUCCEEDED, channel=channel)
        return answer.status_code


@pytest.fixture
async def site(redis_url: str, tmp_path: Path) -> Any:
    gateway, web = free_port(), free_port()
    env = environment(
        redis_url,
        f"exports-{uuid.uuid4().hex[:8]}",
        BROADCASTER_APP_ID=APP.id,
        BROADCASTER_APP_KEY=APP.key,
        BROADCASTER_APP_SECRET=APP.secret,
        BROADCASTER_GATEWAY__DRAIN_SECONDS="0.2",
        EXPORT_FOLDER=str(tmp_path),
    )
    with ExitStack() as running:
        for name, arguments in {
            "gateway": ("-m", "broadcaster", "serve", "--port", str(gateway)),
            "worker": ("-m", "broadcaster", "work", "exports", "--queue=broadcasts,exports"),
            "web": ("-m", "uvicorn", "exports:app", "--port", str(web)),
        }.items():
            running.enter_context(
                python(EXAMPLES / "exports", arguments, env, tmp_path / f"{name}.log")
            )
        await eventually_async(lambda: answers(f"http://127.0.0.1:{gateway}/ready"), within=30)
        await eventually_async(lambda: answers(f"http://127.0.0.1:{web}/jobs/x"), within=30)
        yield Site(f"http://127.0.0.1:{web}", f"ws://127.0.0.1:{gateway}")


async def test_row_54_progress_reaches_the_browser_of_whom_it_is_for(site: Site) -> None:
    async with connected(site.gateway, APP) as ada, connected(site.gateway, APP) as grace:
        assert await site.enter(grace, "grace-token", "private-users.1") == 403
        assert await site.enter(ada, "ada-token", "private-users.1") == 200

        accepted = await site.ask("POST", "/events/7/export", "ada-token")
        told: list[dict[str, Any]] = []
        while not told or told[-1]["status"] != "completed":
            told.append((await ada.next("job.status")).data)

        assert grace.received("job.status") == []

    job_id = accepted.json()["job_id"]
    assert accepted.status_code == 202
    assert {each["job_id"] for each in told} == {job_id}
    assert [each["progress"] for each in told] == sorted(each["progress"] for each in told)
    assert [each["message"] for each in told if each["progress"] == 25] == ["1 of 4 rows"]
    shown = (await site.ask("GET", f"/jobs/{job_id}", "ada-token")).json()
    assert shown == told[-1]
    assert (await site.ask("GET", f"/jobs/{job_id}", "grace-token")).status_code == 404
    file = await site.ask("GET", shown["result_url"], "ada-token")
    assert file.text.split() == ["name", "Ada", "Grace", "Hedy", "Radia"]


async def answers(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(url, timeout=2.0)).status_code < 500
        except httpx.TransportError:
            return False
