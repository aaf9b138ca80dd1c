"""Whatever user code raises, wherever it stands: the job fails, and its worker goes on."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

from broadcaster import Job, JobFailed, provide
from broadcaster.contracts.queue import NewJob
from broadcaster.jobs.injection import services
from broadcaster.protocol.payload import ChainPlace, NextJob, decode_payload, encode_payload
from broadcaster.worker.options import ExitReason

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from broadcaster.jobs.middleware.contract import Next, SyncNext
    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis

ERRORS = [
    RuntimeError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    asyncio.CancelledError,
]

seen: list[str] = []


class Trouble:
    """What is raised, and where."""

    place: ClassVar[str] = ""
    error: ClassVar[type[BaseException]] = RuntimeError


def here(place: str) -> None:
    if Trouble.place == place:
        seen.append(place)
        raise Trouble.error("boom")


class Service: ...


class Around:
    async def __call__(self, job: Job, proceed: Next) -> None:
        here("async middleware")
        await proceed()
        here("async middleware after")


class SyncAround:
    def __call__(self, job: Job, proceed: SyncNext) -> None:
        here("sync middleware")
        proceed()


class Surrounding:
    @contextmanager
    def around(self, job: Job) -> Generator[None]:
        here("surrounding")
        yield
        here("surrounding after")


class Async(Job, name="errors.Async", middleware=[Around(), Surrounding()]):
    async def handle(self, service: Service) -> None:
        here("handle")
        if Trouble.place in {"failed", "task of failed"}:
            raise JobFailed("no")

    async def failed(self, error: BaseException) -> None:
        here("failed")
        if Trouble.place == "task of failed":
            await asyncio.gather(_leave(), asyncio.sleep(0))


class Sync(Job, name="errors.Sync", middleware=[Around(), SyncAround(), Surrounding()]):
    def handle(self, service: Service) -> None:
        here("handle")
        if Trouble.place == "failed":
            raise JobFailed("no")

    def failed(self, error: BaseException) -> None:
        here("failed")


class Unwilling(Job, name="errors.Unwilling"):
    def __post_init__(self) -> None:
        here("fields")

    def middleware(self) -> list[Around]:
        here("method")
        return []

    async def handle(self) -> None: ...


class Wordless(JobFailed):
    code: Any = object()


class Unwritable(Job, name="errors.Unwritable"):
    async def handle(self) -> None:
        raise Wordless("\ud800")


class Leaving(ValueError):
    def __str__(self) -> str:
        raise SystemExit(7)

    __repr__ = __str__


class Unprintable(Job, name="errors.Unprintable"):
    async def handle(self) -> None:
        raise Leaving


class After(Job, name="errors.After"):
    async def handle(self) -> None:
        seen.append("after")


async def _leave() -> None:
    await asyncio.sleep(0)
    seen.append("task of failed")
    sys.exit(3)


@pytest.fixture(autouse=True)
def trouble() -> Iterator[None]:
    def service() -> Iterator[Service]:
        here("service")
        yield Service()
        here("service after")

    seen.clear()
    provide(Service, service)
    yield
    Trouble.place = ""
    services.remove(Service)


async def goes_on(world: WorkerWorld, job: Job) -> list[str]:
    """Run `job` and another one; return why jobs failed."""
    await world.push(job, After())
    assert await world.drain(concurrency=1) is ExitReason.EMPTY
    assert "after" in seen
    assert (await world.sizes()).held == 0
    return [failed.reason for failed in await world.failed()]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("job", "place"),
    [
        *(
            (job, place)
            for job in (Async(), Sync())
            for place in (
                "handle",
                "async middleware",
                "async middleware after",
                "surrounding",
                "surrounding after",
                "service",
                "service after",
            )
        ),
        (Sync(), "sync middleware"),
        (Unwilling(), "method"),
    ],
)
async def test_what_user_code_raises_fails_its_job_only(
    world: WorkerWorld, job: Job, place: str, error: type[BaseException]
) -> None:
    Trouble.place, Trouble.error = place, error

    assert await goes_on(world, job) == ["exception"]

    assert seen == [place, "after"]


@pytest.mark.parametrize(
    ("job", "reason"), [(Unwritable(), "job_failed"), (Unprintable(), "exception")]
)
async def test_a_failure_that_cannot_be_written_down_is_one_of_its_job_only(
    world: WorkerWorld, job: Job, reason: str
) -> None:
    assert await goes_on(world, job) == [reason]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("job", [Async(), Sync()])
async def test_row_11_a_hook_that_fails_is_logged(
    world: WorkerWorld, job: Job, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    Trouble.place, Trouble.error = "failed", error

    assert await goes_on(world, job) == ["job_failed"]

    assert seen.count("failed") == 1
    assert f"the failed() of {job.options.name} failed" in caplog.text


async def test_row_11_a_hook_s_task_that_leaves_is_logged(
    world: WorkerWorld, caplog: pytest.LogCaptureFixture
) -> None:
    Trouble.place = "task of failed"

    assert await goes_on(world, Async()) == ["job_failed"]

    assert "SystemExit(3) was raised in a task" in caplog.text


async def test_a_chain_without_a_next_number_fails_the_job(
    world: WorkerWorld,
) -> None:
    new = world.made(After())
    follower = NextJob(decode_payload(world.made(After()).body), "default")
    place = ChainPlace(id="c" * 32, index=1_000_000, next=(follower,))
    written = msgspec.structs.replace(decode_payload(new.body), chain=place)
    await world.push(NewJob(new.id, "default", encode_payload(written)))

    assert await goes_on(world, After()) == ["invalid_job"]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
async def test_fields_that_cannot_be_made_fail_the_job(
    world: WorkerWorld, error: type[BaseException]
) -> None:
    job = Unwilling()
    Trouble.error = error
    new = world.made(job)
    Trouble.place = "fields"
    await world.push(new)

    assert await goes_on(world, After()) == ["invalid_job"]
