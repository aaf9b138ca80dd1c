"""Row 58: jobs of a test run in its process, on a real queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import (
    Job,
    JobFailed,
    batch,
    chain,
    current,
    emit,
    find_batch,
    job_status,
    minutes,
    on,
)
from broadcaster.errors import NotConfigured
from broadcaster.testing import LiveQueue, adrain, awork_once, drain, work_once
from tests.testing import shop
from tests.testing.shop import Charge, OrderPlaced, Pack, Ship, weigh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.redis


class Broken(Job, name="testing.Broken", tries=2, backoff=60):
    def handle(self) -> None:
        raise LookupError("no such order")


class Hopeless(Job, name="testing.Hopeless"):
    def handle(self) -> None:
        raise JobFailed("never")


class Spawning(Job, name="testing.Spawning"):
    left: int

    async def handle(self) -> None:
        shop.ran.append(self.left)
        if self.left:
            await Spawning(self.left - 1).adispatch(queue=f"q{self.left}")


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveQueue]:
    with LiveQueue(redis_url) as made:
        yield made


def test_row_58_sync_code_drains_what_it_dispatched(live: LiveQueue) -> None:
    Charge(7).dispatch()
    Pack(7).dispatch()
    assert shop.ran == []

    assert live.drain() == 2

    assert shop.ran == [Pack(7), Charge(7)] or shop.ran == [Charge(7), Pack(7)]
    live.assert_nothing_failed()


async def test_row_58_async_code_drains_what_it_dispatched(live: LiveQueue) -> None:
    await Charge(7).adispatch()

    assert await live.adrain() == 1

    assert shop.ran == [Charge(7)]


async def test_row_58_a_job_is_tested_by_its_handle_too() -> None:
    Ship(1).handle()
    await Pack(2).handle()

    assert shop.ran == [Ship(1), Pack(2)]


def test_row_58_one_job_at_a_time(live: LiveQueue) -> None:
    Ship(1).dispatch()
    Ship(2).dispatch()

    assert [live.work_once(), len(shop.ran)] == [1, 1]
    assert [live.work_once(), live.work_once()] == [1, 0]
    assert shop.ran == [Ship(1), Ship(2)]


def test_what_jobs_dispatch_runs_too_in_queues_that_were_not_there(live: LiveQueue) -> None:
    Spawning(3).dispatch()

    assert live.drain() == 4
    assert shop.ran == [3, 2, 1, 0]


def test_only_some_queues_can_be_drained(live: LiveQueue) -> None:
    Charge(7).dispatch()
    Pack(7).dispatch()

    assert live.drain("payments") == 1
    assert shop.ran == [Charge(7)]
    assert live.sizes().ready == 1


def test_chains_batches_and_listeners_run_to_their_end(live: LiveQueue) -> None:
    chain([Charge(1), Pack(1), Ship(1)]).dispatch()
    made = batch([Pack(2), Pack(3)]).then(Ship(4)).dispatch()
    emit(OrderPlaced(5))

    live.drain()

    live.assert_nothing_failed()
    assert made.fresh().finished
    ran = set(map(str, shop.ran))
    assert {str(Ship(1)), str(Ship(4)), str(("receipt", OrderPlaced(5)))} <= ran


def test_delayed_jobs_wait_until_time_has_passed(live: LiveQueue) -> None:
    Ship(1).dispatch(delay=minutes(5))

    assert live.drain() == 0
    live.travel(minutes(4))
    assert live.drain() == 0
    live.travel(minutes(1))
    assert live.drain() == 1


def test_a_retry_waits_and_fails_when_its_time_has_come(live: LiveQueue) -> None:
    Broken().dispatch()

    assert live.drain() == 1
    live.assert_nothing_failed()
    live.travel(60)
    assert live.drain() == 1

    [failed] = live.failed()
    assert (failed.job, failed.attempts) == ("testing.Broken", 2)
    with pytest.raises(
        AssertionError, match=r"Broken on default: LookupError.*no such order"
    ) as told:
        live.assert_nothing_failed()
    head, job, *frames = str(told.value).splitlines()
    assert head == "1 job failed:"
    assert job.endswith("(exception)")
    assert frames[0] == "      Traceback (most recent call last):"
    assert all(line.startswith("      ") for line in frames)


def test_a_live_queue_says_where_its_keys_are(live: LiveQueue) -> None:
    assert repr(live) == f"<LiveQueue with the prefix {live.settings.prefix!r}>"


def test_a_sync_job_with_a_timeout_sees_what_the_test_has_patched(
    live: LiveQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own it would send the mail that the test has taken away."""
    weighed: list[int] = []
    monkeypatch.setattr(shop, "scales", weighed.append)

    weigh(500).dispatch()
    live.drain()

    assert weighed == [500]


