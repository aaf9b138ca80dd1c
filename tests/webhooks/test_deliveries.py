"""What becomes of one webhook, with a clock and a sender of the test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from broadcaster.contracts.apps import StaticApps
from broadcaster.contracts.queue import Done, Fail, Release, Reserved, Retry
from broadcaster.contracts.webhooks import Answer
from broadcaster.errors import AddressRefused, DriverUnavailable
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.fact_jobs import WEBHOOK_QUEUE, Delivery, encode_delivery
from broadcaster.webhooks.deliveries import Chances, DeliveryRunner
from broadcaster.webhooks.receiver import PATIENCE
from tests.webhooks.webhook_world import APP, fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.queue import Settlement

URL = "https://shop.example/hooks"


class World:
    """One endpoint, whose answers and whose time a test decides."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.fact = fact(time_ms=int(self.now * 1000))
        self.answer: Answer | Exception = Answer(200)
        self.sent: list[bytes] = []
        chances = Chances(lambda: self.now, lambda: self.now, lambda: 0.5)
        apps = StaticApps(replace(APP, webhooks=(Webhook(url=URL),)))
        self.runner = DeliveryRunner(apps, self, chances, places=1_000, at_once=10, gather=0.0)

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        assert url == URL
        assert dict(headers)["X-Pusher-Key"] == APP.key
        self.sent.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        raise AssertionError("the runner does not own its sender")

    async def run(self, *, attempts: int = 0, alone: bool = False) -> Settlement:
        body = encode_delivery(Delivery(url=URL, fact=self.fact))
        return await self.runner.run(WEBHOOK_QUEUE, Reserved("1", body, 7, attempts, alone), None)

    async def bring_down(self) -> None:
        was, self.answer = self.answer, Answer(500)
        for _ in range(PATIENCE):
            await self.run()
        self.answer = was
        self.sent.clear()


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_accepted_is_done(world: World) -> None:
    assert await world.run() == Done("1", 7)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404), "status_404"),
        (Answer(503), "status_503"),
        (Answer(302), "status_302"),
        (DriverUnavailable("no answer within 10 s"), "no_answer"),
        (RuntimeError("a bug"), "internal"),
    ],
)
async def test_anything_else_is_tried_again_until_the_end(
    world: World, answer: Answer | Exception, reason: str
) -> None:
    world.answer = answer

    assert await world.run() == Retry("1", 7, 1.0)
    assert await world.run(attempts=3) == Retry("1", 7, 8.0)
    world.now += 300
    last = await world.run(attempts=8)

    assert isinstance(last, Fail)
    assert (last.reason, last.attempts) == (reason, 9)
    assert last.error.startswith(f"{URL}: ")


async def test_an_address_that_must_not_be_asked_ends_it(world: World) -> None:
    world.answer = AddressRefused("its address is private")

    assert await world.run() == Fail("1", 7, "address_refused", f"{URL}: its address is private", 1)


async def test_a_job_that_waited_for_hours_is_tried_all_the_same(world: World) -> None:
    world.now += 7_200

    assert await world.run() == Done("1", 7)


async def test_a_receiver_that_is_down_is_waited_for_without_using_up_a_try(world: World) -> None:
    await world.bring_down()

    assert await world.run() == Release("1", 7, 1.5)
    assert await world.run(alone=True) == Retry("1", 7, 1.5)
    assert world.sent == []


async def test_what_was_tried_is_not_kept_for_a_receiver_that_is_down(world: World) -> None:
    await world.bring_down()
    world.fact = fact(time_ms=int((world.now - 301) * 1000))

    failed = await world.run(attempts=4)

    assert isinstance(failed, Fail)
    assert failed.reason == "receiver_down"
    assert world.sent == []


async def test_what_was_never_tried_waits_for_it_however_old(world: World) -> None:
    await world.bring_down()
    world.fact = fact(time_ms=int((world.now - 7_200) * 1000))

    assert await world.run() == Release("1", 7, 1.5)
    world.now += 1
    assert await world.run() == Done("1", 7)


async def test_what_says_to_be_from_the_far_future_is_not_kept_until_then(world: World) -> None:
    """Neither for an endpoint that nobody knows, nor for one that has been down for long."""
    world.fact = fact(time_ms=10**15)
    known, world.fact = world.fact, msgspec.structs.replace(world.fact, app_id="gone")
    unknown = [await world.run(attempts=attempts) for attempts in (0, 40)]
    world.fact = known
    await world.bring_down()
    at_first = await world.run()
    world.answer = Answer(500)
    for _ in range(11):
        world.now += 30
        await world.run(attempts=1)
    later = await world.run()

    assert isinstance(unknown[0], Retry)
    assert unknown[1] == Done("1", 7)
    assert isinstance(at_first, Release)
    assert isinstance(later, Fail)
    assert later.reason == "receiver_down"


async def test_what_is_no_webhook_fails(world: World) -> None:
    failed = await world.runner.run(WEBHOOK_QUEUE, Reserved("1", b"junk", 7, 0, alone=False), None)

    assert isinstance(failed, Fail)
    assert failed.reason == "invalid_job"
