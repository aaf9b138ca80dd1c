"""Drivers by name, imported when they are used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from broadcaster.errors import UnknownDriver
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLISHERS: Mapping[str, str] = {
    "redis": "broadcaster.drivers.redis.publisher:RedisPublisher",
    "pusher": "broadcaster.drivers.http.pusher:PusherPublisher",
    "log": "broadcaster.drivers.log:LogPublisher",
    "null": "broadcaster.drivers.null:NullPublisher",
}
QUEUES: Mapping[str, str] = {
    "redis": "broadcaster.drivers.redis.queue:RedisQueue",
    "sync": "broadcaster.drivers.sync:SyncQueue",
    "null": "broadcaster.drivers.null:NullQueue",
    "celery": "broadcaster.integrations.celery:CeleryQueue",
}


def load(table: Mapping[str, str], name: str) -> Any:
    """
    Return the class of the driver called `name`.

    Raises:
        UnknownDriver: `table` has no such name; the message lists those it has.
    """
    target = table.get(name)
    if target is None:
        hint = did_you_mean(name, table) or "."
        raise UnknownDriver(f"there is no driver {name!r}{hint} Known are: {', '.join(table)}")
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