def test_jobs_run_one_after_the_other(live: LiveQueue) -> None:
    for number in range(20):
        Charge(number).dispatch()

    assert live.drain() == 20

    assert shop.ran == [Charge(number) for number in range(20)]


def test_the_memory_of_the_tests_stops_no_worker(redis_url: str) -> None:
    with LiveQueue(redis_url, {"worker.memory": 16}) as live:
        for number in range(3):
            Ship(number).dispatch()

        assert live.drain() == 3


def test_one_job_is_run_past_the_broadcasts_that_wait_before_it(live: LiveQueue) -> None:
    for number in range(3):
        on("news").as_("flash").with_({"number": number}).send()
    Charge(7).dispatch()
    Charge(8).dispatch()

    assert live.work_once() == 1
    assert shop.ran == [Charge(7)]
    assert live.drain() == 1
    assert live.work_once() == 0


def test_broadcasts_are_published_by_the_worker(live: LiveQueue) -> None:
    on("news").as_("flash").send()
    assert live.sizes("broadcasts").ready == 1  # it waits in a lane

    live.drain()

    assert live.sizes("broadcasts").ready == 0
    live.assert_nothing_failed()


@pytest.mark.parametrize("text", ["", "a b", "*", "x" * 5_000])
def test_text_out_of_an_address_is_no_job_and_no_batch(live: LiveQueue, text: str) -> None:
    """It is answered with 404, and not with an error."""
    assert job_status(text) is None
    assert find_batch(text) is None


def test_two_tests_do_not_see_each_other(live: LiveQueue, redis_url: str) -> None:
    Ship(1).dispatch()

    with LiveQueue(redis_url) as other:
        assert other.drain() == 0
        Ship(2).dispatch()
        assert other.drain() == 1

    assert live.drain() == 1
    assert shop.ran == [Ship(2), Ship(1)]


def test_the_functions_mean_the_open_one(live: LiveQueue) -> None:
    Ship(1).dispatch()
    Ship(2).dispatch()

    assert work_once() == 1
    assert drain() == 1


async def test_sync_functions_say_what_to_await_in_a_loop(live: LiveQueue) -> None:
    await Ship(1).adispatch()

    for verb in (drain, work_once):
        with pytest.raises(RuntimeError, match=f"await a{verb.__name__}"):
            verb()
    assert await awork_once() == 1
    assert await adrain() == 0


def test_without_a_live_queue_they_say_how_to_get_one() -> None:
    with pytest.raises(RuntimeError, match="fixture live_queue"):
        drain()


def test_nothing_is_left_behind(redis_url: str) -> None:
    with LiveQueue(redis_url) as live:
        Ship(1).dispatch()
        live.drain()
        Ship(2).dispatch()
        prefix = live.settings.prefix

    from broadcaster.drivers.redis.client import RedisClients

    clients = RedisClients(redis_url)
    assert list(clients.sync.scan_iter(match=f"{prefix}:*")) == []
    clients.close()
    with pytest.raises(NotConfigured):
        current.application().queue.push([])
