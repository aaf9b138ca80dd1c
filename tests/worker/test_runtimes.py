"""Runtimes are counted here and told now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.queue_admin import bin_of
from broadcaster.errors import DriverUnavailable
from broadcaster.worker import runtimes
from broadcaster.worker.runtimes import Runtimes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


class Store:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[tuple[str, int], int]]] = []
        self.away = False

    async def tell(self, queue: str, bins: Mapping[tuple[str, int], int]) -> None:
        if self.away:
            raise DriverUnavailable("away")
        self.told.append((queue, dict(bins)))


async def test_tries_are_told_by_queue_class_and_bin() -> None:
    store = Store()
    counted = Runtimes(store)
    for seconds in (0.1, 0.1, 5.0):
        counted.note("mail", "Send", seconds)
    counted.note("mail#3", "Send", 0.1)
    counted.note("reports", "Make", 0.1)

    await counted.tell()
    await counted.tell()

    short, long = bin_of(0.1), bin_of(5.0)
    assert store.told == [
        ("mail", {("Send", short): 3, ("Send", long): 1}),
        ("reports", {("Make", short): 1}),
    ]


async def test_what_cannot_be_told_is_forgotten() -> None:
    store = Store()
    counted = Runtimes(store)
    store.away = True
    counted.note("q", "Send", 0.1)
    await counted.tell()
    store.away = False

    await counted.tell()

    assert store.told == []


async def test_no_more_is_counted_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "MAX_COUNTS", 2)
    store = Store()
    counted = Runtimes(store)
    for name in "abca":
        counted.note("q", name, 0.0)

    await counted.tell()

    assert store.told == [("q", {("a", 0): 2, ("b", 0): 1})]
