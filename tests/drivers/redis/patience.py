"""Clients that wait for a minute, for tests of what is done and not of how soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.drivers.redis import client, publish, queue, scripts_loader

if TYPE_CHECKING:
    import pytest

SECONDS = 60.0


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine be no reason for a call to Redis to fail, in this test."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", SECONDS)
    monkeypatch.setattr(client, "ANSWER_SECONDS", SECONDS)
    for module in (client, publish, queue, scripts_loader):
        monkeypatch.setattr(module, "VERB_SECONDS", SECONDS)
