from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from broadcaster import current
from broadcaster.cli.schedule import schedule
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.scheduling.entries import schedule as scheduled
from broadcaster.scheduling.entries import the_schedule
from tests.cli.surroundings import surround
from tests.scheduling.scheduled_jobs import Tidy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def configured(
    redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)
    monkeypatch.setattr("broadcaster.cli.logs.configure", lambda *_: None)
    the_schedule.clear()
    yield
    the_schedule.clear()
    current.reset()


def invoke(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(schedule, list(args))
    assert result.exit_code == code, result.output
    return result.output


def waiting(redis_url: str, prefix: str) -> int:
    clients = RedisClients(redis_url, prefix)
    try:
        return RedisQueue(clients).sizes("chores").ready
    finally:
        clients.close()


def test_what_is_scheduled_is_listed_with_its_next_moments() -> None:
    scheduled(Tidy()).cron("0 7 * * *").named("tidy")

    shown: Any = json.loads(invoke("list", "--json", "--next", "2"))

    assert shown[0]["job"] == "tests.Tidy"
    assert [moment[11:] for moment in shown[0]["next"]] == ["07:00:00+00:00"] * 2
    assert (shown[0]["name"], shown[0]["label"], shown[0]["timezone"]) == ("tidy", "tidy", "UTC")


def test_the_list_lines_up_and_has_the_moments_in_each_time_zone() -> None:
    scheduled(Tidy()).cron("0 7 * * *").timezone("Asia/Tokyo")
    scheduled(Tidy("b")).every(86_400).named("nightly")

    head, nightly, _, tidy, again = invoke("list", "--next", "2").splitlines()

    assert head.split() == ["name", "when", "next,", "UTC", "in", "its", "time", "zone"]
    assert nightly.startswith("nightly ")
    assert nightly.endswith(" 00:00:00")
    assert tidy.startswith("tests.Tidy:"), "its job has another entry"
    assert again.startswith(" " * 10)
    assert tidy.endswith(" 07:00:00 JST")
    assert " 22:00:00  " in tidy
    place = head.index("next, UTC")
    assert {nightly[place - 1], tidy[place - 1]} == {" "}
    assert {nightly[place], tidy[place]} == {"2"}


def test_a_name_is_short_where_no_other_is_meant_by_it() -> None:
    scheduled(Tidy()).every(60)
    assert [each["label"] for each in json.loads(invoke("list", "--json"))] == ["tests.Tidy"]

    scheduled(Tidy("b")).every(60)
    shown: Any = json.loads(invoke("list", "--json"))

    assert [each["label"] for each in shown] == [each["name"] for each in shown]
    assert all(each["name"].startswith("tests.Tidy:") for each in shown)


def test_without_modules_nothing_is_scheduled() -> None:
    assert "nothing is scheduled: name the modules" in invoke("list")
    assert "note: nothing is scheduled: name the modules" in invoke("run", "--once")


def test_one_is_queued_to_try_it(redis_url: str, prefix: str) -> None:
    scheduled(Tidy()).cron("0 0 1 1 *")

    assert "queued tests.Tidy" in invoke("test", "tests.Tidy")

    assert waiting(redis_url, prefix) == 1
    assert "no scheduled job is called x" in invoke("test", "x", code=1)


def test_running_once_queues_what_is_due_and_only_once(redis_url: str, prefix: str) -> None:
    scheduled(Tidy()).every(31_536_000 / 2).catch_up(1)
    scheduled(Tidy("b")).every(30).catch_up(43_200)

    invoke("run", "--once")
    before = waiting(redis_url, prefix)
    invoke("run", "--once")

    assert before in {1, 2}
    assert waiting(redis_url, prefix) in {before, before + 1}
