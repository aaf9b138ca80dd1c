"""A plain verb and a server that takes its time."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
import redis

from broadcaster.drivers.redis import deadlines
from broadcaster.drivers.redis.client import VERB_SECONDS, RedisClients, translated
from broadcaster.drivers.redis.deadlines import (
    TimedQueue,
    TimedSocket,
    begin_verb,
    end_verb,
    granted,
    keeping_time,
    time_left,
)
from broadcaster.drivers.redis.scripts_loader import load_script, run
from broadcaster.errors import DriverUnavailable
from tests.drivers.redis.slow_server import SlowServer
from tests.tls import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOISE = 20.0  # what is tested below would go on for a day

CALL = load_script("queue_unlock")


def call(url: str) -> Any:
    """Do what every plain verb does."""
    clients = RedisClients(url)
    try:
        return run(clients.sync, CALL, ["k"], ["a"], repeat_lost=True)
    finally:
        clients.close()


def give_up(*verbs: Callable[[], object]) -> list[str]:
    """Return what each of `verbs` raises when its time is over; fail if one has no end."""
    caught: list[str] = []

    def attempt(verb: Callable[[], object]) -> None:
        with pytest.raises(DriverUnavailable) as error:
            verb()
        caught.append(error.value.message)

    threads = [threading.Thread(target=attempt, args=[verb], daemon=True) for verb in verbs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(VERB_SECONDS + NOISE)

    assert not any(thread.is_alive() for thread in threads), "it waits for ever"
    assert len(caught) == len(verbs), "something else was raised"
    return caught


class Clock:
    """A clock that stands still, but for what waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Tarpit:
    """A socket on which each wait takes what it may, or `pause`, and moves one byte."""

    def __init__(self, clock: Clock, pause: float) -> None:
        self._clock, self._pause = clock, pause
        self.timeout: float | None = None
        self.told: list[float | None] = []
        self.granted: list[float | None] = []

    def fileno(self) -> int:
        return -1

    shutdown = close = getpeername = getsockname = fileno

    def settimeout(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.told.append(timeout)

    def _wait(self) -> None:
        self.granted.append(self.timeout)
        waited = self._pause if self.timeout is None else min(self.timeout, self._pause)
        self._clock.now += waited
        if waited < self._pause:
            raise TimeoutError

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        self._wait()
        return b"x"

    def recv_into(self, _buffer: Any) -> int:
        self._wait()
        return 1

    def send(self, _data: Any) -> int:
        self._wait()
        return 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadlines, "monotonic", made)
    return made


@pytest.fixture
def verb(clock: Clock) -> Iterator[Clock]:
    """A verb of two seconds."""
    assert begin_verb(2.0)
    yield clock
    end_verb()


@pytest.mark.parametrize(
    ("limit", "left", "may"),
    [
        (1.0, None, 1.0),
        (None, None, None),
        (1.0, 2.0, 1.0),
        (1.0, 0.25, 0.25),
        (None, 0.25, 0.25),
        (0, 2.0, 0),
    ],
)
def test_a_wait_may_last_for_its_limit_or_for_what_is_left(
    limit: float | None, left: float | None, may: float | None
) -> None:
    assert granted(limit, left) == may


@pytest.mark.parametrize("left", [0.0, -1.0])
@pytest.mark.parametrize("limit", [None, 0, 1.0])
def test_nothing_is_granted_when_nothing_is_left(limit: float | None, left: float) -> None:
    with pytest.raises(TimeoutError):
        granted(limit, left)


def test_what_is_part_of_a_verb_keeps_its_deadline(verb: Clock) -> None:
    verb.now += 1.5

    assert not begin_verb(2.0)
    assert time_left() == 0.5


def test_a_verb_of_another_thread_is_another_verb(verb: Clock) -> None:
    verb.now += 1.5
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(time_left).result() is None


@pytest.mark.parametrize(
    "receive",
    [partial(TimedSocket.recv, size=9), partial(TimedSocket.recv_into, buffer=bytearray(9))],
)
def test_all_parts_of_an_answer_share_the_time(verb: Clock, receive: Any) -> None:
    sock = Tarpit(verb, pause=0.75)
    timed = TimedSocket(sock, 1.0)

    receive(timed)
    receive(timed)
    with pytest.raises(TimeoutError):
        receive(timed)

    assert sock.granted == [1.0, 1.0, 0.5]
    assert verb.now == 102.0


def test_a_peer_that_takes_byte_by_byte_is_given_up_when_the_time_is_over(verb: Clock) -> None:
    sock = Tarpit(verb, pause=0.75)

    with pytest.raises(TimeoutError):
        TimedSocket(sock, 1.0).sendall(b"a long command")

    assert sock.granted == [1.0, 1.0, 0.5]


def test_nothing_is_sent_after_the_deadline(verb: Clock) -> None:
    sock = Tarpit(verb, pause=0.75)
    verb.now += 2.0

    with pytest.raises(TimeoutError):
        TimedSocket(sock, 1.0).sendall(b"x")

    assert sock.granted == []


