"""``broadcaster app``: apps added, changed and removed while gateways run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from broadcaster.cli.app import app_group, changed
from broadcaster.errors import ConfigurationError, DriverError, NotConfigured
from tests.cli.surroundings import CREDENTIALS, surround

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Result]

BLOG = """
[[apps]]
id = "blog"
key = "blog-key"
secret = "hunter2"
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surround(tmp_path, monkeypatch)


@pytest.fixture
def run(redis_url: str, prefix: str) -> Run:
    env = {"REDIS_URL": redis_url, "BROADCASTER_PREFIX": prefix, **CREDENTIALS}

    def invoke(*args: str, **more: str) -> Result:
        return CliRunner().invoke(app_group, list(args), env={**env, **more})

    return invoke


def shown(run: Run, app_id: str = "shop") -> dict[str, Any]:
    table: dict[str, Any] = json.loads(run("show", app_id, "--json").stdout)
    return table


def secret_of(result: Result) -> str:
    found = re.search(r"BROADCASTER_APP_SECRET=(\w+)", result.stdout)
    assert found
    return found[1]


def test_a_new_app_gets_credentials_that_are_shown_once(run: Run) -> None:
    added = run("add", "shop")
    secret = secret_of(added)

    assert added.exit_code == 0
    assert re.search(r"BROADCASTER_APP_KEY=[0-9a-f]{20}\n", added.stdout)
    assert len(secret) == 40
    assert "new Echo({" in added.stdout
    assert "shown this once" in added.stderr
    for words in (("show", "shop"), ("show", "shop", "--json"), ("list",), ("list", "--json")):
        assert secret not in run(*words).output


def test_without_an_id_every_library_can_name_it(run: Run) -> None:
    """PyPI's `pusher` takes digits only."""
    table = json.loads(run("add", "--json").stdout)

    assert re.fullmatch(r"[0-9]{6}", table["id"])
    assert set(table) == {"id", "key", "secret"}


def test_apps_of_both_places_are_listed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(BLOG)
    run("add", "shop", "--set", "enabled=false")

    lines = {line.split()[0]: line for line in run("list").stdout.splitlines()}
    rows = json.loads(run("list", "--json").stdout)

    assert list(lines) == ["1", "blog", "shop"]
    assert lines["1"].endswith("environment BROADCASTER_APP_ID")
    assert lines["blog"].endswith("broadcaster.toml")
    assert lines["shop"].endswith("disabled  Redis")
    assert [row["id"] for row in rows] == ["1", "blog", "shop"]
    assert "hunter2" not in json.dumps(rows)


def test_apps_of_the_settings_are_listed_without_a_server() -> None:
    result = CliRunner().invoke(app_group, ["list"], env=CREDENTIALS)

    assert result.stdout.split()[:2] == ["1", "app-key"]


def test_changes_are_kept(run: Run) -> None:
    run("add", "shop", "--key", "shop-key", "--set", "limits.max_channels=5")

    result = run(
        "set",
        "shop",
        "limits.max_connections=500",
        "limits.allowed_origins=shop.example, *.shop.example",
        "limits.client_events=no",
        "server_events=true",
        'webhooks=[{"url": "https://shop.example/hooks"}]',
    )
    table = shown(run)

    assert result.stdout.startswith("changed shop: limits.max_connections, limits.allowed_origins")
    assert table["limits"] == {
        "max_channels": 5,
        "max_connections": 500,
        "allowed_origins": ["shop.example", "*.shop.example"],
        "client_events": False,
    }
    assert table["server_events"] is True
    assert table["webhooks"] == ["https://shop.example/hooks"]
    assert table["key"] == "shop-key"


def test_what_is_set_to_nothing_is_as_usual_again(run: Run) -> None:
    run("add", "shop", "--set", "limits.max_channels=5", "--set", "server_events=true")

    run("set", "shop", "limits.max_channels=", "server_events=")

    assert shown(run)["limits"] == {}
    assert shown(run)["server_events"] is False
    assert "is that already" in run("set", "shop", "server_events=").stdout


def test_an_app_is_disabled_and_enabled(run: Run) -> None:
    run("add", "shop")

    states = []
    for verb in ("disable", "enable"):
        assert run(verb, "shop").exit_code == 0
        states.append(shown(run)["enabled"])

    assert states == [False, True]


def test_a_rotated_app_has_another_secret_and_only_on_demand_another_key(run: Run) -> None:
    first = run("add", "shop")
    key = shown(run)["key"]

    second = run("rotate", "shop")
    same_key = shown(run)["key"]
    run("rotate", "shop", "--key")

    assert secret_of(first) != secret_of(second)
    assert same_key == key
    assert shown(run)["key"] != key


def test_removing_asks_first(run: Run) -> None:
    run("add", "shop")

    assert run("remove", "shop").exit_code == 1
    assert run("show", "shop").exit_code == 0
    assert run("remove", "shop", "--yes").stdout == "removed shop\n"
    assert run("show", "shop").exit_code == 1
    assert run("remove", "shop", "--yes").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("set", "1", "enabled=false"),
        ("disable", "1"),
        ("enable", "1"),
        ("rotate", "1"),
        ("remove", "1", "--yes"),
    ],
)
def test_apps_of_the_settings_are_changed_in_the_settings(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)

    assert result.exit_code == 1
    assert "change it there" in result.stderr


