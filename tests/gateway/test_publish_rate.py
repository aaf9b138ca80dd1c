"""How fast backends may publish."""

from __future__ import annotations

import pytest

from broadcaster.contracts.apps import App, AppLimits
from broadcaster.errors import RequestRefused
from broadcaster.gateway.publish_rate import PublishRates


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> PublishRates:
    return PublishRates(clock, max_apps=2)


def app(app_id: str = "1", rate: int = 10) -> App:
    return App(id=app_id, key=app_id, secret="s", limits=AppLimits(publish_rate=rate))


def refused(rates: PublishRates, of: App, messages: int = 1) -> int:
    """How long the app is asked to wait."""
    with pytest.raises(RequestRefused) as caught:
        rates.spend(of, messages)
    assert (caught.value.status, caught.value.code) == (429, "rate_limited")
    return caught.value.retry_after


def test_what_is_over_the_rate_waits(rates: PublishRates, clock: Clock) -> None:
    for _ in range(10):
        rates.spend(app(), 1)

    assert refused(rates, app()) == 1
    clock.now += 0.2
    rates.spend(app(), 1)


def test_a_request_larger_than_the_rate_passes_and_those_after_it_pay(
    rates: PublishRates, clock: Clock
) -> None:
    rates.spend(app(), 100)

    assert refused(rates, app()) == 10
    clock.now += 10
    rates.spend(app(), 100)


def test_apps_do_not_pay_for_each_other(rates: PublishRates) -> None:
    rates.spend(app("1"), 10)
    rates.spend(app("2"), 10)

    refused(rates, app("1"))


def test_a_changed_rate_holds_at_once(rates: PublishRates) -> None:
    rates.spend(app(rate=1), 50)

    rates.spend(app(rate=20), 20)

    refused(rates, app(rate=20))


def test_the_bucket_not_used_for_longest_makes_room(rates: PublishRates) -> None:
    for name in ("1", "2"):
        rates.spend(app(name), 10)
    refused(rates, app("1"))

    rates.spend(app("3"), 10)

    refused(rates, app("1"))
    rates.spend(app("2"), 10)


def test_the_refusal_says_what_to_do(rates: PublishRates) -> None:
    rates.spend(app(), 30)

    with pytest.raises(RequestRefused, match=r"repeat it in 3 s") as caught:
        rates.spend(app(), 1)

    assert "more than 10 messages a second" in caught.value.message
