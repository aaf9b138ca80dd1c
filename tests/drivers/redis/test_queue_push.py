"""How pushes become calls of a script."""

from __future__ import annotations

import pytest

from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.keys import Keys
from broadcaster.drivers.redis.queue_push import PUSH_BYTES, PUSH_CHUNK, push_calls
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
