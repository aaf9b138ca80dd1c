"""Tasks of jobs, made so that they cannot end the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import JobError
from broadcaster.worker.containment import contain_exits, running_job

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def job() -> Iterator[str]:
    token = running_job.set("7f")
    yield "7f"
    running_job.reset(token)


async def leave(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


@pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt()])
async def test_what_would_end_the_process_is_an_error_of_the_job(
    job: str, error: BaseException
) -> None:
    contain_exits(asyncio.get_running_loop())

    with pytest.raises(JobError, match=f"in a task that job {job} had started") as caught:
        await asyncio.create_task(leave(error))

    assert caught.value.__cause__ is error


async def test_results_errors_names_and_contexts_pass(job: str) -> None:
    contain_exits(asyncio.get_running_loop())

    task = asyncio.create_task(answer(), name="mine")

    assert "answer" in repr(task)
    assert (await task, task.get_name()) == (42, "mine")
    with pytest.raises(ValueError, match="bad luck"):
        await asyncio.create_task(leave(ValueError("bad luck")))


async def test_a_task_cancelled_before_it_began_leaves_nothing_unawaited(job: str) -> None:
    """Warnings are errors here."""
    contain_exits(asyncio.get_running_loop())
    task = asyncio.create_task(answer())

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_tasks_outside_of_jobs_are_left_alone() -> None:
    contain_exits(asyncio.get_running_loop())

    task = asyncio.create_task(answer())

    assert asyncio.iscoroutine(task.get_coro())
    assert type(task.get_coro()).__name__ == "coroutine"
    assert await task == 42


async def test_a_task_factory_of_somebody_else_stays() -> None:
    loop = asyncio.get_running_loop()

    def theirs(loop: asyncio.AbstractEventLoop, work: object) -> asyncio.Task[object]:
        return asyncio.Task(work, loop=loop)  # type: ignore[arg-type]  # never called

    loop.set_task_factory(theirs)  # type: ignore[arg-type]  # never called

    contain_exits(loop)

    assert loop.get_task_factory() is theirs
    loop.set_task_factory(None)
