from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.jobs.function import job
from broadcaster.jobs.injection import provided, unprovided
from broadcaster.jobs.job import Job
from broadcaster.jobs.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

ran: list[object] = []


@job(name="function.add")
def add(a: int, b: int = 2) -> None:
    """Add up."""
    ran.append(a + b)


@job(name="function.report", queue="reports", tries=2)
async def report(month: str) -> None:
    ran.append(month)


def test_a_function_that_yields_is_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="job numbers yields, so nobody would run it"):
        job(numbers)


def test_a_function_that_returns_a_coroutine_is_an_error() -> None:
    async def inner() -> None: ...

    def outer() -> object:
        return inner()

    with pytest.raises(InvalidJob, match="returned a coroutine"):
        job(name="function.outer")(outer)().run_now()


class Later: ...


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def test_a_function_becomes_a_job() -> None:
    made = add(1)

    assert isinstance(made, Job)
    assert made.encode_fields() == {"a": 1, "b": 2}
    assert registry.find("function.add").__doc__ == "Add up."
    assert registry.find("function.report").options.queue == "reports"


def test_run_now_runs_sync_and_async_jobs_here() -> None:
    add(1, b=5).run_now()
    report("May").run_now()

    assert ran == [6, "May"]


async def test_arun_now_runs_both_from_a_coroutine() -> None:
    await add(1).arun_now()
    await report("May").arun_now()

    assert ran == [3, "May"]


async def test_run_now_of_an_async_job_in_a_loop_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match="await arun_now"):
        report("May").run_now()


def test_a_function_with_open_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cannot take \*args"):
        job(_open_arguments)
    with pytest.raises(TypeError, match="parameter a needs a type"):
        job(_untyped)


def _open_arguments(*args: int) -> None: ...


def _untyped(a) -> None: ...  # type: ignore[no-untyped-def]  # what the test is about


def test_a_function_without_options_has_its_own_name() -> None:
    @job
    def count_rows_of_this_test() -> None: ...

    assert registry.find("count_rows_of_this_test").options.name == "count_rows_of_this_test"
    assert count_rows_of_this_test().encode_fields() == {}


def test_a_parameter_may_say_that_it_is_a_service() -> None:
    """Whatever is provided so far, and so that type checkers expect no argument."""

    @job(name="function.with_later")
    def with_later(number: int, later: Later = provided, text: str = "x") -> None: ...

    made = with_later(7, text="y")

    assert made.encode_fields() == {"number": 7, "text": "y"}
    (sentence,) = unprovided(type(made))
    assert sentence.startswith("function.with_later.handle takes later: Later, which nobody")
