"""
One try of a job is the same in a worker, here and now, and in a worker of Celery.

Each case runs through all of them: what is raised, what a job says about itself, and what its
`failed` is called with.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest

from broadcaster import current
from broadcaster.errors import InvalidJob, JobError, JobFailed, JobTimedOut, ModelMissing
from broadcaster.integrations.celery import run_payload
from broadcaster.jobs.bus import new_job
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobFailed as JobGivenUp
from broadcaster.jobs.outcome import Finished, GiveUp, Past, Released, TryAgain, described
from broadcaster.jobs.pending_batch import batch
from broadcaster.jobs.running import CurrentJob, current_job
from broadcaster.jobs.tries import (
    ASYNC_TIMEOUT,
    contained,
    ending,
    failure_of,
    limits_of,
    outcome_of,
    overrun,
)
from broadcaster.protocol.payload import ChainPlace, NextJob, Payload
from broadcaster.settings import QueueSettings, Settings
from tests.polling import eventually
from tests.worker.worker_world import WorkerWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from broadcaster.contracts.queue import NewJob
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.jobs.lifecycle import LifecycleEvent
    from broadcaster.jobs.middleware.contract import Next

    World = Callable[[NewJob, RedisClients, list[LifecycleEvent]], Awaitable[Any]]

RAISED: dict[str, BaseException] = {
    "raise": ValueError("boom"),
    "give up": JobFailed("no room", code="full"),
    "miss": ModelMissing("it is gone", model="Order", key=7),
    "exit": SystemExit(3),
    "cancel": asyncio.CancelledError("me"),
    "close": GeneratorExit("x"),
}

notes: list[str] = []


class Behaves(Job, name="tries.Behaves", backoff=0):
    """Does what its words say, one after the other."""

    words: str

    def handle(self) -> None:
        behave(self)

    def failed(self, error: BaseException) -> None:
        fail(self, error)


class BehavesLater(Behaves, name="tries.BehavesLater", backoff=0):
    async def handle(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        behave(self)

    async def failed(self, error: BaseException) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        fail(self, error)


class Around:
    async def __call__(self, job: Job, proceed: Next) -> None:
        await proceed()
        raise LookupError("behind it")


class Wrapped(Behaves, name="tries.Wrapped", middleware=[Around()]):
    """Sync, with middleware that is not."""


class Drops(Behaves, name="tries.Drops", delete_when_missing_models=True):
    """Is forgotten when a model is gone."""


class Choosy(Job, name="tries.Choosy"):
    """May be pushed before, and not be made of what was pushed after, somebody shuts the door."""

    shut: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.shut:
            raise ValueError("the door is shut")

    def handle(self) -> None:
        notes.append("ran")


def behave(job: Behaves) -> None:
    running = current_job()
    assert running is not None
    notes.append(f"try {running.attempts}")
    for word in job.words.split(", "):
        if word == "fail":
            job.fail("no room")
        elif word == "delete":
            job.delete()
        elif word == "release":
            job.release(60)
        elif word == "shut the door":
            Choosy.shut = True
        elif word in RAISED:
            raise RAISED[word]


def fail(job: Behaves, error: BaseException) -> None:
    running = current_job()
    assert running is not None
    notes.append(f"{described(error)} [{getattr(error, 'code', '')}]")
    if "hook leaves" in job.words:
        raise SystemExit(4)


class Case(NamedTuple):
    """What becomes of a job: why it is given up, if so, and what its hook is told of that."""

    job: Job
    reason: str | None = None
    told: str | None = None


CASES = {
    f"{kind.__name__}: {words}": Case(kind(words), reason, told)
    for kind in (Behaves, BehavesLater)
    for words, reason, told in (
        ("nothing", None, None),
        ("raise", "exception", "ValueError: boom"),
        ("fail", "job_failed", "JobFailed: no room [job_failed]"),
        ("give up", "full", "JobFailed: no room [full]"),
        ("fail, raise", "job_failed", "ValueError: boom"),
        ("delete", None, None),
        ("delete, raise", None, None),
        ("miss", "missing_model", "ModelMissing: it is gone"),
        ("exit", "exception", "SystemExit"),
        ("cancel", "exception", "CancelledError"),
        ("close", "exception", "GeneratorExit"),
        ("raise, hook leaves", "exception", "ValueError: boom"),
        ("fail, hook leaves", "job_failed", "JobFailed: no room"),
    )
} | {
    "async middleware": Case(Wrapped("nothing"), "exception", "LookupError: behind it"),
    "a model that may be missing": Case(Drops("miss")),
}


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    notes.clear()
    current.configure(Settings(queue=QueueSettings(driver="sync")))
    yield
    current.reset()
    Choosy.shut = False


def pushed(job: Job) -> NewJob:
    return new_job(job, now=time.time(), randomness=os.urandom(10), default_queue="default")


def why(heard: Sequence[LifecycleEvent]) -> str | None:
    """Return why the one job was given up, as listeners were told."""
    reasons = [event.reason for event in heard if isinstance(event, JobGivenUp)]
    assert len(reasons) <= 1
    return reasons[0] if reasons else None


async def in_a_worker(new: NewJob, clients: RedisClients, heard: list[LifecycleEvent]) -> Any:
    there = WorkerWorld(clients)
    await there.push(new)
    await there.drain()
    assert [each.reason for each in await there.failed()] == [why(heard)] * bool(why(heard))
    return why(heard)


async def here(new: NewJob, _: RedisClients, heard: list[LifecycleEvent]) -> Any:
    error: Exception | None = None
    try:
        await asyncio.to_thread(current.application().queue.push, [new])
    except Exception as raised:  # noqa: BLE001 - what it is, its hook is told
        error = raised
    assert (error is None) == (why(heard) is None)
    return why(heard)


async def in_a_coroutine(new: NewJob, _: RedisClients, heard: list[LifecycleEvent]) -> Any:
    error: Exception | None = None
    try:
        await current.application().queue.apush([new])
    except Exception as raised:  # noqa: BLE001 - what it is, its hook is told
        error = raised
    assert (error is None) == (why(heard) is None)
    return why(heard)


async def in_celery(new: NewJob, _: RedisClients, heard: list[LifecycleEvent]) -> Any:
    tried = await asyncio.to_thread(run_payload, new.body, queue="q", past=Past())
    assert not heard
    if not isinstance(tried.outcome, GiveUp):
        assert isinstance(tried.outcome, Finished)
        return None
    assert tried.error is not None
    return tried.outcome.reason


WORLDS = (in_a_worker, here, in_a_coroutine, in_celery)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_try_is_the_same_wherever_a_job_runs(
    world: World, case: Case, clients: RedisClients, heard: list[LifecycleEvent]
) -> None:
    assert await world(pushed(case.job), clients, heard) == case.reason

    assert notes[:1] == ["try 1"]
    assert len(notes) == 1 + (case.reason is not None)
    if case.told is not None:
        assert case.told in notes[1]


@pytest.mark.parametrize("world", WORLDS)
async def test_what_cannot_be_made_of_its_payload_is_given_up_wherever_it_is_read(
    world: World, clients: RedisClients, heard: list[LifecycleEvent]
) -> None:
    new = pushed(Choosy())
    Choosy.shut = True

    assert await world(new, clients, heard) == "invalid_job"

    assert notes == []


@pytest.mark.parametrize("world", [in_a_worker, in_celery])
@pytest.mark.parametrize("kind", [Behaves, BehavesLater])
async def test_a_hook_is_told_why_a_job_was_given_up_that_raised_nothing(
    world: World, kind: type[Behaves], clients: RedisClients, heard: list[LifecycleEvent]
) -> None:
    """Here and now such a job is dropped: there is nowhere to put it back."""
    assert await world(pushed(kind("release")), clients, heard) == "max_attempts"

    told = "JobFailed: it put itself back at its last try, number 1 [max_attempts]"
    assert notes == ["try 1", told]


@pytest.mark.parametrize("kind", [Behaves, BehavesLater])
async def test_here_and_now_an_error_of_a_job_that_put_itself_back_is_its_failure(
    kind: type[Behaves], clients: RedisClients, heard: list[LifecycleEvent]
) -> None:
    assert await here(pushed(kind("release, raise")), clients, heard) == "exception"

    assert notes == ["try 1", "ValueError: boom []"]


@pytest.mark.parametrize("kind", [Behaves, BehavesLater])
@pytest.mark.parametrize("word", ["exit", "cancel", "close"])
async def test_what_would_end_the_process_breaks_a_chain_and_is_counted_in_a_batch(
    kind: type[Behaves], word: str
) -> None:
    with pytest.raises(JobError, match="was raised"):
        await chain([kind(word), kind("never")]).catch(kind("caught")).adispatch()
    made = await batch([kind(word), kind("too")]).allow_failures().adispatch()

    assert notes.count("try 1") == 4
    assert (made.finished, made.failed_jobs, made.processed_jobs) == (True, 1, 1)


@pytest.mark.parametrize("in_a_loop", [True, False])
async def test_a_job_of_a_batch_that_cannot_be_made_has_failed_with_what_follows_it(
    caplog: pytest.LogCaptureFixture, *, in_a_loop: bool
) -> None:
    broken = chain([Choosy(), Behaves("never")])
    pending = batch([Behaves("shut the door"), broken, Behaves("too")]).allow_failures()
    pending = pending.finally_(Behaves("at the end"))

    made = await (pending.adispatch() if in_a_loop else asyncio.to_thread(pending.dispatch))

    assert (made.finished, made.failed_jobs, made.processed_jobs) == (True, 2, 2)
    assert notes == ["try 1"] * 3
    assert "tries.Choosy of a batch failed" in caplog.text


def test_ctrl_c_is_no_failure_of_a_job() -> None:
    class Stopped(Behaves, name="tries.Stopped"):
        def handle(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stopped("x").run_now()

    assert notes == []


async def test_who_cancels_a_job_that_runs_here_cancels_it() -> None:
    class Waits(Behaves, name="tries.Waits"):
        async def handle(self) -> None:  # type: ignore[override]
            notes.append("waits")
            await asyncio.Event().wait()

    run = asyncio.create_task(Waits("x").arun_now())
    await eventually(lambda: notes)
    run.cancel()

    with pytest.raises(asyncio.CancelledError):
        await run
    assert notes == ["waits"]


async def test_an_async_hook_of_a_job_that_holds_the_loop_is_not_called_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Holds(Job, name="tries.Holds"):
        def handle(self) -> None:
            raise ValueError("boom")

        async def failed(self, error: BaseException) -> None:
            notes.append("called")

    with pytest.raises(ValueError, match="boom"):
        Holds().run_now()

    assert notes == []
    assert "the failed() of tries.Holds failed" in caplog.text


def place(**fields: Any) -> Payload:
    return Payload(id="0" * 32, job="tries.Behaves", **fields)


@pytest.mark.parametrize(
    ("said", "usual", "asynchronous", "limit"),
    [
        (5.0, 7.0, True, 5.0),
        (None, 7.0, True, 7.0),
        (None, None, True, ASYNC_TIMEOUT),
        (None, None, False, None),
        (0.0, 7.0, True, None),
        (None, 0.0, True, None),
    ],
)
def test_a_job_says_how_long_it_may_run_then_its_worker_and_then_its_kind(
    said: float | None, usual: float | None, limit: float | None, *, asynchronous: bool
) -> None:
    limits = limits_of(place(timeout=said), asynchronous=asynchronous, timeout=usual)

    assert limits.timeout == limit


def test_a_job_says_how_often_it_may_run_and_then_its_worker() -> None:
    silent = limits_of(place(), asynchronous=False, tries=9, backoff=(3.0,))
    told = limits_of(place(tries=2, backoff=(1.0,)), asynchronous=False, tries=9, backoff=(3.0,))

    assert (silent.tries, silent.backoff) == (9, (3.0,))
    assert (told.tries, told.backoff) == (2, (1.0,))


def test_an_async_job_of_celery_has_a_limit_as_everywhere() -> None:
    class Asks(Job, name="tries.Asks"):
        async def handle(self) -> None:
            running = current_job()
            assert running is not None
            notes.append(str(running.limits.timeout))

    run_payload(pushed(Asks()).body, queue="q", past=Past())

    assert notes == [str(ASYNC_TIMEOUT)]


def test_a_job_that_is_done_is_finished_and_one_that_is_not_may_be_tried_again() -> None:
    limits = limits_of(place(tries=2), asynchronous=False)
    tried = CurrentJob(payload=place(), queue="q", limits=limits, past=Past())

    assert outcome_of(tried, None, now=0.0, chance=0.0) == Finished()
    assert outcome_of(tried, ValueError(), now=0.0, chance=0.0) == TryAgain(0.0)
    tried.verdict = Released(5.0)
    assert outcome_of(tried, None, now=0.0, chance=0.0) == TryAgain(5.0, exception=False)


def test_a_job_whose_next_link_cannot_be_queued_is_given_up() -> None:
    link = NextJob(place(), "default")
    full = place(chain=ChainPlace(id="c" * 32, index=1_000_000, next=(link,)))

    outcome, error, effects = ending(full, Finished(), None, now=0.0)

    assert isinstance(outcome, GiveUp)
    assert outcome.reason == "invalid_job"
    assert isinstance(error, InvalidJob)
    assert effects == ()


def test_what_a_job_failed_with_is_what_it_raised_or_why_it_was_given_up() -> None:
    raised, given_up = ValueError("x"), GiveUp("max_attempts", "too often")

    assert failure_of(given_up, raised) is raised
    said = failure_of(given_up, None)
    assert isinstance(said, JobFailed)
    assert (str(said), said.code) == ("too often", "max_attempts")


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        (None, "ran longer than 2 s, and took its cancellation for nothing", None),
        (TimeoutError(), "ran longer than 2 s", None),
        (RAISED["raise"], "ran longer than 2 s", RAISED["raise"]),
    ],
)
def test_a_job_whose_time_is_over_has_timed_out_whatever_it_made_of_that(
    error: Exception | None, text: str, cause: Exception | None
) -> None:
    late = overrun(2.0, error)

    assert isinstance(late, JobTimedOut)
    assert (str(late), late.__cause__) == (text, cause)


def test_what_would_end_a_process_is_contained_and_the_rest_is_as_it_is() -> None:
    boom = RAISED["raise"]

    assert contained(boom) is boom
    assert described(contained(SystemExit(3))) == "JobError: SystemExit was raised (3)"
    assert described(contained(GeneratorExit())) == "JobError: GeneratorExit was raised"
