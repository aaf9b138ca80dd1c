"""
Helpers for tests of applications: fakes that record, and a real queue to run.

The fixtures of `broadcaster.testing.plugin` are known to pytest by themselves. In
`unittest` style: ``self.queue = self.enterContext(QueueFake())``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broadcaster.testing.broadcast_fake import BroadcastFake, RecordedBroadcast
    from broadcaster.testing.bus_fake import BusFake
    from broadcaster.testing.clock import FakeClock
    from broadcaster.testing.event_fake import EventFake
    from broadcaster.testing.live import LiveQueue, adrain, awork_once, drain, work_once
    from broadcaster.testing.queue_fake import QueueFake
    from broadcaster.testing.records import PushedJob, RecordedBatch

__all__ = [
    "BroadcastFake",
    "BusFake",
    "EventFake",
    "FakeClock",
    "LiveQueue",
    "PushedJob",
    "QueueFake",
    "RecordedBatch",
    "RecordedBroadcast",
    "adrain",
    "awork_once",
    "drain",
    "work_once",
]

_HOMES = {
    "broadcast_fake": ("BroadcastFake", "RecordedBroadcast"),
    "bus_fake": ("BusFake",),
    "clock": ("FakeClock",),
    "event_fake": ("EventFake",),
    "live": ("LiveQueue", "adrain", "awork_once", "drain", "work_once"),
    "queue_fake": ("QueueFake",),
    "records": ("PushedJob", "RecordedBatch"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # type checkers would take any name for granted

    def __getattr__(name: str) -> object:
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'broadcaster.testing' has no attribute {name!r}")
        value: object = getattr(importlib.import_module(f"broadcaster.testing.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
