from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import SkipIf
from broadcaster.jobs.options import JobOptions, with_options

PLAIN = JobOptions(name="Mail")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"tries": 3}, {"tries": 3}),
        ({"delay": timedelta(seconds=1.5)}, {"delay": 1.5}),
        ({"backoff": [1, timedelta(minutes=1)]}, {"backoff": (1.0, 60.0)}),
        ({"jitter": 1}, {"jitter": 1.0}),
        ({"timeout": 20}, {"timeout": 20.0}),
        ({"fail_on_timeout": True}, {"fail_on_timeout": True}),
        ({"max_exceptions": 3}, {"max_exceptions": 3}),
        ({"retry_until": timedelta(hours=2)}, {"retry_for": 7200.0}),
        ({"retry_until": datetime(2026, 1, 1, tzinfo=UTC)}, {"retry_until": 1_767_225_600.0}),
        ({"connection": "long", "queue": "low"}, {"connection": "long", "queue": "low"}),
        ({"queue": None}, {}),
        ({"unique": True}, {"unique": ()}),
        ({"unique": False}, {"unique": None}),
        ({"unique": "url"}, {"unique": ("url",)}),
        ({"unique": ["url", "user"]}, {"unique": ("url", "user")}),
        (
            {"unique_for": 60, "unique_until": "processing"},
            {"unique_for": 60.0, "unique_until": "processing"},
        ),
        ({"after_commit": False}, {"after_commit": False}),
        ({"delete_when_missing_models": True}, {"delete_when_missing_models": True}),
    ],
)
def test_options_are_read_into_plain_types(given: dict[str, Any], read: dict[str, Any]) -> None:
    assert with_options(PLAIN, given) == JobOptions(**({"name": "Mail"} | read))


def test_a_duration_takes_the_place_of_a_moment_and_the_other_way_round() -> None:
    """What a dispatch says about `retry_until` wins, whichever form its class has used."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    of_class = with_options(PLAIN, {"retry_until": 60})

    changed = with_options(of_class, {"retry_until": moment})
    back = with_options(changed, {"retry_until": 60})

    assert (changed.retry_for, changed.retry_until) == (None, moment.timestamp())
    assert back == of_class


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tries": -1}, "tries must be 0"),
        ({"tries": 1.5}, "tries must be a whole number"),
        ({"tries": True}, "tries must be a whole number"),
        ({"max_exceptions": 0}, "max_exceptions must be 1 or more"),
        ({"timeout": -1}, "timeout must be 0 to"),
        ({"delay": float("nan")}, "delay must be 0 to"),
        ({"jitter": 1.1}, "jitter is a part of the wait"),
        ({"retry_until": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - on purpose
        ({"unique": 7}, "'int' object is not iterable"),
        ({"unique": []}, "unique is True or names of fields"),
        ({"unique_for": 0}, "unique_for must be over 0"),
        ({"unique_for": 30 * 86_400}, "at most 604,800 seconds"),
        ({"unique_until": "started"}, "unique_until is 'done' or 'processing'"),
        ({"fail_on_timeout": "yes"}, "must be True or False"),
        ({"queue": ""}, "queue must be a name"),
        (
            {"queue": "my mail"},
            "queue must be a name of letters, digits and - _ . @, not 'my mail'",
        ),
        ({"queue": "mail#256"}, "queue must be a name"),
        ({"middleware": ["limits"]}, "middleware is a list of objects"),
        ({"middleware": object()}, "middleware is a list of objects"),
        ({"middleware": [SkipIf]}, r"middleware SkipIf is a class: write SkipIf\(\.\.\.\)"),
        ({"trys": 3}, "Mail has no option 'trys' - did you mean 'tries'"),
        ({"colour": 3}, "Mail has no option 'colour'; there are after_commit, backoff"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        with_options(PLAIN, given)


def test_options_that_name_fields_are_checked_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="has no field 'url', which its options name"):

        class Hook(Job, name="options.Hook", unique="url"):
            uri: str

    with pytest.raises(TypeError, match="has no field 'account'"):

        class Move(Job, name="options.Move", ordered_by="account"):
            uri: str


def test_unique_id_on_a_class_that_is_not_unique_is_refused() -> None:
    with pytest.raises(TypeError, match="add unique=True to its class line"):

        class Hook(Job, name="options.Hook2"):
            def unique_id(self) -> str:
                return "1"


@pytest.mark.parametrize("field", ["attempts", "batch", "fail", "dispatch", "failed"])
def test_a_field_that_would_hide_what_every_job_has_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=f"{field} hides what every job has"):
        type("Hiding", (Job,), {"__annotations__": {field: int}, "__module__": __name__})


def test_a_subclass_has_the_options_of_its_base_but_for_its_name() -> None:
    class Base(Job, name="options.Base", queue="mail", tries=3, unique=True):
        account: int

        def handle(self) -> None: ...

    class Welcome(Base, tries=5):
        text: str = ""

    class Loose(Welcome, name="options.Loose", unique=False):
        def handle(self) -> None: ...

    assert (Welcome.options.queue, Welcome.options.tries, Welcome.options.unique) == ("mail", 5, ())
    assert (Welcome.options.name, Loose.options.name) == ("Welcome", "options.Loose")
    assert (Loose.options.tries, Loose.options.unique) == (5, None)
    assert list(Loose.field_names) == ["account", "text"]


def test_row_8_tries_beside_a_time_for_tries_are_warned_of() -> None:
    """They say nothing there."""
    with pytest.warns(UserWarning, match=r"Mail: tries=3 says nothing beside retry_until") as seen:
        with_options(PLAIN, {"tries": 3, "retry_until": 60})

    assert len(seen) == 1
    assert with_options(PLAIN, {"tries": 0, "retry_until": 60}).retry_for == 60.0
    other = with_options(JobOptions(name="Mail", tries=3), {"retry_until": 60})
    assert (other.tries, other.retry_for) == (3, 60.0)


def test_an_order_must_not_take_jobs_that_are_unique_apart() -> None:
    """A unique lock is one of its lane, as of any queue."""
    with pytest.raises(TypeError, match="name account in unique, too"):

        class Apart(Job, unique="url", ordered_by="account"):
            url: str
            account: int

    class Together(Job, name="options.Together", unique=["url", "account"], ordered_by="account"):
        url: str
        account: int

        def handle(self) -> None: ...

    assert Together.options.ordered_by == "account"
