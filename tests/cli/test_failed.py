from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from broadcaster.cli.failed import failed
from broadcaster.cli.failed_details import detail_lines, list_lines, summary
from broadcaster.cli.queue_screen import counted
from broadcaster.cli.table import Style
from broadcaster.contracts.queue import Fail, NewJob, StepRequest
from broadcaster.contracts.stores import FailedJob
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import JobRetryRequested
from broadcaster.protocol.payload import Payload, encode_payload
from tests.cli.surroundings import surround

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.redis

FIRST, SECOND, THIRD = (f"{number:032x}" for number in (1, 2, 3))


@pytest.fixture(autouse=True, params=["redis", "sql"])
def three_failed(
    request: pytest.FixtureRequest,
    redis_url: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`FIRST` and `SECOND` of mail and `THIRD` of video have failed; kept there or there."""
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("BROADCASTER_FAILED__DRIVER", request.param)
    monkeypatch.setenv("BROADCASTER_FAILED__URL", f"sqlite:///{tmp_path / 'failed.db'}")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)
    asyncio.run(fail_three(redis_url, prefix))


async def fail_three(redis_url: str, prefix: str) -> None:
    clients = RedisClients(redis_url, prefix)
    store = RedisQueue(clients)
    try:
        for job_id, name, job in (
            (FIRST, "mail", "shop.Mail"),
            (SECOND, "mail", "shop.Letter"),
            (THIRD, "video", "shop.Cut"),
        ):
            payload = Payload(
                id=job_id, job=job, data={"password": "hunter2", "to": "ada"}, retry_for=60.0
            )
            await store.apush([NewJob(id=job_id, queue=name, body=encode_payload(payload))])
            reply = await store.step(StepRequest(queue=name, reserve=1, worker="w"))
            (held,) = reply.reserved
            settled = Fail(
                held.id,
                held.token,
                "exception",
                f"OSError: no way to {job}",
                job=job,
                exception="OSError",
                traceback="Traceback:\n  line one\nOSError: \x1b[2Jno way",
            )
            await store.step(StepRequest(queue=name, settlements=[settled], worker="w"))
    finally:
        await clients.aclose()


def run(*args: str, code: int = 0, given: str | None = None) -> str:
    result = CliRunner().invoke(failed, list(args), input=given)
    assert result.exit_code == code, result.output
    return result.output


def listed(*args: str) -> list[str]:
    found: Any = json.loads(run("list", "--json", *args))
    return sorted(job["id"] for job in found)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ([], [FIRST, SECOND, THIRD]),
        (["--queue", "mail"], [FIRST, SECOND]),
        (["--class", "shop.Cut"], [THIRD]),
        (["--exception", "OSError"], [FIRST, SECOND, THIRD]),
        (["--exception", "timeout"], []),
        (["--since", "1h"], [FIRST, SECOND, THIRD]),
        (["--until", "1h"], []),
        (["--search", "LETTER"], [SECOND]),
        (["--connection", "default"], [FIRST, SECOND, THIRD]),
        (["--connection", "spare"], []),
    ],
)
def test_row_43_failed_jobs_are_found_by_queue_class_time_and_text(
    args: list[str], found: list[str]
) -> None:
    assert listed(*args) == found


def test_a_failed_job_is_shown_with_its_traceback_and_without_secrets() -> None:
    text = run("show", FIRST)

    assert "  line one\n" in text
    assert "hunter2" not in text
    assert '"to": "ada"' in text
    assert "\x1b" not in text
    assert "hunter2" in run("show", FIRST, "--secrets", "--json")
    assert "no failed job has the id x" in run("show", "x", code=1)


def test_row_43_a_retried_job_is_marked_told_and_has_time_again(
    redis_url: str, prefix: str
) -> None:
    heard: list[JobRetryRequested] = []
    remove = lifecycle_listeners.add(JobRetryRequested, heard.append)
    try:
        assert "queued 1 job again" in run("retry", FIRST)
    finally:
        remove()

    assert [event.job.id for event in heard] == [FIRST]
    assert listed("--open") == [SECOND, THIRD]
    assert "retried" in run("list", "--queue", "mail")
    body: Any = json.loads(asyncio.run(taken(redis_url, prefix, "mail"))[0])
    assert body["retry_until"] > 1e9


async def taken(redis_url: str, prefix: str, name: str) -> list[bytes]:
    clients = RedisClients(redis_url, prefix)
    try:
        reply = await RedisQueue(clients).step(StepRequest(queue=name, reserve=9, worker="w"))
        return [job.body for job in reply.reserved]
    finally:
        await clients.aclose()


@pytest.mark.parametrize(
    ("args", "count"),
    [
        (["all"], 3),
        (["--all"], 3),
        (["--queue", "mail"], 2),
        (["--class", "shop.Cut"], 1),
        (["--range", "1h..0s"], 3),
        (["--range", "2h..1h"], 0),
        (["--search", "letter"], 1),
        ([FIRST, THIRD], 2),
    ],
)
def test_row_43_failed_jobs_are_retried_by_id_queue_class_range_or_all(
    args: list[str], count: int
) -> None:
    assert f"queued {counted(count, 'job')} again" in run("retry", *args)
    assert len(listed("--open")) == 3 - count


def test_all_that_a_listener_hears_of_are_retried_page_by_page() -> None:
    heard: list[JobRetryRequested] = []
    remove = lifecycle_listeners.add(JobRetryRequested, heard.append)
    try:
        assert "queued 3 jobs again" in run("retry", "--all")
    finally:
        remove()

    assert len(heard) == 3


def test_what_is_retried_must_be_said() -> None:
    assert "say ids" in run("retry", code=2)
    assert "say ids" in run("retry", FIRST, "--all", code=2)
    assert "is no moment" in run("retry", "--since", "yesterday", code=2)
    missing = run("retry", FIRST, "f" * 32, code=1)
    assert "1 of the ids is no failed job, or retried before; `broadcaster failed" in missing


def test_row_43_failed_jobs_are_forgotten_flushed_and_pruned() -> None:
    assert "deleted 1 failed job\n" in run("forget", FIRST)
    assert "1 of the ids is no failed job" in run("forget", FIRST, code=1)
    assert "2 of the ids are no failed jobs" in run("forget", FIRST, "f" * 32, code=1)
    assert "deleted 0" in run("prune", "--hours", "1")
    assert listed() == [SECOND, THIRD]
    run("flush", code=1, given="n\n")
    assert "deleted 1 failed job\n" in run("flush", "--search", "cut", "--yes")
    assert "deleted 1 failed job\n" in run("flush", given="y\n")
    assert "no failed jobs" in run("list")


def test_row_59_old_failed_jobs_are_pruned() -> None:
    assert "deleted 3 failed jobs" in run("prune", "--hours", "0")


def failed_job(**more: Any) -> FailedJob:
    given: dict[str, Any] = {
        "id": FIRST,
        "queue": "mail",
        "failed_at": 1_700_000_000.0,
        "reason": "exception",
        "error": "OSError: no way",
        "attempts": 3,
        "body": b"",
        "job": "shop.Mail",
    }
    return FailedJob(**given | more)


def test_the_list_stands_in_line_and_marks_what_was_retried() -> None:
    jobs = [failed_job(), failed_job(id=SECOND, queue="reports", attempts=12, retried_at=1.0)]

    head, first, second = list_lines(jobs, Style())

    assert (
        head
        == f"failed at (UTC)      {'id':<32}  queue    job        reason     tries           error"
    )
    assert first.startswith(f"2023-11-14T22:13:20  {FIRST}  mail     shop.Mail  exception      3  ")
    assert second.endswith("reports  shop.Mail  exception     12  retried  OSError: no way")
    assert {line.index("OSError") for line in (first, second)} == {head.index("error")}
    assert max(len(line) for line in list_lines(jobs, Style(width=80))) <= 80


def test_details_leave_out_what_there_is_not_and_end_with_the_traceback() -> None:
    details = summary(failed_job()) | {"payload": {"a": 1}, "traceback": "Traceback:\n  one"}

    assert detail_lines(details)[-6:] == [
        "payload    {",
        '             "a": 1',
        "           }",
        "",
        "Traceback:",
        "  one",
    ]
    assert not any("retried_at" in line for line in detail_lines(details))
