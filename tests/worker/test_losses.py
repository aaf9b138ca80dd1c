"""What a worker notices of a server that has forgotten something."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.continuity import Recalled
from broadcaster.contracts.queue import Done
from broadcaster.worker.line import Line
from broadcaster.worker.losses import LOOK_SECONDS, Losses

if TYPE_CHECKING:
    from collections.abc import Sequence


NOW = 1_000.0


class Server:
    """Answers as it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = Recalled("first", 0, ())
        self.asked: list[Sequence[str]] = []

    async def recall(self, queue: str, ids: Sequence[str]) -> Recalled:
        assert queue == "mail"
        self.asked.append(ids)
        return self.answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def losses(server: Server) -> Losses:
    return Losses(server)


@pytest.fixture
def line() -> Line:
    return Line("mail", ordered=False)


async def test_it_asks_at_the_start_after_doubt_and_now_and_then(
    losses: Losses, line: Line
) -> None:
    assert losses.due("mail", NOW)
    await losses.look(line, [], NOW)

    assert not losses.due("mail", NOW + LOOK_SECONDS - 0.1)
    assert losses.due("mail", NOW + LOOK_SECONDS)
    assert losses.due("other", NOW)
    losses.doubt()
    assert losses.due("mail", NOW)


async def test_without_a_store_that_answers_nothing_is_due(line: Line) -> None:
    losses = Losses(None)
    losses.doubt()

    await losses.look(line, ["a"], NOW)

    assert not losses.due("mail", NOW)


async def test_the_same_server_that_knows_everything_is_no_news(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.last_token = 5
    server.answer = Recalled("first", 7, ())
    await losses.look(line, [], NOW)
    losses.doubt()

    await losses.look(line, ["a"], NOW)

    assert (losses.servers, losses.forgotten, caplog.records) == (0, 0, [])
    assert server.asked == [[], ["a"]]
    assert line.last_token == 5


async def test_another_server_is_said_once_whatever_number_of_queues_there_is(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await losses.look(line, [], NOW)
    server.answer = Recalled("second", 0, ())
    losses.doubt()

    await losses.look(line, [], NOW)
    await losses.look(line, [], NOW)

    assert losses.servers == 1
    assert [record.__dict__["event"] for record in caplog.records] == ["server_changed"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_reservation_that_is_not_known_names_a_moment_that_was_lost(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.last_token = 1_700_000_000_250_000
    server.answer = Recalled("first", 1_600_000_000_000_000, ())

    await losses.look(line, [], NOW)
    await losses.look(line, [], NOW)

    assert caplog.messages == [
        "Redis has lost what happened in queue mail since 2023-11-14T22:13:20.250+00:00 at the latest"
    ]
    assert line.last_token == 1_600_000_000_000_000


async def test_held_jobs_that_another_server_does_not_know_are_counted_and_some_named(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [f"job-{number}" for number in range(25)]
    await losses.look(line, ids, NOW)
    server.answer = Recalled("second", 0, ids)

    await losses.look(line, ids, NOW)
    await losses.look(line, ids, NOW)

    assert losses.forgotten == 25
    assert "25 jobs of queue mail" in caplog.text
    assert "job-19" in caplog.text
    assert "job-20" not in caplog.text


async def test_jobs_that_the_same_server_does_not_know_were_cancelled(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await losses.look(line, ["a"], NOW)
    server.answer = Recalled("first", 0, ["a"])

    await losses.look(line, ["a"], NOW)

    assert (losses.forgotten, caplog.records) == (0, [])


async def test_a_worker_that_has_just_started_misses_nothing(
    server: Server, losses: Losses, line: Line
) -> None:
    await losses.look(line, [], NOW)
    server.answer = Recalled("second", 0, ["a"])
    other = Losses(server)

    await other.look(line, ["a"], NOW)
    await losses.look(line, ["a"], NOW)

    assert (other.forgotten, losses.forgotten) == (0, 1)


async def test_jobs_that_may_have_been_settled_are_not_asked_about(
    server: Server, losses: Losses, line: Line
) -> None:
    """A step without an answer may have removed them as it should."""
    losses.unanswered("mail", [Done("a", 1), Done("b", 2)])

    assert losses.due("mail", NOW)
    await losses.look(line, ["a", "b", "c"], NOW)
    losses.doubt()
    await losses.look(line, ["a"], NOW)

    assert server.asked == [["c"], ["a"]]
