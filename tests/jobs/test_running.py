from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broadcaster.errors import NotRunning
from broadcaster.jobs.job import Job
from broadcaster.jobs.outcome import Deleted, Failed, Limits, Past, Released
from broadcaster.jobs.running import CurrentJob, current_job, require_current_job, running
from broadcaster.protocol.payload import BatchPlace, Cause, ChainPlace, Payload

ID, OTHER = "a" * 32, "b" * 32


class Ship(Job, name="running.Ship"):
    def handle(self) -> None: ...


def the_job(**more: Any) -> CurrentJob:
    limits = Limits(tries=3, backoff=(1, 5))
    payload = Payload(id=ID, job="running.Ship", **more)
    return CurrentJob(payload=payload, queue="ships", limits=limits, past=Past(attempts=1))


def test_a_job_knows_what_runs_and_how_often_it_has() -> None:
    """Row 12."""
    with running(the_job()) as job:
        assert current_job() is job
        assert (job.id, job.name, job.queue, job.attempts) == (ID, "running.Ship", "ships", 2)
        assert Ship().attempts == 2

    assert current_job() is None
    assert Ship().attempts == 1


def test_what_a_job_carries_is_not_shown() -> None:
    shown = repr(the_job(data={"card": "4111"}))

    assert shown == f"<CurrentJob running.Ship {ID} of 'ships', try 2>"


def test_the_backoff_of_the_next_try_can_be_asked_for() -> None:
    """Row 60: a job that puts itself back waits as a failed try would."""
    with running(the_job()):
        assert Ship().next_backoff() == 5


def test_a_job_can_put_itself_back() -> None:
    """Row 9."""
    with running(the_job()) as job:
        Ship().release(60)
        assert job.verdict == Released(60.0, counts=True)
        Ship().release(2, count=False)
        assert job.verdict == Released(2.0, counts=False)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (ValueError("no\nroom"), "ValueError: no room"),
        ("no\nroom", "no room"),
        ("x" * 10_000, "x" * 500 + "..."),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_job_can_give_itself_up_and_that_is_its_last_word(
    said: Exception | str, error: str
) -> None:
    """Row 10."""
    with running(the_job()) as job:
        Ship().fail(said)
        Ship().release(5)
        Ship().delete()

    assert job.verdict == Failed(error)


def test_a_job_can_have_itself_forgotten() -> None:
    with running(the_job()) as job:
        Ship().delete()

    assert job.verdict == Deleted()


@pytest.mark.parametrize("verb", ["release", "fail", "delete", "batch", "next_backoff"])
def test_verbs_of_a_running_job_say_so_elsewhere(verb: str) -> None:
    with pytest.raises(NotRunning, match="none runs here"):
        getattr(Ship(), verb)()


@pytest.mark.parametrize(
    ("more", "batch", "chain"),
    [
        ({}, None, None),
        ({"batch": BatchPlace(id=OTHER, index=1)}, OTHER, None),
        ({"chain": ChainPlace(id=OTHER, index=1)}, None, OTHER),
        ({"cause": Cause(batch=OTHER)}, OTHER, None),
        ({"cause": Cause(chain=OTHER)}, None, OTHER),
    ],
)
def test_jobs_and_callbacks_know_their_batch_and_chain(
    more: dict[str, Any], batch: str | None, chain: str | None
) -> None:
    job = the_job(**more)

    assert (job.batch_id, job.chain_id, job.cause) == (batch, chain, more.get("cause"))


def test_a_job_that_needs_its_batch_or_cause_is_told_that_it_has_none() -> None:
    """Row 23: what `batch()` would leave to be asked for."""
    with pytest.raises(NotRunning, match=r"require_current_job\(\) needs a running job"):
        require_current_job()
    with running(the_job()):
        with pytest.raises(NotRunning, match=r"Ship asks for its batch, but it is in no batch"):
            Ship().require_batch()
        with pytest.raises(NotRunning, match=r"Ship is about no chain or batch"):
            require_current_job().require_cause()
    with running(the_job(cause=Cause(batch=OTHER, error="no"))):
        assert require_current_job().require_cause().error == "no"


async def test_jobs_that_run_at_once_do_not_mix_up() -> None:
    """Each task, and each thread that it starts, sees its own job."""

    async def one(number: int) -> bool:
        job = the_job(data={"number": number})
        with running(job):
            await asyncio.sleep(0)
            return current_job() is job and await asyncio.to_thread(current_job) is job

    assert await asyncio.gather(*(one(number) for number in range(5))) == [True] * 5
