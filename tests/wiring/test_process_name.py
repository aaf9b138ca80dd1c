from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.leases import node_name
from broadcaster.wiring.process_name import process_name

if TYPE_CHECKING:
    import pytest


def test_names_are_unique_per_start() -> None:
    assert process_name() != process_name()


def test_a_host_may_be_called_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are filed as ``node:epoch``, so a name must have no colon."""
    monkeypatch.setattr(socket, "gethostname", lambda: "büro:7 {a}")

    name = process_name()

    assert name.startswith("bro7a-")
    assert node_name(name, 1) == f"{name}:1"
