"""Ports that ``broadcaster dev`` holds: from the choice on, before anybody listens."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster.cli.dev_ports import PortHolds, lock_folder

if TYPE_CHECKING:
    import pytest


def test_a_taken_port_is_passed_over_and_named(tmp_path: Path) -> None:
    problems: list[str] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, PortHolds(tmp_path) as ports:
        port = taken.getsockname()[1]

        found = ports.take(port, problems)

    assert found > port
    assert problems == [f"port {port} is taken, {found} is used instead"]


def test_a_listener_that_shares_its_port_is_noticed(tmp_path: Path) -> None:
    """With SO_REUSEPORT on both sides a second bind would succeed silently."""
    with closing(socket.socket()) as sharing, PortHolds(tmp_path) as ports:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", 0))
        sharing.listen()

        assert ports.take(sharing.getsockname()[1], []) != sharing.getsockname()[1]


def test_a_port_is_held_although_nobody_listens_yet(tmp_path: Path) -> None:
    with PortHolds(tmp_path) as first, PortHolds(tmp_path) as second:
        port = first.take(20_000, [])

        assert second.take(port, []) != port
        assert first.take(port, []) != port


def test_a_port_that_was_let_go_of_is_free_again(tmp_path: Path) -> None:
    with PortHolds(tmp_path) as first:
        port = first.take(20_000, [])
    with PortHolds(tmp_path) as second:
        assert second.take(port, []) == port


def test_without_a_usable_folder_ports_are_still_chosen(tmp_path: Path) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        PortHolds(tmp_path / "missing") as ports,
    ):
        port = taken.getsockname()[1]

        assert ports.take(port, []) > port


def test_the_folder_of_the_locks_is_this_users_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = lock_folder()

    assert folder == tmp_path / f"broadcaster-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700

    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert lock_folder() == Path(os.devnull)
