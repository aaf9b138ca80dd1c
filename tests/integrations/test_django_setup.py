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


def test_importing_it_sets_django_up(tmp_path: Path) -> None:
    (tmp_path / "shop_settings.py").write_text(SETTINGS, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "shop_settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["True", "broadcaster.integrations.django"]
