"""Row 45: the verbs that pause a queue."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import apause_queue, aresume_queue, minutes, pause_queue, resume_queue
from broadcaster.errors import DriverUnavailable
from broadcaster.jobs.lifecycle import LifecycleEvent, QueuePaused, QueueResumed

if TYPE_CHECKING:
    from tests.jobs.application import JobsApplication


async def test_row_45_both_verbs_pause_resume_and_tell_the_same(
    app: JobsApplication, heard: list[LifecycleEvent]
) -> None:
    app.lanes = 4
    pause_queue("mail", for_=minutes(10), by="ada")
    assert resume_queue("mail")
    said, app.pauses.calls = app.pauses.calls, []
    told = list(heard)
    heard.clear()
    await apause_queue("mail", for_=timedelta(minutes=10), by="ada")
    assert await aresume_queue("mail")

    assert said == app.pauses.calls == [("pause", "mail", 600.0, "ada", 4), ("resume", "mail", 4)]
    assert told == heard
    assert heard == [
        QueuePaused(connection_name="default", queue="mail", ttl=600.0),
        QueueResumed(connection_name="default", queue="mail"),
    ]


async def test_what_was_not_paused_is_not_told_as_resumed(
    app: JobsApplication, heard: list[LifecycleEvent]
) -> None:
    assert not resume_queue("mail", connection="spare")
    assert not await aresume_queue("mail", connection="spare")

    assert heard == []
    assert app.connections == ["spare", "spare"]


async def test_a_pause_that_did_not_come_to_pass_is_not_told(
    app: JobsApplication, heard: list[LifecycleEvent]
) -> None:
    app.pauses.failure = DriverUnavailable("no answer")

    with pytest.raises(DriverUnavailable):
        pause_queue("mail")
    with pytest.raises(DriverUnavailable):
        await apause_queue("mail")

    assert heard == []


def test_a_pause_says_who_and_has_no_end_unless_it_is_told(app: JobsApplication) -> None:
    pause_queue("mail")

    ((_, _, seconds, by, _),) = app.pauses.calls
    assert seconds is None
    assert "@" in by


@pytest.mark.parametrize("for_", [0, -1, float("nan"), float("inf"), timedelta(days=400)])
async def test_a_pause_of_no_or_endless_time_is_refused_before_anything_is_sent(
    app: JobsApplication, for_: Any
) -> None:
    with pytest.raises(ValueError, match="for_ must be"):
        pause_queue("mail", for_=for_)
    with pytest.raises(ValueError, match="for_ must be"):
        await apause_queue("mail", for_=for_)

    assert app.pauses.calls == []


@pytest.mark.parametrize("name", ["", "my mail", "mail#256"])
async def test_a_name_that_no_queue_has_is_refused(app: JobsApplication, name: str) -> None:
    with pytest.raises(ValueError, match="name must be that of a queue"):
        pause_queue(name)
    with pytest.raises(ValueError, match="name must be that of a queue"):
        await aresume_queue(name)

    assert app.pauses.calls == []
