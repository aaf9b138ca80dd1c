from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.scheduling import schedule
from broadcaster.scheduling.entries import ScheduledJob, the_schedule
from broadcaster.scheduling.timetable import EveryTimes
from tests.scheduling.scheduled_jobs import Tidy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    the_schedule.clear()
    yield
    the_schedule.clear()


def test_a_function_becomes_a_job_that_is_due_at_times() -> None:
    @schedule("*/5 * * * *", timezone="Europe/Berlin", without_overlapping=True)
    def sweep() -> None: ...

    (entry,) = the_schedule.entries()
    assert entry.job.job == sweep()
    assert str(entry.times) == "*/5 * * * * Europe/Berlin"
    assert entry.lock == 86_400


def test_a_class_of_jobs_is_scheduled_as_it_is() -> None:
    assert schedule(every=60)(Tidy) is Tidy

    (entry,) = the_schedule.entries()
    assert (entry.job.job, entry.times) == (Tidy(), EveryTimes(60))


def test_a_job_is_told_when_it_is_due() -> None:
    schedule(Tidy("cellar")).cron("0 7 * * 1-5").timezone("Asia/Tokyo").without_overlapping(
        90
    ).catch_up(3_600).named("cellar")

    (entry,) = the_schedule.entries()
    assert (entry.name, entry.lock, entry.catch_up) == ("cellar", 90, 3_600)
    assert str(entry.times) == "0 7 * * 1-5 Asia/Tokyo"


def test_a_scheduled_job_shows_what_is_due_when() -> None:
    tidy = ScheduledJob(Tidy("attic"))
    assert repr(tidy) == "<ScheduledJob Tidy(folder='attic') never>"
    assert repr(tidy.every(60)) == "<ScheduledJob Tidy(folder='attic') every 60 s>"
    assert repr(tidy.cron("0 7 * * *")) == "<ScheduledJob Tidy(folder='attic') 0 7 * * *>"


def test_the_same_job_at_other_times_or_with_other_fields_has_another_name() -> None:
    for job, seconds in ((Tidy(), 60), (Tidy(), 90), (Tidy("b"), 60), (Tidy(), 60)):
        schedule(job).every(seconds)

    names = [entry.name for entry in the_schedule.entries()]

    assert len(names) == 3
    assert all(name.startswith("tests.Tidy:") for name in names)
    assert ScheduledJob(Tidy()).every(60).entry().name in names


def test_two_different_jobs_cannot_have_one_name() -> None:
    schedule(Tidy()).every(60).named("x")
    schedule(Tidy()).every(61).named("x")

    with pytest.raises(ConfigurationError, match="two scheduled jobs are called 'x'"):
        the_schedule.entries()


def test_a_job_without_a_time_is_refused() -> None:
    schedule(Tidy())

    with pytest.raises(ConfigurationError, match=r"tests.Tidy is scheduled without a time"):
        the_schedule.entries()


def test_what_is_wrong_is_said_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="is no time"):
        schedule(Tidy()).cron("every day")
    with pytest.raises(ValueError, match="catch_up"):
        schedule(Tidy()).catch_up(86_400)
    with pytest.raises(TypeError, match=r"say when, as in @schedule\('\*/5 \* \* \* \*'\)"):
        schedule(Tidy)  # type: ignore[call-overload]  # a class, and as a bare decorator
    with pytest.raises(TypeError, match="schedule takes"):
        schedule()
