"""Each publication goes to the driver it names."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from broadcaster.contracts.apps import App
from broadcaster.drivers.routing import RoutingPublisher, SigningPublisher
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


class Signing:
    """A driver that remembers what it signed with which secret."""

    signed: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, app: App) -> None:
        self.app = app
        self.closed = 0

    def publish(self, publications: Sequence[Publication]) -> None:
        self.signed.append((self.app.secret, len(publications)))

    async def apublish(self, publications: Sequence[Publication]) -> None:
        self.publish(publications)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.close()


async def test_each_app_signs_for_itself_with_its_present_secret() -> None:
    Signing.signed.clear()
    apps = {name: App(id=name, key=name, secret=f"{name}-secret") for name in ("1", "2")}
    publisher = SigningPublisher(apps.__getitem__, Signing)
    one, two = make_publication(), replace(make_publication(), app_id="2")

    publisher.publish([one, one, two])
    apps["1"] = replace(apps["1"], secret="rotated")
    await publisher.apublish([two, one])
    await publisher.aclose()

    assert Signing.signed == [("1-secret", 2), ("2-secret", 1), ("2-secret", 1), ("rotated", 1)]


async def test_a_driver_whose_secret_was_rotated_is_closed_when_nobody_uses_it() -> None:
    app = App(id="1", key="1", secret="old")
    apps, made, one = {"1": app}, list[Signing](), make_publication()
    gate = asyncio.Event()

    class Slow(Signing):
        def __init__(self, app: App) -> None:
            super().__init__(app)
            made.append(self)

        async def apublish(self, publications: Sequence[Publication]) -> None:
            await gate.wait()

    publisher = SigningPublisher(apps.__getitem__, Slow)
    slow = asyncio.create_task(publisher.apublish([one]))
    await asyncio.sleep(0)
    apps["1"] = replace(app, secret="new")
    publisher.publish([one])
    while_used = made[0].closed
    gate.set()
    await slow
    after = [driver.closed for driver in made]
    apps["1"] = replace(app, secret="newer")
    publisher.publish([one])

    assert while_used == 0
    assert after == [1, 0]
    assert [driver.closed for driver in made] == [1, 1, 0]
    assert not publisher._replaced
