"""
Clients of the suite's server wait as long as a busy machine takes.

What a call to Redis may take is short, and a machine that runs many tests at once may stand
still for longer. Where the server is healthy that says nothing about what is tested. Tests that
stop a server of their own keep the limits, unless they ask for `patient`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers import redis as drivers
from broadcaster.drivers.redis import client

if TYPE_CHECKING:
    import types

    from _pytest.fixtures import FixtureRequest

SECONDS = 30.0
LIMITS = ("CONNECT_SECONDS", "ANSWER_SECONDS", "VERB_SECONDS", "POOL_SECONDS")
OWN_SERVERS = frozenset({"redis_server", "watched", "server_binary"})


@pytest.fixture(autouse=True)
def _patience(request: FixtureRequest) -> None:
    asked = set(request.fixturenames)
    if "redis_url" in asked and not asked & OWN_SERVERS:
        request.getfixturevalue("patient")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a call to Redis take `SECONDS`, in this process."""
    limits = {name: getattr(client, name) for name in LIMITS}
    for module in _modules():
        for name, value in limits.items():
            if getattr(module, name, None) == value:  # its own, or imported
                monkeypatch.setattr(module, name, SECONDS)


@cache
def _modules() -> list[types.ModuleType]:
    """Import them all: one that a test comes to import would keep the limits of that test."""
    found = pkgutil.iter_modules(drivers.__path__, f"{drivers.__name__}.")
    return [importlib.import_module(module.name) for module in found]