def test_outside_of_a_verb_each_wait_has_its_own_limit(clock: Clock) -> None:
    sock = Tarpit(clock, pause=0.75)
    timed = TimedSocket(sock, 1.0)

    timed.sendall(b"four")
    timed.settimeout(None)
    timed.recv(1)

    assert sock.granted == [1.0, 1.0, 1.0, 1.0, None]
    assert timed.gettimeout() is None


def test_the_socket_is_told_only_what_changes(verb: Clock) -> None:
    sock = Tarpit(verb, pause=0.0)
    timed = TimedSocket(sock, 1.0)

    for _ in range(5):
        timed.sendall(b"x")
        timed.recv(1)

    assert sock.told == [1.0]


def test_a_connection_of_the_pool_is_waited_for_as_long_as_there_is_time(verb: Clock) -> None:
    pool = TimedQueue(1)

    verb.now += 1.999
    with pytest.raises(Empty):
        pool.get(timeout=3600)
    verb.now += 1
    with pytest.raises(TimeoutError):
        pool.get(timeout=3600)


def test_connecting_has_its_limit_or_what_is_left(verb: Clock) -> None:
    connection = keeping_time(redis.Connection)(socket_connect_timeout=0.5)

    first = connection.socket_connect_timeout
    verb.now += 1.75
    then = connection.socket_connect_timeout
    verb.now += 1
    with pytest.raises(redis.TimeoutError):
        connection.connect()

    assert (first, then) == (0.5, 0.25)


def test_a_verb_within_a_loop_takes_nobody_elses_time() -> None:
    clients = RedisClients("redis://127.0.0.1:1/0")

    async def look() -> float | None:
        return time_left()

    async def main() -> float | None:
        other = asyncio.create_task(look())
        with pytest.raises(DriverUnavailable):
            run(clients.sync, CALL, ["k"], ["a"])
        return await other

    assert asyncio.run(main()) is None
    assert time_left() is None


def test_a_server_that_answers_byte_by_byte_is_given_up() -> None:
    drips = [b"AUTH", b"CLIENT", b"SELECT", b"EVALSHA"]
    with ExitStack() as stack:
        first = stack.enter_context(SlowServer(drip=b"PING"))
        servers = [stack.enter_context(SlowServer(drip=drip)) for drip in drips]
        urls = [f"redis://:hunter2@127.0.0.1:{server.port}/1" for server in servers]
        messages = give_up(
            partial(call, f"redis://127.0.0.1:{first.port}"), *(partial(call, url) for url in urls)
        )

    assert all("in time" in message for message in messages)


def test_a_server_on_a_unix_socket_is_given_up_alike(tmp_path: Path) -> None:
    with SlowServer(drip=b"EVALSHA", path=tmp_path / "s"):
        (message,) = give_up(partial(call, f"unix://{tmp_path}/s"))

    assert "in time" in message


def test_a_server_that_speaks_tls_is_given_up_alike(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with SlowServer(drip=b"EVALSHA", tls=certificate) as server:
        url = f"rediss://localhost:{server.port}?ssl_ca_certs={certificate.cert}"
        (message,) = give_up(partial(call, url))

    assert "in time" in message


def test_a_sentinel_that_answers_byte_by_byte_is_given_up() -> None:
    with SlowServer(drip=b"CLIENT") as server:
        (message,) = give_up(partial(call, f"redis+sentinel://127.0.0.1:{server.port}/shop"))

    assert "no sentinel names a master" in message


def test_slow_answers_to_a_greeting_leave_less_time_for_the_command() -> None:
    """Each of them comes within its own limit, and all of them too late."""
    with SlowServer(pause=lambda _: 0.75) as server:
        (message,) = give_up(partial(call, f"redis://127.0.0.1:{server.port}/0"))

    assert "in time" in message


def test_a_repeat_has_no_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[float | None] = []

    def connect(self: redis.Connection) -> None:
        connected.append(time_left())
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(redis.Connection, "connect", connect)
    clients = RedisClients("redis://127.0.0.1:1/0")

    with pytest.raises(DriverUnavailable):
        run(clients.sync, CALL, ["k"], ["a"], repeat_lost=True)

    first, second = connected
    assert first is not None
    assert second is not None
    assert VERB_SECONDS > first > second


@pytest.mark.redis
def test_what_is_done_together_has_one_deadline(redis_url: str) -> None:
    clients = RedisClients(redis_url)

    with translated(clients.sync):
        clients.sync.ping()
        first = time_left()
        run(clients.sync, CALL, ["k"], ["a"])
        second = time_left()

    assert first is not None
    assert second is not None
    assert first > second
    assert time_left() is None
    clients.close()


@pytest.mark.redis
def test_a_call_after_one_that_ran_out_of_time_has_all_of_it(redis_url: str) -> None:
    clients = RedisClients(redis_url)
    run(clients.sync, CALL, ["k"], ["a"])

    with pytest.raises(DriverUnavailable, match="in time"):
        run_late(clients)

    assert run(clients.sync, CALL, ["k"], ["a"]) == 0
    clients.close()


def run_late(clients: RedisClients) -> None:
    """Call when the time is over."""
    with translated(clients.sync):
        deadlines._running.ends = time.monotonic() - 1
        clients.sync.ping()
