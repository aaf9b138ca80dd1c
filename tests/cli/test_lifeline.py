"""What a parent says to its process; whole processes are in test_tether.py and test_work_processes.py."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.lifeline import Tether
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that this process would have sent itself."""
    numbers: list[int] = []

    def kill(pid: int, number: int) -> None:
        assert pid == os.getpid()
        numbers.append(number)

    monkeypatch.setattr(os, "kill", kill)
    return numbers


class Told:
    """A worker that notes what it is told."""

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.pauses: list[bool] = []

    def listen(self, tether: Tether) -> None:
        tether.attach(self.slots.append, self.pauses.append)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with suppress(OSError):
            os.close(end)


async def test_a_worker_hears_how_many_slots_it_has(
    pipe: tuple[int, int], killed: list[int]
) -> None:
    told, tether = Told(), Tether()
    told.listen(tether)
    tether.start(pipe[0])

    for part in (b"slots 5\nsl", b"ots 7\nslots many\nSTOP\npau", b"se\nresume\nslots 3\n"):
        os.write(pipe[1], part)

    await eventually(lambda: told.slots == [5, 7, 3])
    assert (told.pauses, killed) == ([True, False], [])
    os.close(pipe[1])
    await eventually(lambda: killed)


async def test_what_was_said_before_anybody_listened_is_not_lost(
    pipe: tuple[int, int], killed: list[int]
) -> None:
    tether = Tether()
    os.write(pipe[1], b"slots 5\nresume\nslots 6\npause\n")
    os.close(pipe[1])
    tether.start(pipe[0])
    await eventually(lambda: killed)

    told = Told()
    told.listen(tether)

    assert (told.slots, told.pauses) == ([6], [True])


@pytest.mark.parametrize(
    ("grace", "signals"), [(None, [signal.SIGTERM]), (0.0, [signal.SIGTERM, signal.SIGKILL])]
)
async def test_a_process_without_a_parent_stops(
    grace: float | None, signals: list[int], pipe: tuple[int, int], killed: list[int]
) -> None:
    tether = Tether(grace)
    tether.start(pipe[0])
    assert killed == []

    os.close(pipe[1])

    await eventually(lambda: len(killed) >= len(signals))
    assert killed == signals


async def test_a_loop_that_is_closed_already_hears_no_more(
    pipe: tuple[int, int], killed: list[int]
) -> None:
    def closed(said: object) -> None:
        raise RuntimeError(f"the loop is closed, {said} or not")

    tether = Tether()
    tether.attach(closed, closed)
    tether.start(pipe[0])
    os.write(pipe[1], b"slots 5\npause\n")
    os.close(pipe[1])

    await eventually(lambda: killed == [signal.SIGTERM])
