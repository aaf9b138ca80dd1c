"""What is left is read as it is: what has just expired is not there, and jobs may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.history import KeyState
from tests.chaos.state import Remains, complaints

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients

SECONDS = 100
FLAW = [
    "Traceback (most recent call last):",
    '  File "x.py", line 1',
    "tests.chaos.workload.Flaw: no",
]


class Fading:
    """A client for which the key `name` expires before the command number `at`, from 0."""

    def __init__(self, client: Any, name: str, at: int) -> None:
        self._client = client
        self._name = name
        self._left = at

    def scan_iter(self, **options: Any) -> list[bytes]:
        self._come_nearer()
        return list(self._client.scan_iter(**options))

    def pipeline(self, **options: Any) -> Any:
        self._come_nearer()
        return self._client.pipeline(**options)

    def execute_command(self, *command: Any) -> Any:
        self._come_nearer()
        return self._client.execute_command(*command)

    def _come_nearer(self) -> None:
        if self._left == 0:
            self._client.delete(self._name)
        self._left -= 1


@pytest.fixture
def passing(clients: RedisClients) -> str:
    """Name of a list that expires, beside one that does not."""
    name = f"{clients.prefix}:passing"
    clients.sync.rpush(name, "a", "b")
    clients.sync.expire(name, SECONDS)
    clients.sync.rpush(f"{clients.prefix}:lasting", "a", "b")
    return name


@pytest.mark.redis
@pytest.mark.usefixtures("passing")
def test_keys_are_read_with_the_time_that_is_left_to_them(clients: RedisClients) -> None:
    lasting, passing = Remains(clients).keys()

    assert lasting == KeyState("lasting", "list", None, 2)
    assert passing.expires is not None
    assert 0 < passing.expires <= SECONDS
    assert passing == KeyState("passing", "list", passing.expires, 2)


@pytest.mark.redis
@pytest.mark.parametrize("at", range(8))
def test_what_expires_while_it_is_read_is_never_taken_for_what_never_does(
    clients: RedisClients, passing: str, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Whichever command is the first not to find it."""
    monkeypatch.setattr(type(clients), "sync", Fading(clients.sync, passing, at))

    found = Remains(clients).keys()

    assert [key.name for key in found if key.expires is None] == ["lasting"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        FLAW,
        [FLAW[0], *FLAW, *FLAW[1:]],
        [*FLAW[:2], '{"event": "job_failed"}', FLAW[2]],
        FLAW[:2],
        ["what a job has said: nothing"],
    ],
    ids=["nothing", "flaw", "two-at-once", "in-between", "cut-off", "said"],
)
def test_what_jobs_raise_and_say_is_no_complaint(lines: list[str]) -> None:
    assert complaints(lines) == []


@pytest.mark.parametrize(
    ("line", "before"),
    [
        ('{"event": "bug", "message": "effects failed"}', []),
        ('{"event": "x", "message": "heartbeat failed: no"}', []),
        ("ValueError: what is this?", FLAW[:2]),
        ("KeyboardInterrupt", FLAW[:2]),
        ("redis.exceptions.ConnectionError: gone", [FLAW[0], *FLAW]),
        ("Fatal Python error: Aborted", []),
    ],
)
def test_whatever_else_a_worker_writes_down_as_an_error_is_one(
    line: str, before: list[str]
) -> None:
    assert complaints([*before, line]) == [line]
