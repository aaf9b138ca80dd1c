"""How pushes become calls of a script."""

from __future__ import annotations

import pytest

from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.keys import Keys
from broadcaster.drivers.redis.queue_push import (
    PUSH_BYTES,
    PUSH_CHUNK,
    ROUND_BYTES,
    ROUND_JOBS,
    push_calls,
    push_rounds,
)
from tests.drivers.redis.queue_world import job_id


def shares(*sizes: int, queue: str = "q") -> list[int]:
    """How many of jobs with these sizes go into each call."""
    body = bytes(max(sizes, default=0))
    jobs = [NewJob(job_id(at), queue, body[:size]) for at, size in enumerate(sizes)]
    calls = push_calls(Keys(), jobs)
    assert [place for call in calls for place in call.places] == list(range(len(sizes)))
    return [len(call.places) for call in calls]


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([], []),
        ([0], [1]),
        ([10] * PUSH_CHUNK, [PUSH_CHUNK]),
        ([10] * (PUSH_CHUNK + 1), [PUSH_CHUNK, 1]),
        ([10] * (2 * PUSH_CHUNK + 7), [PUSH_CHUNK, PUSH_CHUNK, 7]),
        ([PUSH_BYTES], [1]),
        ([PUSH_BYTES + 1, 1], [1, 1]),
        ([1, PUSH_BYTES, 1], [1, 1, 1]),
        ([PUSH_BYTES // 2] * 5, [2, 2, 1]),
    ],
    ids=["none", "one", "full", "one more", "many", "large", "too large", "between", "halves"],
)
def test_a_call_has_so_many_jobs_and_bytes_and_no_more(sizes: list[int], calls: list[int]) -> None:
    assert shares(*sizes) == calls


def test_each_queue_has_calls_of_its_own() -> None:
    jobs = [NewJob(job_id(at), "ab"[at % 2], b"x") for at in range(6)]

    calls = push_calls(Keys(), jobs)

    assert [list(call.places) for call in calls] == [[0, 2, 4], [1, 3, 5]]


def test_a_push_of_any_size_is_sent_in_rounds_that_a_call_has_time_for() -> None:
    jobs = [NewJob(job_id(at), "q", b"x") for at in range(2 * ROUND_JOBS + 1)]

    rounds = push_rounds(jobs, push_calls(Keys(), jobs))

    sizes = [sum(len(call.places) for call in each) for each in rounds]
    assert sizes == [ROUND_JOBS, ROUND_JOBS, 1]
    assert [at for each in rounds for call in each for at in call.places] == list(range(len(jobs)))


def test_large_jobs_are_fewer_in_a_round() -> None:
    body = bytes(PUSH_BYTES)
    jobs = [NewJob(job_id(at), "q", body) for at in range(9)]

    rounds = push_rounds(jobs, push_calls(Keys(), jobs))

    assert [len(each) for each in rounds] == [4, 4, 1]
    assert ROUND_BYTES == 4 * PUSH_BYTES


def test_jobs_of_many_queues_share_a_round() -> None:
    jobs = [NewJob(job_id(at), f"q{at}", b"x") for at in range(100)]

    assert len(push_rounds(jobs, push_calls(Keys(), jobs))) == 1
