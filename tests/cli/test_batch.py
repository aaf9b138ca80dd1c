"""Batches at the command line: how far they are, and what people do with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from broadcaster import Job, batch
from broadcaster.cli.batch import batch_group
from broadcaster.cli.batch_details import detail_lines, details, list_lines, progress_bar
from broadcaster.cli.main import main
from broadcaster.cli.table import Style
from broadcaster.contracts.batches import BatchRecord
from broadcaster.contracts.queue import NewJob
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import JobRetryRequested
from broadcaster.testing import LiveQueue
from tests.cli.surroundings import surround

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.jobs.batch import Batch


class Resize(Job, name="tests.cli.batch.Resize"):
    number: int
    broken: bool = False

    def handle(self) -> None:
        if self.broken and broken:
            raise ValueError("no picture")


class Publish(Job, name="tests.cli.batch.Publish", queue="later"):
    def handle(self) -> None: ...


broken: list[bool] = []
"""Whether pictures cannot be resized."""


@pytest.fixture
def live(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveQueue]:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    broken[:] = [True]
    with LiveQueue(redis_url) as opened:
        monkeypatch.setenv("BROADCASTER_PREFIX", opened.settings.prefix)
        yield opened


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(batch_group, list(args))
    assert result.exit_code == code, result.output
    return result.output


def loaded(*args: str) -> Any:
    return json.loads(run(*args, "--json"))


def album(*numbers: int, fail: int | None = None, name: str = "album") -> Batch:
    jobs = [Resize(number, broken=number == fail) for number in numbers]
    pending = batch(jobs).name(name).options({"owner": "ada", "token": "hunter2"})
    return pending.then(Publish()).allow_failures().dispatch()


@pytest.mark.redis
def test_batches_are_listed_the_latest_first(live: LiveQueue) -> None:
    assert run("list") == "no batches\n"
    first, second = album(1, 2, name="first"), album(3, name="second\x1b[2J")
    live.work_once("default")

    screen = run("list")
    assert screen.index(second.id) < screen.index(first.id)
    assert "##### " not in screen.splitlines()[1]
    assert "#####.....  50%" in screen.splitlines()[2]
    assert "second?[2J" in screen
    assert [(one["name"], one["done"]) for one in loaded("list")][1] == ("first", 1)
    assert [one["id"] for one in loaded("list", "--limit", "1")] == [second.id]


@pytest.mark.redis
def test_those_that_have_ended_can_be_left_out(live: LiveQueue) -> None:
    done, cancelled = album(1), album(2)
    live.work_once("default")
    cancelled.cancel()
    running = album(3)

    assert [one["id"] for one in loaded("list", "--open")] == [running.id]
    states = {one["id"]: one["state"] for one in loaded("list")}
    assert states == {done.id: "finished", cancelled.id: "cancelled", running.id: "running"}


@pytest.mark.redis
def test_a_batch_is_shown_with_its_callbacks_and_without_secrets(live: LiveQueue) -> None:
    made = album(1, 2, 3, fail=3)
    live.drain("default")

    told = loaded("show", made.id)
    assert (told["total"], told["done"], told["failed"], told["progress"]) == (3, 2, 1, 67)
    assert told["callbacks"] == {"then": ["tests.cli.batch.Publish"]}
    assert told["options"] == {"owner": "ada", "token": "(hidden)"}
    screen = run("show", made.id)
    assert " 67% 2 of 3 done, 1 failed, finished" in screen
    assert "then: tests.cli.batch.Publish" in screen
    assert "hunter2" not in screen
    assert "hunter2" in run("show", made.id, "--secrets")
    assert "no batch has the id nobody" in run("show", "nobody", code=1)


@pytest.mark.redis
def test_batches_are_cancelled_once(live: LiveQueue) -> None:
    made, other = album(1), album(2)

    assert run("cancel", made.id, other.id) == "cancelled 2 of 2\n"
    assert made.fresh().cancelled
    again = run("cancel", made.id, "nobody", code=1)
    assert f"no batch {made.id} runs" in again
    assert "no batch nobody runs" in again
    assert "cancelled 0 of 2" in again


@pytest.mark.redis
def test_failed_jobs_of_a_batch_are_told_of_and_run_again(live: LiveQueue) -> None:
    made = album(1, 2, fail=2)
    live.drain()
    heard: list[JobRetryRequested] = []
    remove = lifecycle_listeners.add(JobRetryRequested, heard.append)
    broken.clear()

    assert run("retry", made.id) == "queued 1 job again\n"
    remove()
    live.drain("default")

    assert [event.job.job for event in heard] == ["tests.cli.batch.Resize"]
    after = made.fresh()
    assert (after.pending_jobs, after.failed_jobs) == (0, 0)
    assert live.sizes("later").ready == 1, "then"
    assert "no batch has the id nobody" in run("retry", "nobody", code=1)


@pytest.mark.redis
def test_what_failed_in_a_batch_and_is_kept_no_longer_is_said(live: LiveQueue) -> None:
    made = album(1, 2, fail=2)
    live.drain()
    run("retry", made.id)

    told = run("retry", made.id, code=1)

    assert "queued 0 jobs again" in told
    assert "1 failed job of the batch: retried before, or kept no longer" in told


@pytest.mark.redis
def test_old_batches_are_pruned(live: LiveQueue) -> None:
    album(1)
    live.drain()
    running = album(2)

    assert run("prune") == "deleted 0 batches\n"
    assert run("prune", "--hours", "0") == "deleted 1 batch\n"
    assert [one["id"] for one in loaded("list")] == [running.id]
    assert run("prune", "--unfinished", "0") == "deleted 1 batch\n"
    assert loaded("list") == []


def test_batches_that_no_other_process_sees_are_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("BROADCASTER_QUEUE__DRIVER", "sync")

    with pytest.raises(SystemExit) as ended:
        main(["batch", "list"])

    assert ended.value.code == 78
    assert "batches are counted within the process" in capsys.readouterr().err


def record(total: int, pending: int, **more: Any) -> BatchRecord:
    given: dict[str, Any] = {
        "name": "album",
        "failed": 0,
        "allow_failures": False,
        "options": {},
    } | more
    return BatchRecord(id="a" * 32, total=total, pending=pending, created_at=0.0, **given)


@pytest.mark.parametrize(
    ("total", "pending", "shown"),
    [
        (0, 0, "..........   0%"),
        (10, 3, "#######...  70%"),
        (1_000, 1, "#########. 100%"),
        (3, 0, "########## 100%"),
    ],
)
def test_a_bar_is_full_only_when_all_is_done(total: int, pending: int, shown: str) -> None:
    assert progress_bar(record(total, pending), 10, Style()) == shown


def test_the_list_stands_in_line_and_gives_way_in_a_narrow_terminal() -> None:
    records = [record(10, 3, failed=2), record(1_000, 1_000, cancelled_at=1.0)]

    head, first, second = list_lines(records, Style())
    assert head.index("state") == first.index("running") == second.index("cancelled")
    assert max(map(len, list_lines(records, Style(width=60)))) <= 60


def test_callbacks_that_cannot_be_read_and_options_of_any_type_are_shown() -> None:
    one = record(2, 1, options={"broadcaster.queue": "images", "size": [1, 2]})
    told = details(one, {"then": [NewJob("1", "q", b"\xff")]}, secrets=False)

    lines = detail_lines(one, told, Style())

    assert lines[0].endswith(" 50% 1 of 2 done, 0 failed, running")
    shown = [line.split(maxsplit=1) for line in lines[2:]]
    assert ["queue", "images"] in shown
    assert ["callbacks", "then: ?"] in shown
    assert ["options", "size: [1, 2]"] in shown
    assert ["failures", "cancel it"] in shown
