"""
Sets Django up in a process that Django did not start, when it is imported.

::

    imports = ["broadcaster.integrations.django_setup", "shop.jobs"]     # broadcaster.toml

DJANGO_SETTINGS_MODULE says which settings, as everywhere; without it, a ``manage.py`` in the
working directory does.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import django
from django.apps import apps
from django.conf import settings

from broadcaster.errors import ConfigurationError
from broadcaster.integrations import django as integration

VARIABLE = "DJANGO_SETTINGS_MODULE"
_SAID = re.compile(rf"""["']{VARIABLE}["'],\s*["']([\w.]+)["']""")


def _find_settings() -> None:
    manage = Path("manage.py")
    text = manage.read_text("utf-8", "replace") if manage.is_file() else ""
    said = _SAID.search(text)
    if said is None:
        raise ConfigurationError(
            f"{VARIABLE} is not set, and no manage.py in {Path.cwd()} says which settings are meant"
        )
    os.environ[VARIABLE] = said[1]


if not apps.ready:
    if not (os.environ.get(VARIABLE) or settings.configured):
        _find_settings()
    django.setup()

__all__ = ["integration"]
