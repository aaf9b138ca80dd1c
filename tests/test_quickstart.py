"""The tracks of docs/quickstart.md that need no other framework are run as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

from tests.cli.dev_process import PATIENCE, Dev, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.process, pytest.mark.redis]

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "quickstart.md").read_text()
PAGE = re.search(r"```html\n(.*?)```", TEXT, re.DOTALL)


def programs(track: str) -> list[str]:
    """Return the Python blocks of one track."""
    _, _, rest = TEXT.partition(f"\n## {track}\n")
    return re.findall(r"```python\n(.*?)```", rest.partition("\n## ")[0], re.DOTALL)


@contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[Dev]:
    dev = Dev(folder, *arguments, "--json", **environment)
    try:
        yield dev
    finally:
        dev.clean_up()


@pytest.mark.parametrize("track", ["FastAPI", "Starlette"])
def test_a_track_ships_its_order(tmp_path: Path, track: str) -> None:
    assert PAGE is not None
    (tmp_path / "page.html").write_text(PAGE[1])
    (tmp_path / "shop.py").write_text(programs(track)[0])
    with running(tmp_path, "shop:app") as dev:
        web = dev.ready["app_url"].rstrip("/")
        config = httpx.get(f"{web}/config.json").json()
        with connect(
            f"ws://127.0.0.1:{config['port']}/app/{config['key']}?protocol=7"
        ) as websocket:
            socket_id = json.loads(json.loads(websocket.recv(PATIENCE))["data"])["socket_id"]
            allowed = authorize(web, "ada-token", socket_id)
            subscribe = {"channel": "private-orders.1", **allowed.json()}
            websocket.send(json.dumps({"event": "pusher:subscribe", "data": subscribe}))
            websocket.recv(PATIENCE)
            httpx.post(f"{web}/ship", headers={"X-Socket-ID": socket_id})
            frame = json.loads(websocket.recv(PATIENCE))
        page, echo = httpx.get(web), httpx.get(f"{web}/vendor/echo.iife.js")
        refused = authorize(web, "grace-token", "1.1")

    assert json.loads(frame["data"]) == {"order_id": 7, "user_id": 1}
    assert page.text == PAGE[1]
    assert echo.is_success
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "rule_refused"


def authorize(web: str, token: str, socket_id: str) -> httpx.Response:
    return httpx.post(
        f"{web}/broadcasting/auth",
        data={"socket_id": socket_id, "channel_name": "private-orders.1"},
        headers={"Authorization": f"Bearer {token}"},
    )


def test_the_script_reaches_the_channel_through_its_job(tmp_path: Path) -> None:
    for name, program in zip(("report.py", "send.py"), programs("A script and a job"), strict=True):
        (tmp_path / name).write_text(program)
    with running(tmp_path, "--no-demo", BROADCASTER_IMPORTS="report") as dev:
        gateway, key = dev.ready["gateway_url"].replace("http", "ws"), dev.ready["key"]
        with connect(f"{gateway}/app/{key}?protocol=7") as websocket:
            websocket.recv(PATIENCE)
            subscribe = {"event": "pusher:subscribe", "data": {"channel": "reports"}}
            websocket.send(json.dumps(subscribe))
            websocket.recv(PATIENCE)
            subprocess.run(
                [sys.executable, "send.py"],
                cwd=tmp_path,
                env=clean_environment(),
                check=True,
                timeout=PATIENCE,
            )
            frame = json.loads(websocket.recv(PATIENCE))

    assert json.loads(frame["data"]) == {"month": "2026-11"}
