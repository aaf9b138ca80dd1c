from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from broadcaster.supervisor.aside import Aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG, SHORT = 30.0, 0.05


class Calls:
    """Calls that go on until the test lets them end."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.made: list[str] = []

    def hang(self, name: str) -> Callable[[], str]:
        def call() -> str:
            assert self.over.wait(LONG)
            self.made.append(name)
            return name

        return call


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls()
    yield made
    made.over.set()


async def test_it_returns_what_the_call_returns_and_raises_what_it_raises() -> None:
    aside = Aside()

    assert await aside.call("sum", lambda: 1 + 1, LONG) == 2
    with pytest.raises(ZeroDivisionError):
        await aside.call("sum", lambda: 1 // 0, LONG)
    assert await aside.call("sum", lambda: 2 + 2, LONG) == 4


async def test_a_call_that_hangs_is_not_waited_for_and_holds_up_its_own_kind_alone(
    calls: Calls,
) -> None:
    aside = Aside()

    for name in ("first", "second"):
        with pytest.raises(TimeoutError):
            await aside.call("status", calls.hang(name), SHORT)
    assert await aside.call("look", lambda: "seen", LONG) == "seen"

    calls.over.set()
    assert await aside.call("status", calls.hang("third"), LONG) == "third"
    assert calls.made == ["first", "third"], "in their order, and none that nobody waits for"


async def test_one_that_waits_for_the_one_before_begins_when_that_has_ended(calls: Calls) -> None:
    aside = Aside()
    with pytest.raises(TimeoutError):
        await aside.call("status", calls.hang("first"), SHORT)

    second = asyncio.create_task(aside.call("status", calls.hang("second"), LONG))
    await asyncio.sleep(0)
    assert calls.made == []
    calls.over.set()

    assert await second == "second"
    assert calls.made == ["first", "second"]


async def test_a_call_that_fails_when_nobody_waits_any_more_is_forgotten() -> None:
    """Its error is nobody's; one that is never looked at would be reported as a mistake."""
    aside, over, failures = Aside(), threading.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))

    def fail() -> None:
        assert over.wait(LONG)
        raise OSError("too late")

    with pytest.raises(TimeoutError):
        await aside.call("status", fail, SHORT)
    over.set()

    assert await aside.call("status", lambda: "next", LONG) == "next"
    assert failures == []
