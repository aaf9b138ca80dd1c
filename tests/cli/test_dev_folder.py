from __future__ import annotations

import json
import stat
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.dev_folder import DevFolder, new_credentials
from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_credentials_are_made_once(tmp_path: Path) -> None:
    with DevFolder(tmp_path) as folder:
        first = folder.credentials()
    with DevFolder(tmp_path) as folder:
        second = folder.credentials()

    assert first == second


def test_credentials_have_the_shape_that_others_expect() -> None:
    made = new_credentials()

    assert made.id.isdigit()
    assert len(made.id) == 6
    assert len(made.secret) >= 32
    assert len(bytes.fromhex(made.grant_key)) >= 32
    assert len(b64decode(made.encryption_key, validate=True)) == 32
    assert made != new_credentials()


def test_credentials_of_an_older_version_are_completed_and_kept(tmp_path: Path) -> None:
    with DevFolder(tmp_path) as folder:
        path = folder.path / "credentials.json"
        older = folder.credentials()._asdict()
        del older["encryption_key"]
        path.write_text(json.dumps(older))

        completed = folder.credentials()

        assert completed[:4] == tuple(older.values())
        assert len(b64decode(completed.encryption_key)) == 32
        assert folder.credentials() == completed


def test_nobody_else_can_read_the_folder(tmp_path: Path) -> None:
    with DevFolder(tmp_path) as folder:
        folder.credentials()
        folder.announce({"pid": 1})

        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        for name in ("credentials.json", "dev.json"):
            assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600


def test_the_folder_is_ignored_by_git(tmp_path: Path) -> None:
    with DevFolder(tmp_path) as folder:
        assert (folder.path / ".gitignore").read_text() == "*\n"


def test_a_second_dev_is_told_who_runs(tmp_path: Path) -> None:
    import os

    with (
        DevFolder(tmp_path),
        pytest.raises(ConfigurationError, match=f"already, as process {os.getpid()}"),
    ):
        DevFolder(tmp_path).__enter__()


def test_a_dev_that_ended_leaves_no_claim(tmp_path: Path) -> None:
    with DevFolder(tmp_path) as folder:
        folder.announce({"pid": 1})
    assert not folder.state.exists()

    with DevFolder(tmp_path):
        pass


def test_a_leftover_of_a_killed_dev_is_removed(tmp_path: Path) -> None:
    folder = DevFolder(tmp_path)
    folder.path.mkdir()
    folder.state.write_text(json.dumps({"pid": 1}))

    with folder:
        assert not folder.state.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}'])
def test_damaged_credentials_say_what_to_do(tmp_path: Path, text: str) -> None:
    with DevFolder(tmp_path) as folder:
        (folder.path / "credentials.json").write_text(text)

        with pytest.raises(ConfigurationError, match="remove it"):
            folder.credentials()


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".broadcaster").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError, match="must be a folder of this user"):
        DevFolder(tmp_path).__enter__()


def test_a_place_where_no_folder_can_be_made_is_said(tmp_path: Path) -> None:
    """A file instead of the folder; a folder that is not writable ends the same way."""
    (tmp_path / ".broadcaster").touch()

    with pytest.raises(ConfigurationError, match=r"cannot use .*\.broadcaster: File exists"):
        DevFolder(tmp_path).__enter__()
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        DevFolder(tmp_path / "nowhere").__enter__()
