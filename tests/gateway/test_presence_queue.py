"""What waits in a presence channel: in order, and bounded whatever clients do."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.contracts.presence import Member
from broadcaster.gateway.presence_queue import (
    JOIN_BATCH,
    FinishOp,
    JoinOp,
    LeaveOp,
    PresenceQueue,
    RefreshOp,
)

if TYPE_CHECKING:
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.presence_queue import Operation


class Caller:
    def __init__(self, socket_id: str) -> None:
        self.socket_id = socket_id


def join(socket_id: str) -> JoinOp:
    return JoinOp(cast("Connection", Caller(socket_id)), 1, Member("ada", "{}"))


def queue_of(*operations: Operation) -> PresenceQueue:
    queue = PresenceQueue()
    for operation in operations:
        queue.add(operation)
    return queue


def all_of(queue: PresenceQueue) -> list[Operation]:
    """Do everything, and return it in order."""
    done: list[Operation] = []
    while queue:
        begun = queue.begin()
        queue.done(len(begun))
        done += begun
    return done


def test_joins_at_the_front_begin_together_and_nothing_passes_another() -> None:
    joins = [join(f"{number}.1") for number in range(JOIN_BATCH + 2)]
    queue = queue_of(*joins, LeaveOp("0.0"), join("9.9"))

    assert queue.begin() == joins[:JOIN_BATCH]
    queue.done(JOIN_BATCH)
    assert queue.begin() == joins[JOIN_BATCH:]
    queue.done(2)
    assert queue.begin() == [LeaveOp("0.0")]


def test_what_is_not_done_begins_again() -> None:
    queue = queue_of(LeaveOp("1.1"), LeaveOp("2.2"))

    assert queue.begin() == queue.begin() == [LeaveOp("1.1")]


def test_a_leave_takes_back_a_join_that_has_not_begun() -> None:
    other = join("2.2")

    queue = queue_of(join("1.1"), other, LeaveOp("1.1"))

    assert all_of(queue) == [other]


def test_a_leave_follows_a_join_that_has_begun() -> None:
    """Whether it took place is not known before the store answers, and perhaps not then."""
    mine = join("1.1")
    queue = queue_of(mine)
    queue.begin()

    queue.add(LeaveOp("1.1"))

    assert all_of(queue) == [mine, LeaveOp("1.1")]


def test_who_comes_and_goes_while_the_store_is_away_takes_no_room() -> None:
    queue = queue_of(join("1.1"))
    queue.begin()

    last = join("1.1")
    for joining in [*(join("1.1") for _ in range(1_000)), last]:
        queue.add(LeaveOp("1.1"))
        queue.add(joining)

    assert len(queue) == 3
    assert all_of(queue)[1:] == [LeaveOp("1.1"), last]


def test_what_came_into_the_list_unasked_is_removed_before_a_join_that_waits() -> None:
    mine, other = join("1.1"), join("2.2")
    queue = queue_of(mine, other)

    queue.undo("1.1")
    queue.undo("3.3")

    assert all_of(queue) == [LeaveOp("1.1"), other, mine, LeaveOp("3.3")]


def test_what_came_into_the_list_unasked_is_removed_though_the_join_is_taken_back() -> None:
    queue = queue_of(join("1.1"))

    queue.undo("1.1")
    queue.add(LeaveOp("1.1"))

    assert all_of(queue) == [LeaveOp("1.1")]


@pytest.mark.parametrize("operation", [FinishOp(), RefreshOp(always=False)])
def test_one_that_has_not_begun_stands_for_all_that_are_asked_for(operation: Operation) -> None:
    queue = queue_of(operation, LeaveOp("1.1"), operation)
    assert len(queue) == 2

    queue.begin()
    queue.add(operation)
    queue.add(operation)

    assert all_of(queue) == [operation, LeaveOp("1.1"), operation]


def test_a_refresh_for_everybody_wins() -> None:
    queue = queue_of(RefreshOp(always=True), RefreshOp(always=False))
    other = queue_of(RefreshOp(always=False), RefreshOp(always=True))

    assert all_of(queue) == all_of(other) == [RefreshOp(always=True)]


def test_a_finish_and_a_refresh_do_not_stand_for_each_other() -> None:
    queue = queue_of(FinishOp(), RefreshOp(always=False))

    assert len(queue) == 2
