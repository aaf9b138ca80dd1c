"""Row 54: 202 Accepted, a status URL, progress from 0 to 100."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from broadcaster import PrivateChannel, current
from broadcaster.errors import (
    DriverUnavailable,
    InvalidChannel,
    InvalidJob,
    JobError,
    JobFailed,
    NotRunning,
)
from broadcaster.events import tracked_job
from broadcaster.events.tracked_job import TrackedJob, ajob_status, job_status
from broadcaster.integrations.starlette import accepted, status_endpoint
from broadcaster.jobs.bus import Skipped
from broadcaster.jobs.hooks import acall_failed
from broadcaster.jobs.outcome import Limits, Past
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.payload import Payload
from broadcaster.settings import QueueSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from broadcaster.contracts.job_status import JobStatus
    from tests.events.recording import RecordingApplication

seen: list[tuple[str, int, str]] = []


class Export(TrackedJob, name="tests.tracked.Export"):
    user_id: int = 7

    def handle(self) -> None:
        note()
        self.progress(30, "rows read")
        self.progress(30, "rows read")
        note()
        self.result("/files/7.csv")

    def tracked_for(self) -> str:
        return str(self.user_id)

    def broadcast_progress_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.user_id}")


class AsyncExport(TrackedJob, name="tests.tracked.AsyncExport"):
    async def handle(self) -> None:
        await self.aprogress(50)
        await self.aresult("/files/x.csv")


class Broken(TrackedJob, name="tests.tracked.Broken"):
    secret: bool = True

    def handle(self) -> None:
        if self.secret:
            raise ConnectionError("postgres://root:hunter2@db")
        raise JobFailed("the file has no rows")


class SaysFailed(TrackedJob, name="tests.tracked.SaysFailed"):
    def handle(self) -> None:
        self.fail("no rows")


def note() -> None:
    now = running_status()
    seen.append((now.status, now.progress, now.message))


def running_status() -> Any:
    from broadcaster.jobs.running import require_current_job

    return job_status(require_current_job("a test").id)


@pytest.fixture
def inline() -> Iterator[None]:
    """Jobs run where they are dispatched, and broadcasts go nowhere."""
    seen.clear()
    settings = Settings(queue=QueueSettings(driver="sync"))
    current.configure(settings)
    yield
    current.reset()


@pytest.fixture
def taken(app: RecordingApplication) -> RecordingApplication:
    """An application that keeps what is queued."""
    return app


def test_row_54_a_queued_job_is_pending(taken: RecordingApplication) -> None:
    job_id = Export().dispatch()

    status = job_status(job_id)

    assert status is not None
    assert (status.status, status.progress, status.owner) == ("pending", 0, "7")


async def test_a_coroutine_says_the_same(taken: RecordingApplication) -> None:
    status = await ajob_status(await AsyncExport().adispatch())

    assert status is not None
    assert status.status == "pending"


def run(job: TrackedJob, **past: int) -> Any:
    """Run one try of `job` as a worker would, and return its status."""
    payload = Payload(id="a" * 32, job=job.options.name)
    one = CurrentJob(
        payload=payload, queue="q", limits=Limits(tries=2, backoff=[5]), past=Past(**past)
    )

    async def innermost() -> None:
        result = job.handle()
        if result is not None:
            await result

    async def around() -> None:
        (tracking,) = job.options.middleware
        with running(one):
            await tracking(job, innermost)  # type: ignore[arg-type, call-arg, misc, operator]

    with suppress(Exception):
        asyncio.run(around())
    return job_status("a" * 32)


def test_row_54_a_job_goes_from_processing_to_completed(taken: RecordingApplication) -> None:
    seen.clear()

    status = run(Export())

    assert seen == [("processing", 0, ""), ("processing", 30, "rows read")]
    assert (status.status, status.progress) == ("completed", 100)
    assert (status.result_url, status.error) == ("/files/7.csv", "")


def test_an_async_job_says_the_same(taken: RecordingApplication) -> None:
    status = run(AsyncExport())

    assert (status.status, status.result_url) == ("completed", "/files/x.csv")


def test_a_job_that_is_tried_again_is_pending(taken: RecordingApplication) -> None:
    status = run(Broken())

    assert (status.status, status.message) == ("pending", "tried again in 5 s")
    assert status.error == "ConnectionError"


def test_row_54_a_job_that_failed_says_why_but_no_secrets(taken: RecordingApplication) -> None:
    assert run(Broken(), attempts=1).status == "failed"
    assert "hunter2" not in (run(Broken(), attempts=1).error or "")
    assert run(Broken(secret=False)).error == "the file has no rows"
    assert run(SaysFailed()).error == "no rows"


def test_an_error_in_a_process_of_its_own_is_told_by_its_type(taken: RecordingApplication) -> None:
    """It comes back as text, which may hold secrets."""
    error = JobError("ConnectionError: postgres://root:hunter2@db")
    error.add_note("Traceback ...")

    with patch.object(Broken, "handle", side_effect=error):
        status = run(Broken())

    assert (status.status, status.error) == ("pending", "ConnectionError")


@pytest.mark.parametrize("write_seconds", [0.0, 4.0])
async def test_an_async_job_that_takes_too_long_says_so(
    taken: RecordingApplication, monkeypatch: pytest.MonkeyPatch, write_seconds: float
) -> None:
    """Its time runs while it is written down that it has begun."""
    job, write, now = AsyncExport(), taken.job_statuses.awrite, [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(tracked_job, "time", clock)

    async def taking_time(*args: Any, **options: Any) -> JobStatus:
        now[0] += write_seconds
        return await write(*args, **options)

    async def innermost() -> None:
        now[0] = 105.0
        raise asyncio.CancelledError  # by who runs it, whose timer began as it did

    monkeypatch.setattr(taken.job_statuses, "awrite", taking_time)
    payload = Payload(id="b" * 32, job=job.options.name)
    limits = Limits(tries=1, timeout=5.0)
    current_run = CurrentJob(payload=payload, queue="q", limits=limits, past=Past())
    (tracking,) = job.options.middleware

    with suppress(asyncio.CancelledError), running(current_run):
        await tracking(job, innermost)  # type: ignore[arg-type, call-arg, misc, operator]

    status = job_status("b" * 32)
    assert status is not None
    assert (status.status, status.error) == ("failed", "it took too long")


def test_a_completed_job_stays_completed(taken: RecordingApplication) -> None:
    """A worker whose lease lapsed may run it once more."""
    run(Export())

    assert run(Broken(), attempts=1).status == "completed"


def test_each_change_is_broadcast(taken: RecordingApplication) -> None:
    run(Export())

    told = [json.loads(payload.data["data"]) for payload in taken.payloads()]
    assert [(each["status"], each["progress"]) for each in told] == [
        ("processing", 0),
        ("processing", 30),
        ("processing", 30),
        ("completed", 100),
    ]
    assert {payload.data["name"] for payload in taken.payloads()} == {"job.status"}
    assert taken.payloads()[0].data["channels"] == ["private-users.7"]
    assert "owner" not in told[0]


def test_a_job_does_not_fail_because_nobody_can_be_told(
    taken: RecordingApplication, caplog: pytest.LogCaptureFixture
) -> None:
    taken.failure = DriverUnavailable("away")

    assert run(Export()).status == "completed"
    assert "the status of a tests.tracked.Export cannot be told: away" in caplog.text


@pytest.mark.parametrize("kind", [Broken, "sync", "async"])
async def test_a_job_that_took_its_worker_down_is_failed(
    taken: RecordingApplication, kind: Any
) -> None:
    """Its run never ended: only its `failed` is called, by another worker."""
    called: list[str] = []

    class Sync(TrackedJob, name="tests.tracked.Sync"):
        def handle(self) -> None: ...

        def failed(self, error: BaseException) -> None:
            called.append(str(error))

    class Async(TrackedJob, name="tests.tracked.Async"):
        def handle(self) -> None: ...

        async def failed(self, error: BaseException) -> None:
            called.append(str(error))

    job: Any = {"sync": Sync, "async": Async}.get(kind, Broken)()
    job_id = await job.adispatch()
    payload = Payload(id=job_id, job=job.options.name)
    crashed = CurrentJob(payload=payload, queue="q", limits=Limits(), past=Past())

    with running(crashed):
        await acall_failed(job, JobFailed("it took its worker down too often"))

    status = job_status(job_id)
    assert status is not None
    assert (status.status, status.error) == ("failed", "it took its worker down too often")
    assert called == ([] if kind is Broken else ["it took its worker down too often"])


def test_a_failed_hook_may_be_called_by_a_test(taken: RecordingApplication) -> None:
    Broken().failed(ValueError("x"))


@pytest.mark.parametrize("percent", [-1, 101, True])
def test_progress_is_a_percentage(percent: int) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        Export().progress(percent)


def test_progress_needs_a_running_job() -> None:
    with pytest.raises(NotRunning):
        Export().progress(5)


def test_row_54_it_works_where_jobs_run_inline(inline: None) -> None:
    job_id = AsyncExport().dispatch()

    status = job_status(job_id)

    assert status is not None
    assert status.status == "completed"


async def ask(url: str, **options: Any) -> httpx.Response:
    async def make(request: Request) -> Response:
        del request
        return accepted(await Export().adispatch(), "/jobs/1")

    app = Starlette(
        routes=[
            Route("/exports", make, methods=["POST"]),
            Route("/jobs/{job_id}", status_endpoint(**options)),
        ]
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request("POST" if url == "/exports" else "GET", url)


async def test_row_54_the_answer_is_202_with_a_location(taken: RecordingApplication) -> None:
    answer = await ask("/exports")

    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["status_url"] == "/jobs/1"
    assert answer.json()["status"] == "pending"


def test_a_skipped_job_is_answered_with_the_one_in_its_way() -> None:
    assert b'"job_id":"b"' in bytes(accepted(Skipped("b"), "/jobs/b").body)


async def test_the_endpoint_shows_a_status_to_whom_it_is_for(taken: RecordingApplication) -> None:
    job_id = await Export().adispatch()

    async def me(request: Request) -> int:
        del request
        return 7

    mine = await ask(f"/jobs/{job_id}", user=me)
    others = await ask(f"/jobs/{job_id}", user=lambda request: 8)
    nobodys = await ask(f"/jobs/{job_id}")

    assert mine.json() == {
        "job_id": job_id,
        "status": "pending",
        "progress": 0,
        "message": "",
        "result_url": None,
        "error": None,
        "updated_at": 1_700_000_000.0,
    }
    assert mine.headers["retry-after"] == "1"
    assert others.status_code == nobodys.status_code == 404


async def test_a_status_for_nobody_is_shown_to_whoever_knows_the_id(
    taken: RecordingApplication,
) -> None:
    job_id = await AsyncExport().adispatch()

    assert (await ask(f"/jobs/{job_id}")).status_code == 200
    assert (await ask("/jobs/unknown")).status_code == 404


class Watched(TrackedJob, name="tests.tracked.Watched"):
    """Done, whatever becomes of the watching."""

    what: str

    def handle(self) -> None:
        seen.append(("done", 0, ""))
        self.progress(1, MESSAGES.get(self.what, ""))
        self.progress(2)
        self.result("/files/" + "x" * (50_000 if self.what == "url" else 3_000))

    def tracked_for(self) -> str:
        if self.what == "owner" and seen:
            raise KeyError("the row is gone")
        return None if self.what == "nobody" else "7"  # type: ignore[return-value]

    def broadcast_progress_on(self) -> PrivateChannel:
        if self.what == "raises" and seen:
            raise KeyError("the row is gone")
        if self.what == "exits" and seen:
            raise SystemExit(3)
        return PrivateChannel("no channel" if self.what == "never" or seen else "users.7")


MESSAGES = {"long": "\u00e4" * 300_000, "surrogate": "caf\ud800"}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "what", ["channel", "raises", "exits", "owner", "long", "surrogate", "url"]
)
def test_row_54_watching_is_never_a_reason_for_a_job_to_fail(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = Watched(what).dispatch()

    status = job_status(job_id)
    assert status is not None
    assert (seen, status.status, status.error) == ([("done", 0, "")], "completed", "")
    assert status.result_url == (None if what == "url" else "/files/" + "x" * 3_000)
    assert status.message == {"long": "\u00e4" * 1_000, "surrogate": "caf?"}.get(what, "")
    told = [text for text in caplog.messages if "no app credentials" not in text]
    assert len(set(told)) == len(told) > 0, "each reason is told once"


@pytest.mark.parametrize(("what", "error"), [("never", InvalidChannel), ("nobody", InvalidJob)])
async def test_what_a_job_can_never_be_watched_on_is_refused_before_it_is_queued(
    taken: RecordingApplication, what: str, error: type[Exception]
) -> None:
    seen.clear()

    with pytest.raises(error):
        Watched(what).dispatch()
    with pytest.raises(error):
        await Watched(what).adispatch()

    assert taken.jobs == []


@pytest.mark.parametrize("text", ["x" * 300_000, "caf\ud800"])
def test_an_error_of_any_length_can_be_told(taken: RecordingApplication, text: str) -> None:
    class Says(TrackedJob, name=f"tests.tracked.Says{len(text)}"):
        def handle(self) -> None:
            raise JobFailed(text)

    status = run(Says())

    assert (status.status, status.error[:3], len(status.error)) == (
        "failed",
        text[:3],
        min(len(text), 2_000),
    )
