from __future__ import annotations

from typing import Any

import pytest

from broadcaster.protocol.payload import Payload
from broadcaster.testing.records import (
    are_jobs,
    is_job,
    is_of,
    jobs_of,
    read_push,
    shortened,
    shown_jobs,
)
from tests.testing.shop import Charge, Pack, Receipt, Ship, report


def pushed(job: Any) -> Any:
    from broadcaster.jobs.bus import new_job

    new = new_job(job, now=1.0, randomness=bytes(10), default_queue="default")
    return read_push(new, "default")


def test_a_job_is_meant_by_class_function_and_name() -> None:
    assert is_of(pushed(Charge(1)), Charge)
    assert is_of(pushed(Charge(1)), "testing.Charge")
    assert is_of(pushed(report("2026-11")), report)
    for other in (Pack, "Charge", Receipt, object, report):
        assert not is_of(pushed(Charge(1)), other)


def test_links_are_meant_by_class_equal_job_and_question() -> None:
    assert are_jobs([Charge(1), Pack(2)], [Charge, Pack(2)])
    assert not are_jobs([Charge(1), Pack(2)], [Charge])
    assert not are_jobs([Charge(1)], [Charge(2)])
    assert is_job(Ship(1, express=True), lambda job: job.express)
    with pytest.raises(TypeError, match="no job"):
        is_job(Charge(1), 7)


def test_payloads_of_unknown_jobs_are_left_out() -> None:
    unknown = Payload(id="0" * 32, job="nobody.knows", data={})
    wrong = Payload(id="0" * 32, job="testing.Charge", data={"order_id": "seven"})

    assert jobs_of([unknown, wrong]) == ()


def test_messages_stay_short() -> None:
    assert len(shortened("x" * 1_000)) == 200
    assert shown_jobs([Charge(1)] * 30).endswith("and 10 more]")
