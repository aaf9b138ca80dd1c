"""Each publication goes to the driver it names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broadcaster.drivers.routing import RoutingPublisher
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publication


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str | None, list[str]]] = []
        self.asked: str | None = None

    def find(self, name: str | None) -> Recorder:
        self.asked = name
        return self

    def publish(self, publications: Sequence[Publication]) -> None:
        self.calls.append((self.asked, [one.name for one in publications]))

    async def apublish(self, publications: Sequence[Publication]) -> None:
        self.publish(publications)


async def test_neighbours_travel_together_and_order_is_kept() -> None:
    recorder = Recorder()
    router = RoutingPublisher(recorder.find)
    plain = [make_publication(name=name) for name in "abcd"]
    mixed = [plain[0], plain[1], replace(plain[2], connection="log"), plain[3]]

    router.publish(mixed)
    await router.apublish(mixed)

    assert recorder.calls == [(None, ["a", "b"]), ("log", ["c"]), (None, ["d"])] * 2
