"""A Django application for tests, and Django set up for it, with two SQLite databases."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import django
from django.conf import settings


@cache
def set_up() -> None:
    """Set Django up and make the tables, once per process."""
    folder = Path(tempfile.mkdtemp(prefix="broadcaster-django-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings.configure(
        DATABASES={
            name: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / f"{name}.sqlite3")}
            for name in ("default", "archive")
        },
        INSTALLED_APPS=[
            "broadcaster.integrations.django.BroadcasterConfig",
            "tests.integrations.django_shop",
        ],
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command

    for name in ("default", "archive"):
        call_command("migrate", database=name, run_syncdb=True, verbosity=0)
