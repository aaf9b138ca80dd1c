"""``broadcaster config show``: values, sources, no secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from broadcaster.cli.config import config, mask_password
from broadcaster.errors import ConfigurationError
from broadcaster.settings import setting_types
from tests.cli.surroundings import CREDENTIALS, surround

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surround(tmp_path, monkeypatch)


def show(*args: str, **env: str) -> Result:
    return CliRunner().invoke(config, ["show", *args], env=env, catch_exceptions=False)


def test_each_setting_is_a_line_with_value_and_source() -> None:
    result = show(BROADCASTER_GATEWAY__PORT="9000", BROADCASTER_IMPORTS="a,b")

    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == set(setting_types())
    assert "9000" in lines["gateway.port"]
    assert lines["gateway.port"].endswith("environment BROADCASTER_GATEWAY__PORT")
    assert "a, b" in lines["imports"]
    assert lines["debug"].split() == ["debug", "false", "default"]
    assert lines["redis_url"].split() == ["redis_url", "-", "default"]


def test_secrets_are_masked() -> None:
    result = show(
        **{**CREDENTIALS, "BROADCASTER_APP_SECRET": "hunter2"},
        BROADCASTER_APP_GRANT_KEY="hunter2" * 5,
        REDIS_URL="redis://user:hunter2@redis.internal:6379/0",
    )

    assert "hunter2" not in result.output
    assert "redis://user:********@redis.internal:6379/0" in result.output


def test_programs_get_json() -> None:
    table = json.loads(show("--json", **CREDENTIALS).stdout)

    assert table["app.key"] == {"value": "app-key", "source": "environment BROADCASTER_APP_KEY"}
    assert table["app.secret"]["value"] == "********"
    assert table["app.limits.allowed_origins"]["value"] == ["*"]
    assert table["gateway.port"] == {"value": 8080, "source": "default"}


def test_an_incomplete_set_of_credentials_is_mentioned() -> None:
    result = show(PUSHER_APP_KEY="k")

    assert "PUSHER lacks PUSHER_APP_ID, PUSHER_APP_SECRET" in result.stderr


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p@h:1/0", "redis://:********@h:1/0"),
        ("rediss://u:p%40x@h", "rediss://u:********@h"),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
    ],
)
def test_only_the_password_of_a_url_is_masked(url: str, masked: str) -> None:
    assert mask_password(url) == masked


def test_a_setting_that_is_unknown_still_shows_those_that_exist() -> None:
    """The error for an unknown name sends people here, and that name is still set then."""
    result = CliRunner().invoke(config, ["show"], env={"BROADCASTER_XYZ": "1"})

    assert isinstance(result.exception, ConfigurationError)
    lines = dict(line.split() for line in result.stdout.splitlines())
    assert set(lines) == set(setting_types())
    assert lines["gateway.port"] == "BROADCASTER_GATEWAY__PORT"
