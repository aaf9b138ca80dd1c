from __future__ import annotations

import pytest

from broadcaster.contracts.queue import Done, Reserved, StepReply
from broadcaster.worker.line import Line

JOB = Reserved("a", b"", 1, 0, alone=False)
TICK = 2.0


def line(*, ordered: bool = False, hot: bool = False) -> Line:
    made = Line("q", ordered=ordered)
    made.due_at = 100.0
    made.hot = hot
    return made


def test_a_quiet_line_needs_no_step() -> None:
    assert not line().needs_step(50.0, 5)


@pytest.mark.parametrize("wanted", [0, 5])
def test_settlements_hints_and_time_need_a_step(wanted: int) -> None:
    settling, hinted = line(), line()
    settling.settlements.append(Done("a", 1))
    hinted.hinted = True

    assert settling.needs_step(50.0, wanted)
    assert hinted.needs_step(50.0, wanted)
    assert line().needs_step(100.0, wanted)


def test_a_hot_line_needs_a_step_only_where_there_is_room() -> None:
    assert line(hot=True).needs_step(50.0, 1)
    assert not line(hot=True).needs_step(50.0, 0)


@pytest.mark.parametrize(
    ("reply", "wanted", "hot"),
    [
        (StepReply(), 5, False),
        (StepReply(reserved=[JOB]), 5, False),
        (StepReply(reserved=[JOB]), 1, True),
        (StepReply(drain=True, ready=1), 5, True),
        (StepReply(ready=3), 0, True),
        (StepReply(ready=0), 0, False),
    ],
)
def test_a_full_answer_means_that_there_may_be_more(
    reply: StepReply, wanted: int, *, hot: bool
) -> None:
    made = line()

    made.stepped(reply, wanted, 50.0, TICK)

    assert made.hot is hot


@pytest.mark.parametrize(
    ("next_in", "due_at"), [(None, 52.0), (0.5, 50.5), (10.0, 52.0), (0.0, 50.001)]
)
def test_the_next_look_is_when_something_is_due_or_after_a_tick(
    next_in: float | None, due_at: float
) -> None:
    made = line()

    made.stepped(StepReply(next_in=next_in), 5, 50.0, TICK)

    assert made.due_at == due_at


def test_a_line_is_empty_when_nothing_was_there_to_reserve() -> None:
    made = line()
    made.stepped(StepReply(), 5, 50.0, TICK)
    empty = made.empty
    made.stepped(StepReply(ready=1), 5, 50.0, TICK)

    assert empty
    assert not made.empty


@pytest.mark.parametrize("wanted", [0, 5])
def test_what_is_heard_while_a_step_is_on_its_way_holds_after_its_answer(wanted: int) -> None:
    made = line()
    made.asks()

    made.hint()
    made.stepped(StepReply(), wanted, 50.0, TICK)

    assert (made.hinted, made.hot, made.empty) == (True, True, False)
    assert made.asks()
    made.stepped(StepReply(), 5, 50.0, TICK)
    assert (made.hinted, made.hot, made.empty) == (False, False, True)


def test_settlements_are_taken_once() -> None:
    made = line()
    made.settlements.append(Done("a", 1))

    assert made.take_settlements() == [Done("a", 1)]
    assert made.take_settlements() == []
