"""Listening to what is told of jobs, queues and workers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from broadcaster.jobs.announcing import lifecycle_listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.jobs.lifecycle import LifecycleEvent


@contextmanager
def hearing(*kinds: type[LifecycleEvent]) -> Iterator[list[Any]]:
    """Collect the events of `kinds` that are told meanwhile, in order."""
    events: list[Any] = []
    removers = [lifecycle_listeners.add(kind, events.append) for kind in kinds]
    try:
        yield events
    finally:
        for remove in removers:
            remove()
