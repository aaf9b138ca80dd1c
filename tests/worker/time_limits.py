"""Time limits of jobs in processes that begin when the job has come so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.worker import process
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest


def limit_from(monkeypatch: pytest.MonkeyPatch, begun: Callable[[], object]) -> None:
    """
    Let the time of each job begin when `begun()` is true, however busy the machine is.

    And give it all the time that it needs to say where it hangs.
    """
    within = process._within

    async def later(seconds: float, reading: Awaitable[bytes | None], what: str) -> bytes | None:
        if "ran longer" in what:
            await eventually(begun, within=20)
        return await within(seconds, reading, what)

    monkeypatch.setattr(process, "_within", later)
    monkeypatch.setattr(process, "DUMP_SECONDS", 20.0)
