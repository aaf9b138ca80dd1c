"""What a worker writes down about its jobs."""

from __future__ import annotations

import logging

import pytest

from broadcaster.contracts.queue import Reserved
from broadcaster.jobs.job import Job
from broadcaster.jobs.outcome import Outcome, PutOff, TryAgain
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.worker.journal import Journal
from broadcaster.worker.options import WorkerOptions
from broadcaster.worker.tries import new_try

ID = "c" * 32


class Call(Job, name="journal.Call"):
    def handle(self) -> None: ...


@pytest.mark.parametrize("outcome", [TryAgain(5.0489999999999995), PutOff(5.0489999999999995)])
def test_a_wait_is_written_to_the_millisecond(
    outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    payload = Payload(id=ID, job="journal.Call", data={})
    reserved = Reserved(ID, encode_payload(payload), token=1, attempts=0, alone=False)
    task = new_try(Call(), payload, "default", reserved, WorkerOptions(queues=("default",)))

    with caplog.at_level(logging.INFO, "broadcaster.worker"):
        Journal("default").ended(task, outcome, None, 0.1)

    assert vars(caplog.records[0])["delay"] == 5.049
