"""What a worker notices of a server that has forgotten something."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.continuity import Recalled
from broadcaster.contracts.queue import Done
from broadcaster.worker.line import Line
from broadcaster.worker.losses import Losses

if TYPE_CHECKING:
    from collections.abc import Sequence


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


async def test_it_asks_once_at_the_start_and_again_only_after_doubt(
    losses: Losses, line: Line
) -> None:
    assert losses.due("mail")
    await losses.look(line, [])

    assert not losses.due("mail")
    assert not losses.due("other")  # the server is known, and nothing of this queue is held
    losses.doubt()
    assert losses.due("mail")
    assert losses.due("other")


async def test_without_a_store_that_answers_nothing_is_due(line: Line) -> None:
    losses = Losses(None)
    losses.doubt()

    await losses.look(line, ["a"])

    assert not losses.due("mail")


async def test_the_same_server_that_knows_everything_is_no_news(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.last_token = 5
    server.answer = Recalled("first", 7, ())
    await losses.look(line, [])
    losses.doubt()

    await losses.look(line, ["a"])

    assert (losses.servers, losses.forgotten, caplog.records) == (0, 0, [])
    assert server.asked == [[], ["a"]]
    assert line.last_token == 5


async def test_another_server_is_said_once_whatever_number_of_queues_there_is(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await losses.look(line, [])
    server.answer = Recalled("second", 0, ())
    losses.doubt()

    await losses.look(line, [])
    await losses.look(line, [])

    assert losses.servers == 1
    assert [record.__dict__["event"] for record in caplog.records] == ["server_changed"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_reservation_that_is_not_known_names_a_moment_that_was_lost(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.last_token = 1_700_000_000_250_000
    server.answer = Recalled("first", 1_600_000_000_000_000, ())

    await losses.look(line, [])
    await losses.look(line, [])

    assert caplog.messages == [
        "Redis has lost what happened in queue mail since 2023-11-14T22:13:20.250+00:00 at the latest"
    ]
    assert line.last_token == 1_600_000_000_000_000


async def test_held_jobs_that_do_not_exist_are_counted_and_some_named(
    server: Server, losses: Losses, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [f"job-{number}" for number in range(25)]
    server.answer = Recalled("first", 0, ids)

    await losses.look(line, ids)

    assert losses.forgotten == 25
    assert "25 jobs of queue mail" in caplog.text
    assert "job-19" in caplog.text
    assert "job-20" not in caplog.text


async def test_jobs_that_may_have_been_settled_are_not_asked_about(
    server: Server, losses: Losses, line: Line
) -> None:
    """A step without an answer may have removed them as it should."""
    losses.unanswered("mail", [Done("a", 1), Done("b", 2)])

    assert losses.due("mail")
    await losses.look(line, ["a", "b", "c"])
    losses.doubt()
    await losses.look(line, ["a"])

    assert server.asked == [["c"], ["a"]]
