"""Keys that stand elsewhere than the credentials do not count, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.settings import Settings, load_settings
from tests.test_settings import APP, write_dev

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0="
NAME = "BROADCASTER_APP_ENCRYPTION_KEY"
IN_FILE = '[app]\nid = "one"\nkey = "one-key"\nsecret = "one-hunter2"\n'
LISTED = '[[apps]]\nid = "shop"\nkey = "shop-key"\nsecret = "shop-hunter2"\n'


def load(folder: Path, text: str, env: Mapping[str, str]) -> Settings:
    (folder / "broadcaster.toml").write_text(text)
    return load_settings({}, cwd=folder, environ=env)


def test_a_key_in_the_environment_beside_credentials_in_a_file_is_warned_of(
    tmp_path: Path,
) -> None:
    settings = load(tmp_path, IN_FILE, {NAME: KEY})

    assert settings.require_app().encryption_key is None
    [said] = settings.warnings
    assert said == (
        f"app.encryption_key (from environment {NAME}) is not used: it counts only beside the "
        "app's credentials, which are from broadcaster.toml; set both in one place"
    )


@pytest.mark.parametrize(
    ("text", "env", "places"),
    [
        (f'[app]\ngrant_key = "{"g" * 32}"\n', APP, ("broadcaster.toml", "BROADCASTER_APP_ID")),
        (LISTED, {NAME: KEY}, (NAME, "broadcaster.toml")),
        (LISTED, {NAME: KEY, "BROADCASTER_APP_ID": "shop"}, (NAME, "broadcaster.toml")),
    ],
)
def test_both_places_are_named(
    tmp_path: Path, text: str, env: dict[str, str], places: tuple[str, str]
) -> None:
    [said] = load(tmp_path, text, env).warnings

    assert places[0] in said.partition(" is not used")[0]
    assert places[1] in said.partition("which are from")[2]
    assert KEY not in said


def test_a_key_of_ones_own_is_warned_of_beside_the_app_of_dev(tmp_path: Path) -> None:
    write_dev(tmp_path, app={"id": "1", "key": "k", "secret": "s" * 40, "encryption_key": KEY})

    [said] = load(tmp_path, "", {NAME: KEY[::-1]}).warnings

    assert "which are from dev.json" in said


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("", {}),
        ("", {NAME: KEY}),
        ("", {**APP, NAME: KEY}),
        # The key of a source that is asked later gives way to one that counts.
        (f'{IN_FILE}encryption_key = "{KEY}"\n', {**APP, NAME: KEY}),
        (f'{IN_FILE}encryption_key = "{KEY}"\n', {}),
    ],
)
def test_keys_that_count_are_not_warned_of(tmp_path: Path, text: str, env: dict[str, str]) -> None:
    assert load(tmp_path, text, env).warnings == ()


def test_what_dev_made_for_its_own_app_is_not_warned_of(tmp_path: Path) -> None:
    write_dev(tmp_path, app={"id": "1", "key": "k", "secret": "s" * 40, "encryption_key": KEY})

    assert load(tmp_path, "", APP).warnings == ()
