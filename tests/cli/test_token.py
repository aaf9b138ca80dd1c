from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from broadcaster import current
from broadcaster.cli import main
from broadcaster.cli.token import token
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import BroadcasterError, InvalidChannel, InvalidToken, NotConfigured

if TYPE_CHECKING:
    from pathlib import Path

GRANT_KEY = "a grant key of thirty-two bytes or more"
SECRET = "app-secret-of-this-test"


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROADCASTER_APP_ID", "3")
    monkeypatch.setenv("BROADCASTER_APP_KEY", "app-key")
    monkeypatch.setenv("BROADCASTER_APP_SECRET", SECRET)
    monkeypatch.setenv("BROADCASTER_APP_GRANT_KEY", GRANT_KEY)


def run(*args: str) -> str:
    result = CliRunner().invoke(token, list(args))
    assert GRANT_KEY not in result.output
    assert SECRET not in result.output
    if isinstance(result.exception, BroadcasterError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output.strip()


def usage_error(*args: str) -> str:
    result = CliRunner().invoke(token, list(args))
    assert result.exit_code == 2
    return result.output


def test_a_grant_that_was_made_is_good() -> None:
    made = run(
        "make", "--sub", "42", "--channel", "private-orders.42", "--channel", "presence-chat.*",
        "--expires", "600", "--info", '{"name": "Ada"}', "--socket-id", "1.2",
    )  # fmt: skip

    assert made.startswith("app-key:ey")
    said = run("check", made, "--channel", "presence-chat.1", "--socket-id", "1.2")
    assert said.startswith("good until 20")
    assert "user       42" in said
    assert "channels   private-orders.42, presence-chat.*" in said
    assert "connection 1.2 only" in said
    assert 'info       {"name":"Ada"}' in said
    assert run("check", made.partition(":")[2]).startswith("good until")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--channel", "private-y"], "token_wrong_channel"),
        (["--socket-id", "9.9"], "token_wrong_socket"),
        (["--channel", "private-x", "--socket-id", "9.9"], "token_wrong_socket"),
    ],
)
def test_a_grant_for_something_else_is_said_to_be(args: list[str], code: str) -> None:
    made = run("make", "--sub", "42", "--channel", "private-x", "--socket-id", "1.2")

    with pytest.raises(InvalidToken) as caught:
        run("check", made, *args)

    assert caught.value.code == code


def test_a_token_of_nobody_is_no_grant() -> None:
    with pytest.raises(InvalidToken, match="no readable header"):
        run("check", "a.b.c")
    with pytest.raises(InvalidToken, match="not this app's key"):
        run("check", "other:a.b.c")


def test_a_grant_that_nobody_would_accept_is_not_made() -> None:
    with pytest.raises(InvalidToken):
        run("make", "--sub", "42", "--channel", "*")
    assert "--info is not JSON" in usage_error(
        "make", "--sub", "42", "--channel", "private-x", "--info", "{"
    )
    assert "--expires" in usage_error("make", "--sub", "1", "--channel", "x", "--expires", "0")
    assert "no grant key '2'" in usage_error(
        "make", "--sub", "1", "--channel", "private-x", "--kid", "2"
    )


def test_without_a_grant_key_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROADCASTER_APP_GRANT_KEY")

    with pytest.raises(NotConfigured, match="BROADCASTER_APP_GRANT_KEY"):
        run("make", "--sub", "42", "--channel", "private-x")


def test_the_command_is_part_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["token", "check", "aaa"])

    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "broadcaster: that is no grant: a JWT has three parts with dots between\n"
    )


@pytest.mark.redis
def test_revoking_keeps_it_in_redis(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)
    current.reset()

    said = run("revoke", "--user", "42", "--channel", "private-orders.*")
    everything = run("revoke", "--user", "42")
    current.reset()
    clients = RedisClients(redis_url, prefix)
    kept = clients.sync.hkeys(clients.keys.of_app("3", "revoked"))
    clients.close()

    assert said == "revoked what user 42 was authorized for on private-orders.*"
    assert everything.endswith("on all channels")
    assert sorted(kept) == [b"42\n", b"42\nprivate-orders.*", b"version"]  # type: ignore[type-var] # redis-py's union of sync and async


def test_revoking_needs_a_server_and_a_name_that_can_be_revoked() -> None:
    current.reset()
    with pytest.raises(NotConfigured, match="REDIS_URL"):
        run("revoke", "--user", "42")
    with pytest.raises(InvalidChannel, match="private- or presence-"):
        run("revoke", "--user", "42", "--channel", "orders.42")
    current.reset()
