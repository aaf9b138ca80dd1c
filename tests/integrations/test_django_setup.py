"""A worker's process that Django did not start sets it up by importing one module."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
INSTALLED_APPS = ["broadcaster.integrations.django.BroadcasterConfig"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
"""

PROGRAM = """
import broadcaster.integrations.django_setup
from django.apps import apps
from broadcaster.wiring.worker import import_jobs
import_jobs(["broadcaster.integrations.django_setup"])  # once more changes nothing
print(apps.ready, apps.get_app_config("broadcaster").name)
"""


MANAGE = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop_settings")'


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop_settings.py").write_text(SETTINGS, encoding="utf-8")
    others = {name: said for name, said in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=folder,
        env=others | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_variable_a_manage_py_says_which_settings(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE, encoding="utf-8")

    assert run(tmp_path).stdout.split() == ["True", "broadcaster.integrations.django"]


def test_without_either_it_says_so(tmp_path: Path) -> None:
    assert "DJANGO_SETTINGS_MODULE is not set" in run(tmp_path).stderr


def test_importing_it_sets_django_up(tmp_path: Path) -> None:
    done = run(tmp_path, DJANGO_SETTINGS_MODULE="shop_settings")

    assert done.stderr == ""
    assert done.stdout.split() == ["True", "broadcaster.integrations.django"]
