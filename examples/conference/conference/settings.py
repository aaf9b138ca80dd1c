"""The settings of a small site; the entry of broadcaster is the only one of note."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
DATA = Path(os.environ.get("CONFERENCE_DATA", BASE_DIR))

SECRET_KEY = os.environ.get("CONFERENCE_SECRET", "for a laptop only")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
ROOT_URLCONF = "conference.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "broadcaster.integrations.django.BroadcasterConfig",
    "conference",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA / "conference.sqlite3")}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(DATA / "mails")
MEDIA_ROOT = str(DATA / "media")
MEDIA_URL = "/media/"
USE_TZ = True
