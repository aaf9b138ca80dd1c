"""What people see who print a job, a chain, a batch or a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.batches import BatchRecord
from broadcaster.jobs.batch import Batch
from broadcaster.jobs.chain import chain
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import RateLimited, Throttle, WithoutOverlapping
from broadcaster.jobs.pending_batch import PendingBatch, batch

if TYPE_CHECKING:
    from broadcaster.jobs.bus import PreparedJob


class Send(Job, name="shown.Send"):
    to: str

    def handle(self) -> None: ...


def test_a_chain_shows_its_first_jobs_without_their_options() -> None:
    jobs: list[Job | PreparedJob | PendingBatch] = [
        Send("a"),
        Send("b").with_options(delay=5),
        batch([Send("c")]),
    ]

    shown = "Send(to='a'), Send(to='b').with_options(...), <PendingBatch of 1 jobs>"
    assert repr(chain(jobs)) == f"<Chain of 3 links: {shown}>"
    assert repr(chain([*jobs, Send("d")])) == f"<Chain of 4 links: {shown}, ...>"


def test_middleware_says_its_limit() -> None:
    assert repr(RateLimited("mail")) == "RateLimited('mail')"
    assert repr(Throttle("api", allow=3, every=5)) == "Throttle('api', allow=3, every=5)"
    assert repr(WithoutOverlapping("a:7")) == "WithoutOverlapping('a:7')"


def test_a_class_instead_of_a_job_is_refused_with_words() -> None:
    with pytest.raises(TypeError, match="Send is a class"):
        chain([Send])  # type: ignore[list-item]


@pytest.mark.parametrize("what", ["send", print, None])
def test_what_is_no_job_at_all_is_refused_with_words(what: Any) -> None:
    with pytest.raises(TypeError, match=r"is no job; .* SendMail\(7\)\.dispatch\(\)"):
        chain([what])
    with pytest.raises(TypeError, match="is no job"):
        batch([what])


def test_a_batch_says_how_far_it_is() -> None:
    record = BatchRecord(
        id="0a1b",
        name="users",
        total=10,
        pending=4,
        failed=1,
        allow_failures=True,
        options={},
        created_at=1.0,
    )

    assert repr(Batch(record)) == "<Batch 0a1b 'users' running, 6 of 10 done, 1 failed>"
