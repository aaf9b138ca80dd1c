"""A working directory and an environment without settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CREDENTIALS = {
    "BROADCASTER_APP_ID": "1",
    "BROADCASTER_APP_KEY": "app-key",
    "BROADCASTER_APP_SECRET": "app-secret",
}
_OURS = ("BROADCAST", "REVERB_", "PUSHER_", "SOKETI_", "REDIS_", "QUEUE_")


def surround(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to `folder` and forget every variable that means a setting."""
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
