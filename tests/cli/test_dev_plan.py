from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.dev_folder import DevFolder
from broadcaster.cli.dev_plan import (
    DEMO_APP,
    Plan,
    describe_redis,
    make_plan,
    program_name,
)
from broadcaster.cli.dev_ports import PortHolds
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = {f"BROADCASTER_APP_{name}": f"{name.lower()}1" for name in ("ID", "KEY", "SECRET")}


def plan(folder: Path, application: str | None = DEMO_APP, **environ: str) -> Plan:
    environ = {"REDIS_URL": "redis://:hush@db.example:6380/2", **environ}
    settings = load_settings(cwd=folder, environ=environ)
    with DevFolder(folder) as dev, PortHolds(folder) as ports:
        return make_plan(settings, dev, application, None, ports)


def test_a_gateway_elsewhere_warns_of_front_ends_with_its_port_written_in(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        panel = plan(tmp_path, None, BROADCASTER_GATEWAY__PORT=str(port)).panel()

    assert f"a front end with {port} written into it talks to the other one" in panel.problems[0]


def test_configured_credentials_win_over_generated_ones(tmp_path: Path) -> None:
    made = plan(tmp_path, **CREDENTIALS)

    assert made.credentials[:3] == ("id1", "key1", "secret1")
    assert not (tmp_path / ".broadcaster" / "credentials.json").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hush@db.example:6380/2", "redis://db.example:6380"),
        ("redis+sentinel://:hush@a:1,b:2/shop?sentinel_password=x", "redis+sentinel://a:1,b:2"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_server_is_named_without_its_password(tmp_path: Path, url: str, shown: str) -> None:
    settings = load_settings(cwd=tmp_path, environ={"REDIS_URL": url})

    assert describe_redis(settings, None) == f"{shown}, from environment REDIS_URL"


def test_the_demo_stops_first_and_the_worker_last(tmp_path: Path) -> None:
    assert [child.name for child in plan(tmp_path).children()] == ["demo", "gateway", "worker"]


def test_a_worker_imports_the_application_it_works_for(tmp_path: Path) -> None:
    worker = plan(tmp_path, "shop.main:app").children()[-1]

    assert list(worker.arguments) == ["work", "--all-queues", "--with-schedule", "shop.main"]


def test_without_a_page_there_is_nothing_to_import(tmp_path: Path) -> None:
    children = plan(tmp_path, None).children()

    assert [child.arguments[0] for child in children] == ["serve", "work"]
    assert list(children[-1].arguments) == ["work", "--all-queues", "--with-schedule"]


def test_the_schedule_can_be_left_alone(tmp_path: Path) -> None:
    worker = replace(plan(tmp_path, None), schedules=False).children()[-1]

    assert list(worker.arguments) == ["work", "--all-queues"]


def test_a_drain_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    name = "BROADCASTER_GATEWAY__DRAIN_SECONDS"

    assert plan(tmp_path).children()[1].environment[name] == "0.5"
    assert name not in plan(tmp_path, **{name: "7"}).children()[1].environment


@pytest.mark.parametrize(
    ("started_as", "typed"),
    [
        ("bin/broadcaster", "bin/broadcaster"),
        ("/elsewhere/broadcaster", "/elsewhere/broadcaster"),
        ("/elsewhere/__main__.py", "python -m broadcaster"),
    ],
)
def test_the_panel_names_the_program_as_it_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started_as: str, typed: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert program_name(started_as) == typed
    assert program_name(f"{tmp_path}/.venv/bin/broadcaster") == ".venv/bin/broadcaster"