def test_a_tenant_is_changed_although_its_own_credentials_are_set(run: Run) -> None:
    """As where its backend runs; that no gateway serves them from there is the usual case."""
    secret = secret_of(run("add", "shop", "--key", "shop-key"))
    own = {
        "BROADCASTER_APP_ID": "shop",
        "BROADCASTER_APP_KEY": "shop-key",
        "BROADCASTER_APP_SECRET": secret,
    }

    changed = run("set", "shop", "limits.max_channels=5", **own)

    assert changed.exit_code == 0, changed.output
    assert "credentials of shop are set here (environment BROADCASTER_APP_ID)" in changed.stderr
    assert shown(run)["limits"] == {"max_channels": 5}
    table = json.loads(run("show", "shop", "--json", **own).stdout)
    assert (table["limits"], table["source"]) == ({"max_channels": 5}, "Redis")
    assert [row["id"] for row in json.loads(run("list", "--json", **own).stdout)] == ["shop"]
    for words in (("disable",), ("enable",), ("rotate",), ("set", "key=new"), ("remove", "--yes")):
        result = run(words[0], "shop", *words[1:], **own)
        assert result.exit_code == 0, result.output


def test_apps_of_a_list_in_the_settings_are_not_those_of_redis(run: Run, tmp_path: Path) -> None:
    run("add", "blog")
    (tmp_path / "broadcaster.toml").write_text(BLOG)

    result = run("set", "blog", "enabled=false")

    assert result.exit_code == 1
    assert "change it there" in result.stderr
    assert "Redis (the settings win)" in run("list").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "1"), "an app with this id (1), and they win"),
        (("add", "shop", "--key", "app-key"), "an app with this key (1)"),
        (("show", "shp"), "did you mean 'shop'"),
        (("set", "shp", "enabled=no"), "did you mean 'shop'"),
        (("remove", "shp", "--yes"), "no app has the id 'shp'"),
    ],
)
def test_a_clash_or_a_slip_is_explained(run: Run, words: tuple[str, ...], says: str) -> None:
    run("add", "shop")

    result = run(*words)

    assert result.exit_code == 1
    assert says in result.stderr


def test_an_id_or_key_that_is_taken_is_refused(run: Run) -> None:
    run("add", "shop", "--key", "shop-key")
    run("add", "news")

    codes = []
    for words in (
        ("add", "shop"),
        ("add", "other", "--key", "shop-key"),
        ("set", "news", "key=shop-key"),
        ("set", "news", "key=app-key"),
    ):
        error = run(*words).exception
        assert isinstance(error, DriverError)
        codes.append(error.code)

    assert codes == ["app_exists", "app_key_taken", "app_key_taken", "app_key_taken"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("limits.max_conections=5", "did you mean 'limits.max_connections'"),
        ("limits.max_connections", "write NAME=VALUE"),
        ("secret=x", "is nothing that can be set"),
        ("limits.max_connections=many", "whole number, 0 or more, not 'many'"),
        ("limits.presence_id_length=129", "from 1 to 128"),
        ("limits.allowed_origins=https://shop.example", "without scheme"),
        ("enabled=perhaps", "must be true or false"),
        ("webhooks=https://shop.example", "must be a JSON array"),
        ("webhooks=[{}]", "webhooks #1"),
        ("key=a b", "key must be letters"),
        ("key=", "key must be letters"),
        ("grant_key=short", "grant_key must be 32 bytes"),
        ("encryption_key=short", "encryption_key must be 32 bytes in Base64"),
        ("jwks_url=ftp://x", "jwks_url"),
    ],
)
def test_a_wrong_value_changes_nothing_and_says_why(run: Run, word: str, says: str) -> None:
    run("add", "shop")
    before = shown(run)

    result = run("set", "shop", word)

    assert isinstance(result.exception, ConfigurationError)
    assert says in result.exception.message
    assert "short" not in result.exception.message
    assert shown(run) == before


def test_a_change_starts_from_what_there_is() -> None:
    table: dict[str, object] = {"id": "1", "limits": {"max_channels": 1}}

    assert changed(table, ["limits.max_connections=2"]) == {
        "id": "1",
        "limits": {"max_channels": 1, "max_connections": 2},
    }
    assert table == {"id": "1", "limits": {"max_channels": 1}}


def test_it_is_said_when_gateways_do_not_look(run: Run) -> None:
    off = {"BROADCASTER_GATEWAY__DYNAMIC_APPS": "false"}

    assert "do not serve this app" in run("add", "shop", **off).stderr
    assert "Redis (not served)" in run("list", **off).stdout


def test_without_redis_nothing_can_be_kept() -> None:
    result = CliRunner().invoke(app_group, ["add", "shop"], env=CREDENTIALS)

    assert isinstance(result.exception, NotConfigured)
