"""Tracebacks of jobs begin with the job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.jobs import execution
from broadcaster.jobs.execution import arun
from broadcaster.jobs.job import Job
from broadcaster.worker.frames import MAX_FRAMES, read_dump, suspended_at, told, users_part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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


class Waits(Job, name="test-frames-waits"):
    async def handle(self) -> None:
        async for _ in self.rows():
            pass

    async def rows(self) -> AsyncIterator[int]:
        await self.deeper()
        yield 1

    async def deeper(self) -> None:
        await asyncio.sleep(60)


async def test_where_a_coroutine_waits_is_told_from_the_job_on() -> None:
    work = asyncio.create_task(arun(Waits()))
    await asyncio.sleep(0)

    places = suspended_at(work.get_coro())

    work.cancel()
    assert [place.name for place in places][:1] == ["handle"]
    assert told("Here", places).startswith(f'Here (most recent call last):\n  File "{__file__}"')
    assert "async for _ in self.rows():" in told("Here", places)


async def test_a_coroutine_of_very_many_frames_tells_the_innermost_ones() -> None:
    async def down(level: int) -> None:
        if level:
            await down(level - 1)
        else:
            await asyncio.sleep(60)

    work = asyncio.create_task(down(200))
    await asyncio.sleep(0)

    places = suspended_at(work.get_coro())

    work.cancel()
    assert [place.name for place in places] == ["down"] * (MAX_FRAMES - 1) + ["sleep"]


def test_a_dump_is_read_and_what_is_no_frame_is_left_out() -> None:
    lines = [
        b"Current thread 0x00007f (most recent call first):\n",
        b'  File "/shop/jobs.py", line 7 in fetch\n',
        b"noise\n",
        b'  File "/shop/jobs.py", line 3 in handle\n',
        f'  File "{execution.__file__}", line 9 in call\n'.encode(),
        b'  File "<string>", line 4 in <module>\n',
    ]

    assert read_dump(lines) == [("/shop/jobs.py", 3, "handle"), ("/shop/jobs.py", 7, "fetch")]
    assert read_dump([]) == []
    assert told("Here", []) == ""


def test_a_trace_of_our_frames_alone_stays_whole() -> None:
    assert users_part(None) is None
