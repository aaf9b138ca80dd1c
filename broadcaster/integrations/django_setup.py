"""
Sets Django up in a process that Django did not start, when it is imported.

::

    imports = ["broadcaster.integrations.django_setup", "shop.jobs"]     # broadcaster.toml

DJANGO_SETTINGS_MODULE says which settings, as everywhere.
"""

from __future__ import annotations

import django
from django.apps import apps

from broadcaster.integrations import django as integration

if not apps.ready:
    django.setup()

__all__ = ["integration"]
