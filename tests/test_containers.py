"""
Dockerfile and docker-compose.yml say what the program understands.

No container engine is needed: the files are parsed, their commands are looked up in the
command line, and their environment is read by the settings.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from broadcaster.cli.main import COMMANDS
from broadcaster.settings import load_settings

PROJECT = Path(__file__).resolve().parents[1]
SERVICE_KEYS = {
    *("build", "image", "command", "environment", "ports", "volumes", "depends_on", "restart"),
    *("healthcheck", "stop_grace_period", "ulimits"),
}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", (PROJECT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines()]
    return [
        (word.upper(), rest)
        for word, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")
    ]


def with_secret(environment: dict[str, str]) -> dict[str, str]:
    """Fill in variables as an engine would, given a secret."""
    known = {"BROADCASTER_APP_SECRET": "s" * 40}
    return {
        name: VARIABLE.sub(lambda match: known.get(match[1], match[3] or ""), str(value))
        for name, value in environment.items()
    }


def check_command(command: list[str]) -> None:
    """Fail unless `command` is a broadcaster command line that click would parse."""
    assert command[0] == "broadcaster"
    target, _ = COMMANDS[command[1]]
    module, _, attribute = target.partition(":")
    getattr(importlib.import_module(module), attribute).make_context(
        command[1], list(command[2:]), resilient_parsing=False
    ).close()


def test_the_compose_file_has_the_services_that_the_documentation_names(
    services: dict[str, Any],
) -> None:
    assert set(services) == {"redis", "gateway-1", "gateway-2", "proxy", "worker", "demo"}


def test_every_key_of_a_service_is_known(services: dict[str, Any]) -> None:
    assert {key for service in services.values() for key in service} <= SERVICE_KEYS


def test_services_wait_for_services_that_exist(services: dict[str, Any]) -> None:
    waited = {name for service in services.values() for name in service.get("depends_on", ())}

    assert waited <= set(services)


def test_volumes_are_declared(compose: dict[str, Any], services: dict[str, Any]) -> None:
    used = {
        mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())
    }

    assert used == set(compose["volumes"])


def test_images_are_pinned(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]

    assert [image for image in images if ":" not in image or image.endswith(":latest")] == []


@pytest.mark.parametrize("name", ["gateway-1", "gateway-2", "worker"])
def test_a_service_runs_a_command_that_exists(services: dict[str, Any], name: str) -> None:
    check_command(services[name]["command"])


@pytest.mark.parametrize("name", ["gateway-1", "gateway-2", "worker", "demo"])
def test_the_settings_understand_the_environment(
    services: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """An unknown BROADCASTER_ name would be refused."""
    environment = with_secret(services[name]["environment"])

    settings = load_settings(cwd=tmp_path, environ=environment)

    assert settings.require_app().secret == "s" * 40
    assert settings.require_redis() == "redis://redis:6379/0"


def test_the_secret_has_no_default(services: dict[str, Any]) -> None:
    match = VARIABLE.fullmatch(services["worker"]["environment"]["BROADCASTER_APP_SECRET"])

    assert match is not None
    assert match[2] == "?"


def test_the_demo_names_a_factory_that_exists(services: dict[str, Any]) -> None:
    command = services["demo"]["command"]
    target = command[command.index("--factory") + 1]
    module, _, attribute = target.partition(":")

    assert callable(getattr(importlib.import_module(module), attribute))


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_redis_keeps_what_it_is_told(services: dict[str, Any]) -> None:
    command = " ".join(services["redis"]["command"])

    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_the_proxy_knows_every_gateway(services: dict[str, Any]) -> None:
    command = services["proxy"]["command"]

    upstreams = {command[i + 1] for i, word in enumerate(command) if word == "--to"}

    assert upstreams == {f"{name}:8080" for name in services if name.startswith("gateway-")}


def test_a_gateway_has_time_to_drain(services: dict[str, Any], tmp_path: Path) -> None:
    settings = load_settings(cwd=tmp_path, environ={})

    grace = float(services["gateway-1"]["stop_grace_period"].removesuffix("s"))

    assert grace > settings.gateway.drain_seconds


def test_the_image_does_not_run_as_root(dockerfile: list[tuple[str, str]]) -> None:
    users = [rest for word, rest in dockerfile if word == "USER"]

    assert users
    assert users[-1] not in ("0", "root")


def test_the_image_starts_a_command_that_exists(dockerfile: list[tuple[str, str]]) -> None:
    commands = [json.loads(rest) for word, rest in dockerfile if word == "CMD"]

    check_command(commands[-1])


def test_the_image_checks_its_own_health(dockerfile: list[tuple[str, str]]) -> None:
    checks = [rest for word, rest in dockerfile if word == "HEALTHCHECK"]

    assert len(checks) == 1
    assert "/up" in checks[0]


def test_the_image_copies_what_exists_and_is_not_ignored(
    dockerfile: list[tuple[str, str]],
) -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for word, rest in dockerfile
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert [source for source in copied if not (PROJECT / source).exists()] == []
    assert [source for source in copied if f"!{source}" not in ignored] == []


def test_the_settings_understand_the_environment_of_the_image(
    dockerfile: list[tuple[str, str]], tmp_path: Path
) -> None:
    words = " ".join(rest for word, rest in dockerfile if word == "ENV").split()
    environment = dict(word.split("=", 1) for word in words)

    settings = load_settings(cwd=tmp_path, environ=environment)

    assert settings.gateway.host == "0.0.0.0"
