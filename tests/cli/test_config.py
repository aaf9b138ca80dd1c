"""``broadcaster config show``: values, sources, no secrets."""

from __future__ import annotations

import json
import re
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
        BROADCASTER_FAILED__URL="postgresql://user:hunter2@db.internal/shop?password=hunter2",
    )

    assert "hunter2" not in result.output
    assert "redis://user:********@redis.internal:6379/0" in result.output


def test_programs_get_json() -> None:
    table = json.loads(show("--json", **CREDENTIALS).stdout)

    assert table["app.key"] == {"value": "app-key", "source": "environment BROADCASTER_APP_KEY"}
    assert table["app.secret"]["value"] == "********"
    assert table["app.limits.allowed_origins"]["value"] == ["*"]
    assert table["gateway.port"] == {"value": 8080, "source": "default"}


APPS = """
[[apps]]
id = "shop"
key = "shop-key"
secret = "hunter2-secret"
grant_key = "hunter2hunter2hunter2hunter2hunter2"
encryption_key = "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0="

[apps.limits]
max_connections = 5

[[apps.webhooks]]
url = "https://shop.example/hooks"
headers = { X-Token = "hunter2" }

[[apps]]
id = "blog"
key = "blog-key"
secret = "hunter2"
enabled = false
"""


def test_several_apps_are_shown_below_their_secrets_masked(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(APPS)

    result = show()

    assert "hunter2" not in result.output
    assert "bW1t" not in result.output
    assert re.search(r"^apps +shop, blog +broadcaster\.toml$", result.stdout, re.MULTILINE)
    shop = result.stdout.partition("apps #1\n")[2].partition("apps #2\n")[0]
    said = dict(line.split(maxsplit=1) for line in shop.splitlines())
    assert said["secret"] == said["grant_key"] == said["encryption_key"] == "********"
    assert said["webhooks"] == "https://shop.example/hooks"
    assert said["limits"] == "max_connections = 5"
    assert "several apps are configured (shop, blog) and none is chosen" in result.stderr


def test_programs_get_them_as_a_list(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(APPS)

    shop, blog = json.loads(show("--json").stdout)["apps"]["value"]

    assert (shop["id"], shop["enabled"], shop["limits"]) == ("shop", True, {"max_connections": 5})
    assert (blog["id"], blog["enabled"], blog["secret"]) == ("blog", False, "********")


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
        (
            "redis+sentinel://:p@a:1,b:2/shop/0?sentinel_password=q&sentinel_ssl=true",
            "redis+sentinel://:********@a:1,b:2/shop/0?sentinel_password=********&sentinel_ssl=true",
        ),
        (
            "redis+sentinel://a/s?sentinel_password=q",
            "redis+sentinel://a/s?sentinel_password=********",
        ),
    ],
)
def test_only_the_passwords_of_a_url_are_masked(url: str, masked: str) -> None:
    assert mask_password(url) == masked


def test_a_setting_that_is_unknown_still_shows_those_that_exist() -> None:
    """The error for an unknown name sends people here, and that name is still set then."""
    result = CliRunner().invoke(config, ["show"], env={"BROADCASTER_XYZ": "1"})

    assert isinstance(result.exception, ConfigurationError)
    lines = dict(line.split() for line in result.stdout.splitlines())
    assert set(lines) == set(setting_types())
    assert lines["gateway.port"] == "BROADCASTER_GATEWAY__PORT"
