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
    told: list[int] = []
    tether = Tether()
    tether.attach(told.append)
    tether.start(pipe[0])

    for part in (b"slots 5\nsl", b"ots 7\nslots many\nSTOP\n", b"slots 3\n"):
        os.write(pipe[1], part)

    await eventually(lambda: told == [5, 7, 3])
    assert killed == []
    os.close(pipe[1])
    await eventually(lambda: killed)


async def test_what_was_said_before_anybody_listened_is_not_lost(
    pipe: tuple[int, int], killed: list[int]
) -> None:
    tether = Tether()
    os.write(pipe[1], b"slots 5\nslots 6\n")
    os.close(pipe[1])
    tether.start(pipe[0])
    await eventually(lambda: killed)

    told: list[int] = []
    tether.attach(told.append)

    assert told == [6]


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
    def closed(slots: int) -> None:
        raise RuntimeError(f"the loop is closed, {slots} or not")

    tether = Tether()
    tether.attach(closed)
    tether.start(pipe[0])
    os.write(pipe[1], b"slots 5\n")
    os.close(pipe[1])

    await eventually(lambda: killed == [signal.SIGTERM])
