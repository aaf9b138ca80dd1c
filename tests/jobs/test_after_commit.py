"""Row 36: what is sent in a transaction goes out when that is committed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from broadcaster.jobs import after_commit as module
from broadcaster.jobs.after_commit import after_commit, postpone, register_transactions
from tests.integrations.actions import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.jobs.after_commit import Action


class OwnTransaction:
    """A transaction of some library; `commit` does what waits for it."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def on_commit(self, action: Action) -> None:
        self.actions.append(action)

    def commit(self) -> None:
        for action in self.actions:
            action.run()


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def own() -> Iterator[list[OwnTransaction]]:
    """The open transactions of a source that this test registers."""
    found: list[OwnTransaction] = []
    register_transactions("tests", lambda: found)
    yield found
    del module._sources["tests"]


def test_without_a_transaction_there_is_nothing_to_wait_for(done: list[str]) -> None:
    assert not postpone(Noted(done))
    assert done == []


def test_row_36_what_is_sent_in_a_block_goes_out_at_its_end(done: list[str]) -> None:
    with after_commit():
        assert postpone(Noted(done, "first"))
        assert postpone(Noted(done, "second"))
        assert done == []

    assert done == ["first", "second"]


def test_a_block_that_ends_with_an_exception_drops_what_it_holds(done: list[str]) -> None:
    with suppress(ZeroDivisionError), after_commit():
        postpone(Noted(done))
        raise ZeroDivisionError

    assert done == []


async def test_an_async_block_awaits_what_it_sends(done: list[str]) -> None:
    async with after_commit():
        postpone(Noted(done))

    assert done == ["asent"]


def test_what_waits_behind_an_action_that_fails_is_sent(
    done: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def block() -> None:
        with after_commit():
            postpone(Noted(done, "broken", ZeroDivisionError()))
            postpone(Noted(done, "worse", OSError("away")))
            postpone(Noted(done))

    with pytest.raises(ZeroDivisionError):
        block()

    assert done == ["broken", "worse", "sent"]
    assert [record.getMessage() for record in caplog.records] == [
        "a further job or event was not sent after a commit"
    ]


@pytest.mark.parametrize(
    ("failure", "sent", "said"),
    [
        (ZeroDivisionError(), ["abroken", "asent", "asent"], ""),
        (asyncio.CancelledError(), ["abroken"], "2 further jobs or events were not sent"),
    ],
    ids=["failure", "cancellation"],
)
async def test_a_cancellation_ends_the_sending_and_a_failure_does_not(
    done: list[str],
    caplog: pytest.LogCaptureFixture,
    failure: BaseException,
    sent: list[str],
    said: str,
) -> None:
    async def block() -> None:
        async with after_commit():
            postpone(Noted(done, "broken", failure))
            postpone(Noted(done))
            postpone(Noted(done))

    with pytest.raises(type(failure)):
        await block()

    assert done == sent
    assert said in caplog.text


def test_an_inner_block_hands_over_to_the_outer_one(done: list[str]) -> None:
    with after_commit():
        with after_commit():
            postpone(Noted(done))
        assert done == []

    assert done == ["sent"]


def test_an_inner_block_that_fails_takes_only_its_own_with_it(done: list[str]) -> None:
    with after_commit():
        postpone(Noted(done, "outer"))
        with suppress(ZeroDivisionError), after_commit():
            postpone(Noted(done, "inner"))
            raise ZeroDivisionError

    assert done == ["outer"]


def test_all_open_transactions_must_be_committed(
    done: list[str], own: list[OwnTransaction]
) -> None:
    own += [OwnTransaction(), OwnTransaction()]

    with after_commit():
        assert postpone(Noted(done))
        own[0].commit()
    assert done == []
    own[1].commit()

    assert done == ["sent"]


def test_one_that_rolls_back_drops_it_for_all(done: list[str], own: list[OwnTransaction]) -> None:
    own.append(OwnTransaction())

    with after_commit():
        postpone(Noted(done))

    assert done == []


async def test_tasks_of_a_block_wait_for_it(done: list[str]) -> None:
    async def send() -> None:
        postpone(Noted(done))

    async with after_commit():
        await asyncio.create_task(send())
        assert done == []

    assert done == ["asent"]


async def test_a_task_that_outlives_its_block_waits_no_more(done: list[str]) -> None:
    left = asyncio.Event()

    async def send() -> bool:
        await left.wait()
        return postpone(Noted(done))

    async with after_commit():
        task = asyncio.create_task(send())
        await asyncio.sleep(0)
    left.set()

    assert await task is False


def test_threads_know_nothing_of_the_blocks_of_others(done: list[str]) -> None:
    waited: list[bool] = []

    with after_commit():
        thread = threading.Thread(target=lambda: waited.append(postpone(Noted(done))))
        thread.start()
        thread.join()

    assert waited == [False]


def test_what_comes_after_the_end_of_a_block_is_done_at_once(done: list[str]) -> None:
    with after_commit() as block:
        pass

    block.on_commit(Noted(done))

    assert done == ["sent"]


def test_what_comes_from_a_thread_after_the_end_of_a_block_shares_its_fate(
    done: list[str],
) -> None:
    """It had found the block open, which another thread has ended before it was heard."""
    with after_commit():
        with after_commit() as kept:
            pass
        with suppress(ZeroDivisionError), after_commit() as dropped:
            raise ZeroDivisionError
        kept.on_commit(Noted(done, "kept"))
        dropped.on_commit(Noted(done, "dropped"))
        assert done == []

    assert done == ["kept"]
