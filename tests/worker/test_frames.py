"""Tracebacks of jobs begin with the job."""

from __future__ import annotations

import asyncio

import pytest

from broadcaster.jobs.execution import arun
from broadcaster.jobs.job import Job
from broadcaster.worker.frames import users_part


class Breaks(Job, name="test-frames-breaks"):
    async def handle(self) -> None:
        raise ValueError("broken")


def test_what_calls_the_job_is_left_out() -> None:
    with pytest.raises(ValueError, match="broken") as caught:
        asyncio.run(arun(Breaks()))
    inside = caught.value.__traceback__
    while inside is not None and "execution.py" not in inside.tb_frame.f_code.co_filename:
        inside = inside.tb_next

    shown = users_part(inside)

    assert shown is not None
    assert shown is not inside
    assert shown.tb_frame.f_code.co_name == "handle"


def test_a_trace_of_our_frames_alone_stays_whole() -> None:
    assert users_part(None) is None
