"""Where settings come from, and what is said when they are wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.settings import Settings, load_settings, setting_types
from broadcaster.settings_sources import ALIASES, VENDORS, environment_name, process_mark
from broadcaster.settings_values import RANGES

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"
APP = {"BROADCASTER_APP_ID": "1", "BROADCASTER_APP_KEY": "k", "BROADCASTER_APP_SECRET": "s"}


def load(tmp_path: Path, env: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    said = {path.replace("__", "."): value for path, value in overrides.items()}
    return load_settings(said, cwd=tmp_path, environ=env or {})


def vendor(prefix: str, word: str) -> dict[str, str]:
    return {f"{prefix}{name}": f"{word}-{name.lower()}" for name in ("ID", "KEY", "SECRET")}


def write_dev(folder: Path, **changes: Any) -> dict[str, Any]:
    socket = folder / "redis.sock"
    socket.touch()
    state = {
        "pid": os.getpid(),
        "mark": process_mark(os.getpid()),
        "socket": str(socket),
        "redis_url": f"unix://{socket}?db=0",
        "app": {"id": "123", "key": "dev-key", "secret": "dev-secret"},
        "gateway": {"host": "127.0.0.1", "port": 8081},
        **changes,
    }
    (folder / ".broadcaster").mkdir(exist_ok=True)
    (folder / ".broadcaster" / "dev.json").write_text(json.dumps(state))
    return state


def test_nothing_configured_gives_defaults_and_no_app(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.app is None
    assert settings.redis_url is None
    assert settings.broadcast.event_namespace == "App.Events"
    assert settings.gateway.port == 8080
    assert set(settings.sources) == set(setting_types())
    assert set(settings.sources.values()) == {"default"}


def test_sources_are_asked_in_order(tmp_path: Path) -> None:
    """Command line, environment, .env, file, dev, default."""
    write_dev(tmp_path, redis_url="redis://dev")
    (tmp_path / "broadcaster.toml").write_text(
        'redis_url = "redis://file"\nprefix = "file"\n'
        "[gateway]\nport = 1\nworkers = 2\nhost = 'file'\n"
    )
    (tmp_path / ".env").write_text("BROADCASTER_GATEWAY__PORT=2\nBROADCASTER_GATEWAY__WORKERS=3\n")
    env = {"BROADCASTER_GATEWAY__WORKERS": "4", "BROADCASTER_GATEWAY__DRAIN_SECONDS": "5"}

    settings = load(tmp_path, env, gateway__drain_seconds=6, gateway__workers=None)

    assert settings.redis_url == "redis://file"
    assert settings.gateway.host == "file"
    assert settings.gateway.port == 2
    assert settings.gateway.workers == 4
    assert settings.gateway.drain_seconds == 6.0
    assert settings.app is not None
    assert settings.app.key == "dev-key"
    assert settings.sources["redis_url"] == "broadcaster.toml"
    assert settings.sources["gateway.port"] == ".env BROADCASTER_GATEWAY__PORT"
    assert settings.sources["gateway.workers"] == "environment BROADCASTER_GATEWAY__WORKERS"
    assert settings.sources["gateway.drain_seconds"] == "command line"
    assert settings.sources["app.key"] == "dev.json"
    assert settings.sources["queue.lease"] == "default"


def test_receivers_may_be_on_this_machine_where_dev_runs_and_nowhere_else(tmp_path: Path) -> None:
    assert not load(tmp_path).webhooks.allow_private

    write_dev(tmp_path)

    assert load(tmp_path).webhooks.allow_private
    env = {"BROADCASTER_WEBHOOKS__ALLOW_PRIVATE": "false"}
    assert not load(tmp_path, env).webhooks.allow_private


def test_pyproject_is_read_where_there_is_no_file_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.broadcaster]\nimports = ["shop.jobs"]\n[tool.broadcaster.history]\nevents = 5\n'
    )
    inside = tmp_path / "src" / "shop"
    inside.mkdir(parents=True)

    settings = load(inside)

    assert settings.imports == ("shop.jobs",)
    assert settings.history.events == 5
    assert settings.sources["imports"] == "pyproject.toml"


def test_a_pyproject_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text('prefix = "above"')
    inside = tmp_path / "package"
    inside.mkdir()
    (inside / "pyproject.toml").write_text("[tool.other]\nx = 1\n")

    assert load(inside).prefix == "above"


@pytest.mark.parametrize("name", list(VENDORS))
def test_each_vendors_credentials_are_read(tmp_path: Path, name: str) -> None:
    settings = load(tmp_path, vendor(VENDORS[name], "a"))

    assert settings.app is not None
    assert (settings.app.id, settings.app.key, settings.app.secret) == ("a-id", "a-key", "a-secret")
    assert settings.sources["app.secret"] == f"environment {VENDORS[name]}SECRET"


def test_the_first_complete_set_wins_and_sets_are_never_mixed(tmp_path: Path) -> None:
    """A key of one app with the secret of another would fail at the first signature."""
    env = {
        "BROADCASTER_APP_KEY": "mine",
        "BROADCASTER_APP_SECRET": "mine",
        **vendor("PUSHER_APP_", "pusher"),
        **vendor("SOKETI_DEFAULT_APP_", "soketi"),
    }

    settings = load(tmp_path, env)

    assert settings.app is not None
    assert settings.app.key == "pusher-key"


def test_an_incomplete_set_is_named(tmp_path: Path) -> None:
    settings = load(tmp_path, {"REVERB_APP_ID": "1", "BROADCASTER_APP_KEY": "k"})

    with pytest.raises(NotConfigured) as caught:
        settings.require_app()
    assert "BROADCASTER lacks BROADCASTER_APP_ID, BROADCASTER_APP_SECRET" in str(caught.value)
    assert "REVERB lacks REVERB_APP_KEY, REVERB_APP_SECRET" in str(caught.value)


def test_one_set_may_be_split_between_environment_and_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BROADCASTER_APP_ID=1\nBROADCASTER_APP_KEY=k\n")

    assert load(tmp_path, {"BROADCASTER_APP_SECRET": "s"}).require_app().secret == "s"


def test_empty_values_count_as_not_set(tmp_path: Path) -> None:
    """A Laravel .env has PUSHER_APP_ID= when Pusher is not used."""
    env = {"PUSHER_APP_ID": "", "PUSHER_APP_KEY": "", "REDIS_URL": "", "BROADCASTER_PREFIX": ""}

    settings = load(tmp_path, env)

    assert settings.app_problem == ""
    assert settings.prefix == "broadcaster"


def test_a_file_may_hold_the_app_with_limits_and_grant_key(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(
        f'[app]\nid = "1"\nkey = "k"\nsecret = "s"\ngrant_key = "{"g" * 32}"\n'
        "[app.limits]\nmax_channels = 5\nallowed_origins = ['a.example', 'b.example']\n"
    )

    app = load(tmp_path).require_app()

    assert app.limits.max_channels == 5
    assert app.limits.allowed_origins == ("a.example", "b.example")
    assert [algorithm for _, algorithm, _ in app.grant_keys] == ["HS256"]


def test_a_grant_key_goes_only_with_the_credentials_of_its_source(tmp_path: Path) -> None:
    write_dev(tmp_path, app={"id": "1", "key": "k", "secret": "s", "grant_key": "d" * 32})

    assert load(tmp_path).require_app().grant_keys
    assert load(tmp_path, APP).require_app().grant_keys == ()
    granted = load(tmp_path, {**APP, "BROADCASTER_APP_GRANT_KEY": "e" * 32})
    assert granted.require_app().grant_keys[0][2] == "e" * 32


@pytest.mark.parametrize("key", ["short", "s" * 32])
def test_a_grant_key_that_could_be_guessed_or_publish_is_refused(tmp_path: Path, key: str) -> None:
    env = {**APP, "BROADCASTER_APP_SECRET": "s" * 32, "BROADCASTER_APP_GRANT_KEY": key}

    with pytest.raises(ConfigurationError, match=r"app\.grant_key must be 32 bytes") as caught:
        load(tmp_path, env)
    assert key not in str(caught.value).replace("app.grant_key", "")


@pytest.mark.parametrize(
    ("name", "value"), [("ID", "a/b"), ("ID", "nodes"), ("KEY", "a b"), ("KEY", "ä")]
)
def test_credentials_that_do_not_fit_into_a_path_are_refused(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"environment BROADCASTER_APP_{name}"):
        load(tmp_path, {**APP, f"BROADCASTER_APP_{name}": value})


@pytest.mark.parametrize(
    ("env", "path", "value"),
    [
        ({"REVERB_SERVER_PORT": "9000"}, "gateway.port", 9000),
        ({"REVERB_SERVER_HOST": "0.0.0.0"}, "gateway.host", "0.0.0.0"),
        ({"SOKETI_PORT": "6001"}, "gateway.port", 6001),
        ({"SOKETI_SHUTDOWN_GRACE_PERIOD": "3000"}, "gateway.drain_seconds", 3.0),
        ({"SOKETI_DEFAULT_APP_MAX_CONNS": "-1"}, "limits.max_connections", 0),
        ({"SOKETI_DEFAULT_APP_MAX_CONNS": "100"}, "limits.max_connections", 100),
        ({"SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "false"}, "limits.client_events", False),
        ({"REVERB_APP_MAX_CONNECTIONS": "50"}, "limits.max_connections", 50),
        ({"REVERB_APP_MAX_MESSAGE_SIZE": "20000"}, "limits.max_frame_bytes", 20_000),
        ({"REVERB_APP_ACTIVITY_TIMEOUT": "30"}, "limits.activity_timeout", 30),
        ({"REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM": "none"}, "limits.client_events", False),
        ({"REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM": "members"}, "limits.client_events", True),
        ({"BROADCAST_CONNECTION": "log", "BROADCAST_DRIVER": "null"}, "broadcast.driver", "log"),
        ({"BROADCAST_DRIVER": "reverb"}, "broadcast.driver", "pusher"),
        ({"QUEUE_CONNECTION": "sync"}, "queue.driver", "sync"),
        ({"REDIS_URL": "rediss://u:p@h:1/2"}, "redis_url", "rediss://u:p@h:1/2"),
        ({"REDIS_HOST": "h"}, "redis_url", "redis://h:6379/0"),
        (
            {"REDIS_HOST": "h", "REDIS_PORT": "7", "REDIS_PASSWORD": "p@/:", "REDIS_DB": "2"},
            "redis_url",
            "redis://:p%40%2F%3A@h:7/2",
        ),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "null"}, "redis_url", "redis://h:6379/0"),
        ({"REDIS_HOST": "tls://h"}, "redis_url", "rediss://h:6379/0"),
        ({"REDIS_HOST": "/run/redis.sock"}, "redis_url", "unix:///run/redis.sock?db=0"),
        (
            {"REDIS_HOST": "h", "REDIS_PORT": "tcp://10.0.0.1:6380"},
            "redis_url",
            "redis://h:6380/0",
        ),
        ({"REDIS_HOST": "h", "REDIS_URL": "redis://u"}, "redis_url", "redis://u"),
        (
            {"REDIS_URL": "redis://u", "BROADCASTER_REDIS_URL": "redis://b"},
            "redis_url",
            "redis://b",
        ),
        ({"BROADCASTER_IMPORTS": "a.b, c"}, "imports", ("a.b", "c")),
        ({"BROADCASTER_DEBUG": "On"}, "debug", True),
        ({"BROADCASTER_APP__LIMITS__MAX_CHANNELS": "3"}, "limits.max_channels", 3),
        ({"BROADCASTER_GATEWAY__LEASE_SECONDS": "2"}, "gateway.lease_seconds", 2.0),
        ({"BROADCASTER_GATEWAY__PRESENCE_GRACE": "0.5"}, "gateway.presence_grace", 0.5),
        ({"BROADCASTER_QUEUE__LEASE": "2"}, "queue.lease", 2.0),
    ],
)
def test_names_of_the_environment_mean_settings(
    tmp_path: Path, env: dict[str, str], path: str, value: object
) -> None:
    found: object = load(tmp_path, env)
    for name in path.split("."):
        found = getattr(found, name)

    assert found == value
    assert type(found) is type(value)


def test_every_native_name_is_read(tmp_path: Path) -> None:
    """The table of types and the reader of names agree."""
    plain = {int: "7", float: "7", str: "x", bool: "true"}
    for path, hint in setting_types().items():
        if path.rpartition(".")[0] == "app" or path in ("apps", "broadcast.app"):
            continue
        value = "redis://h" if path == "redis_url" else plain.get(hint)  # type: ignore[call-overload]  # hints are types
        if value is None:
            continue
        if value == "7":
            value = f"{max(7, RANGES.get(path, (0, 0))[0]):g}"
        name = environment_name(path)
        assert load(tmp_path, {name: value}).sources[path] == f"environment {name}"


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"BROADCASTER_GATEWAY__PORT": "9"}, "http://127.0.0.1:9"),
        ({"BROADCASTER_ENDPOINT__HOST": "::1"}, "http://[::1]:8080"),
        ({"BROADCASTER_ENDPOINT__PATH": "x/"}, "http://127.0.0.1:8080/x"),
        ({"BROADCASTER_ENDPOINT__SCHEME": "https"}, "https://127.0.0.1:443"),
        ({"REVERB_HOST": "r", "REVERB_PORT": "1", "PUSHER_HOST": "p"}, "http://r:1"),
        ({"PUSHER_HOST": "p", "PUSHER_SCHEME": "https"}, "https://p:443"),
        (
            {"REVERB_HOST": "r", "PUSHER_HOST": "p", **vendor("PUSHER_APP_", "a")},
            "http://p:8080",
        ),
        (
            {"PUSHER_APP_CLUSTER": "eu", "PUSHER_PORT": "443", **vendor("PUSHER_APP_", "a")},
            "https://api-eu.pusher.com:443",
        ),
        ({"PUSHER_APP_CLUSTER": "eu"}, "http://127.0.0.1:8080"),
    ],
)
def test_the_endpoint_is_one_vendors(tmp_path: Path, env: dict[str, str], url: str) -> None:
    assert load(tmp_path, env).endpoint.url == url


def test_a_port_that_follows_from_another_setting_says_so(tmp_path: Path) -> None:
    followed = load(tmp_path, {"BROADCASTER_GATEWAY__PORT": "9"})
    https = load(tmp_path, {"BROADCASTER_ENDPOINT__SCHEME": "https"})

    assert followed.sources["endpoint.port"] == "gateway.port"
    assert https.sources["endpoint.port"] == "endpoint.scheme"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"BROADCASTER_GATEWAY__PROT": "1"}, "did you mean 'BROADCASTER_GATEWAY__PORT'"),
        ({"BROADCASTER_XYZ": "1"}, "`broadcaster config show` lists every setting"),
        ({"BROADCASTER_APPID": "1"}, "did you mean 'BROADCASTER_APP_ID'"),
        ({"BROADCASTER_GATEWAY__PORT": "http"}, "a whole number from 0 to 65,535, not 'http'"),
        ({"BROADCASTER_GATEWAY__PORT": "70000"}, "from 0 to 65,535"),
        ({"BROADCASTER_GATEWAY__PORT": "1.5"}, "whole number"),
        ({"REVERB_SERVER_PORT": "x"}, "from environment REVERB_SERVER_PORT"),
        ({"BROADCASTER_GATEWAY__DRAIN_SECONDS": "nan"}, "must be a number"),
        ({"BROADCASTER_HISTORY__META_SECONDS": "3600"}, "from 7,200"),
        ({"BROADCASTER_GATEWAY__DRAIN_SECONDS": "-1"}, "from 0 to 3,600"),
        ({"BROADCASTER_HISTORY__EVENTS": "-1"}, "whole number, 0 or more"),
        ({"BROADCASTER_HISTORY__EVENTS": "9" * 400}, "whole number"),
        ({"BROADCASTER_DEBUG": "maybe"}, "true or false"),
        ({"BROADCAST_DRIVER": "ably"}, "one of redis, pusher, log, null, not 'ably'"),
        ({"BROADCASTER_PREFIX": "a{b}"}, "prefix must be letters, digits or - _ . : /"),
        ({"BROADCASTER_BROADCAST__QUEUE": "a b"}, "broadcast.queue must be letters"),
        ({"BROADCASTER_QUEUE__DEFAULT": "a}"}, "queue.default must be letters"),
        ({"REDIS_URL": "http://user:hunter2@h"}, "must begin with redis://"),
        ({"REDIS_URL": "redis://user:hunter2@[::1/0"}, "must be a URL whose host is one"),
    ],
)
def test_a_wrong_value_says_where_it_is_from_and_what_is_allowed(
    tmp_path: Path, env: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        load(tmp_path, env)

    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[gateway]\nprot = 1",
            "unknown setting 'gateway.prot' in broadcaster.toml - did you mean",
        ),
        ("gatway = 1", "did you mean 'gateway'"),
        ("[gateway]\nport = true", "not 'True' (from broadcaster.toml)"),
        ("[gateway]\nport = 'x'", "gateway.port"),
        ("gateway = 1", "unknown setting 'gateway'"),
        ("imports = [1]", "a list of texts"),
        ("prefix = 1", "must be text"),
        ("[app]\nlimits = 3", "app.limits"),
        ("a = [", "cannot read"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_with_it(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "broadcaster.toml").write_text(text)

    with pytest.raises(ConfigurationError, match=re.escape(says)):
        load(tmp_path)


def test_an_unknown_setting_of_the_command_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'gateway\.port'"):
        load(tmp_path, gateway__prot=1)


def test_what_kubernetes_puts_into_the_environment_is_no_mistake(tmp_path: Path) -> None:
    """A service called broadcaster brings variables that look like settings."""
    env = {
        "BROADCASTER_SERVICE_HOST": "10.0.0.1",
        "BROADCASTER_SERVICE_PORT": "80",
        "BROADCASTER_SERVICE_PORT_HTTP": "80",
        "BROADCASTER_PORT": "tcp://10.0.0.1:80",
        "BROADCASTER_PORT_80_TCP_ADDR": "10.0.0.1",
    }

    assert load(tmp_path, env).gateway.port == 8080


def test_a_running_dev_is_found_from_below(tmp_path: Path) -> None:
    state = write_dev(tmp_path)
    inside = tmp_path / "src" / "shop"
    inside.mkdir(parents=True)

    settings = load(inside)

    assert settings.redis_url == state["redis_url"]
    assert settings.require_app().id == "123"
    assert settings.endpoint.url == "http://127.0.0.1:8081"
    assert settings.gateway.port == 8080
    assert settings.debug is False


def test_refusals_explain_themselves_beside_a_running_dev(tmp_path: Path) -> None:
    """Flask and Django run outside of `broadcaster dev`, and are told by its file."""
    write_dev(tmp_path, debug=True)

    assert load(tmp_path).debug is True
    assert load(tmp_path, {"BROADCASTER_DEBUG": "false"}).debug is False


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 2**22 + 1},
        {"pid": -1},
        {"pid": "1"},
        {"socket": "/nowhere/redis.sock"},
        {"socket": 1},
        {"mark": "of another one that had this number before/1"},
    ],
)
def test_what_a_dead_dev_left_behind_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    write_dev(tmp_path, **change)

    assert load(tmp_path).app is None


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_a_broken_dev_file_is_ignored(tmp_path: Path, text: str) -> None:
    write_dev(tmp_path)
    (tmp_path / ".broadcaster" / "dev.json").write_text(text)

    assert load(tmp_path).app is None


def test_another_users_dev_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write a folder above must not choose our credentials and Redis."""
    write_dev(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: -1)

    assert load(tmp_path).app is None


def test_secrets_do_not_show_in_the_representation(tmp_path: Path) -> None:
    settings = load(tmp_path, {**APP, "BROADCASTER_APP_SECRET": "hunter2"})

    assert "hunter2" not in repr(settings)


def test_every_setting_is_documented_with_its_names_and_default(tmp_path: Path) -> None:
    lines = DOCS.read_text().splitlines()
    settings = load(tmp_path)
    for path in setting_types():
        (row,) = [line for line in lines if line.startswith(f"| `{path}` |")]
        for name in (environment_name(path), *ALIASES.get(path, ())):
            assert f"`{name}`" in row, f"{name} is missing in the row of {path}"
        assert _default(settings, path) in row, f"the default of {path}"


def _default(settings: Settings, path: str) -> str:
    if path == "app.enabled":
        return "`true`"
    if path == "app.server_events":
        return "`false`"
    if path.rpartition(".")[0] == "app" or path in (
        "redis_url",
        "apps",
        "broadcast.app",
        "queues",
        "workers",
        "supervisors",
    ):
        return "| none |"
    value: object = settings
    for name in path.replace("app.limits.", "limits.").split("."):
        value = getattr(value, name)
    if value is None:
        return "| none |"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    return f"`{value}`" if value != "" else '`""`'
