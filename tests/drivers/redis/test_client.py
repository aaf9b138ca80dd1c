from __future__ import annotations

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from broadcaster.drivers.redis.client import RedisClients, check_server, translated
from broadcaster.drivers.redis.scripts_loader import (
    Call,
    Script,
    arun,
    arun_many,
    load_script,
    run,
    run_many,
)
from broadcaster.errors import ConfigurationError, DriverRefused, DriverUnavailable, LeaseLost
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults import FaultyServer

BOUND = 2.0  # seconds in which a verb promises to answer
NOISE = 3.0  # more, for a machine that is busy with other things


def script(source: str) -> Script:
    return Script("inline", source, hashlib.sha1(source.encode()).hexdigest())


ECHO = script("return ARGV[1]")
COUNT = script("return redis.call('INCR', KEYS[1])")
LEASE = script("return redis.error_reply('LEASE of node n1 ended')")
BROKEN = script("return redis.call('LPUSH', KEYS[1])")


async def test_a_script_runs_and_answers_sync_and_async(clients: RedisClients) -> None:
    assert run(clients.sync, ECHO, [], ["a"]) == b"a"
    assert await arun(clients.aio, ECHO, [], ["b"]) == b"b"


async def test_a_forgotten_script_is_sent_again_alone_and_in_a_pipeline(
    clients: RedisClients, prefix: str
) -> None:
    calls = [Call(COUNT, [prefix], []), Call(ECHO, [], ["x"]), Call(COUNT, [prefix], [])]
    await clients.aio.script_flush()

    assert await arun(clients.aio, COUNT, [prefix], []) == 1
    await clients.aio.script_flush()
    assert await arun_many(clients.aio, calls) == [2, b"x", 3]
    clients.sync.script_flush()
    assert run_many(clients.sync, calls) == [4, b"x", 5]
    clients.sync.script_flush()
    assert run(clients.sync, COUNT, [prefix], []) == 6


async def test_an_error_reply_that_begins_with_lease_is_a_lost_lease(clients: RedisClients) -> None:
    with pytest.raises(LeaseLost, match="LEASE of node n1 ended"):
        await arun(clients.aio, LEASE, [], [])
    with pytest.raises(LeaseLost):
        run_many(clients.sync, [Call(ECHO, [], ["x"]), Call(LEASE, [], [])])


async def test_an_error_in_a_script_is_ours_and_the_calls_after_it_ran(
    clients: RedisClients, prefix: str
) -> None:
    calls = [Call(BROKEN, [prefix], []), Call(COUNT, [f"{prefix}n"], [])]

    with pytest.raises(DriverRefused, match="refused a command"):
        await arun_many(clients.aio, calls)

    assert await clients.aio.get(f"{prefix}n") == b"1"


@pytest.mark.parametrize("source", ["return 1 < nil", "return redis.call('INCR', KEYS[1])", "x ="])
async def test_a_script_that_cannot_run_is_refused(
    clients: RedisClients, prefix: str, source: str
) -> None:
    await clients.aio.set(prefix, "text")

    with pytest.raises(DriverRefused):
        await arun(clients.aio, script(source), [prefix], [])
    with pytest.raises(DriverRefused):
        run(clients.sync, script(source), [prefix], [])


async def test_a_key_of_another_type_is_refused_in_a_pipeline_too(
    clients: RedisClients, prefix: str
) -> None:
    await clients.aio.set(prefix, "text")
    pipeline = clients.aio.pipeline(transaction=False)
    pipeline.hgetall(prefix)

    with pytest.raises(DriverRefused, match="WRONGTYPE"), translated(clients.aio):
        await pipeline.execute()


async def test_a_full_server_is_one_that_will_take_writes_again(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    await clients.aio.config_set("maxmemory", 1)

    with pytest.raises(DriverUnavailable, match="maxmemory"):
        await arun(clients.aio, COUNT, ["n"], [])

    await clients.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        "WRONGTYPE Operation against a key script: 2067d915024a, on @user_script:12.",
        "user_script:3: attempt to compare nil with number script: 2067d9, on @user_script:3.",
        "Error running script (call to f_2067d9): @user_script:3: WRONGTYPE Operation against",
        "value is not an integer or out of range script: on @user_script:1.",
    ],
)
async def test_what_repeating_does_not_mend_is_refused(clients: RedisClients, reply: str) -> None:
    with pytest.raises(DriverRefused), translated(clients.aio):
        raise ResponseError(reply)


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError(
            "command not allowed when used memory > 'maxmemory'. script: on @user_script:1."
        ),
        ReadOnlyError("You can't write against a read only replica. script: on @user_script:1."),
        NoPermissionError("this user has no permissions to run the 'set' command"),
        BusyLoadingError("the dataset is being loaded"),
        ResponseError("MISCONF Errors writing to the AOF file. script: on @user_script:1."),
        ResponseError("NOREPLICAS Not enough good replicas to write. script: on @user_script:1."),
        ResponseError("BUSY Redis is busy running a script."),
        ResponseError("Error running script (call to f_2067d9): @user_script: 1: -OOM command not"),
        ResponseError(
            "ACL failure in script: User u has no permissions script: on @user_script:1."
        ),
        ResponseError("Script killed by user with SCRIPT KILL. script: 2067d9, on @user_script:1."),
        ResponseError("unknown command 'EVALSHA'"),
    ],
)
async def test_a_state_of_the_server_that_passes_is_waited_for(
    clients: RedisClients, error: RedisError
) -> None:
    with pytest.raises(DriverUnavailable), translated(clients.aio):
        raise error


async def test_a_server_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    clients = RedisClients(f"unix://user:hunter2@{tmp_path}/none?db=0")

    with pytest.raises(DriverUnavailable) as from_async:
        await arun(clients.aio, ECHO, [], ["a"])
    with pytest.raises(DriverUnavailable) as from_sync:
        run(clients.sync, ECHO, [], ["a"])

    for error in (from_async.value, from_sync.value):
        assert f"{tmp_path}/none" in error.message
        assert "start it" in error.message
        assert "hunter2" not in error.message
    await clients.aclose()


async def test_a_refused_port_is_named_with_host_and_port() -> None:
    clients = RedisClients("redis://:hunter2@127.0.0.1:1/0")

    with pytest.raises(DriverUnavailable, match=r"127\.0\.0\.1:1") as caught:
        await arun(clients.aio, ECHO, [], ["a"])

    assert "hunter2" not in str(caught.value)
    await clients.aclose()


async def test_wrong_credentials_are_called_that(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url.replace("unix://", "unix://nobody:hunter2@"))

    with pytest.raises(DriverUnavailable, match="refused the credentials") as caught:
        await arun(clients.aio, ECHO, [], ["a"])

    assert "hunter2" not in str(caught.value)
    await clients.aclose()


async def test_a_frozen_server_is_given_up_within_the_bound_and_used_again_after(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    await arun(clients.aio, ECHO, [], ["warm"])
    run(clients.sync, ECHO, [], ["warm"])
    redis_server.freeze()

    started = time.monotonic()
    with pytest.raises(DriverUnavailable, match="in time"):
        await arun(clients.aio, ECHO, [], ["a"], repeat_lost=True)
    between = time.monotonic()
    with pytest.raises(DriverUnavailable, match="in time"):
        run(clients.sync, ECHO, [], ["a"], repeat_lost=True)
    ended = time.monotonic()

    redis_server.thaw()
    assert between - started < BOUND + NOISE
    assert ended - between < BOUND + NOISE
    assert await arun(clients.aio, ECHO, [], ["b"]) == b"b"
    assert run(clients.sync, ECHO, [], ["b"]) == b"b"
    await clients.aclose()


@pytest.mark.parametrize("calls", [1, 3])
async def test_a_cancelled_call_does_not_leave_its_answer_to_the_next_one(
    redis_server: FaultyServer, calls: int
) -> None:
    clients = RedisClients(redis_server.url)
    await arun(clients.aio, ECHO, [], ["warm"])
    redis_server.freeze()
    old = [Call(ECHO, [], ["old"])] * calls
    call = asyncio.create_task(arun_many(clients.aio, old))
    for _ in range(20):  # far enough to have sent, not far enough to time out
        await asyncio.sleep(0)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    redis_server.thaw()

    new = [Call(ECHO, [], ["new"])] * calls
    assert await arun_many(clients.aio, new) == [b"new"] * calls
    await clients.aclose()


def test_threads_share_one_sync_client(redis_url: str) -> None:
    clients = RedisClients(redis_url)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: clients.sync, range(64)))
        answers = list(threads.map(lambda n: run(clients.sync, ECHO, [], [n]), range(64)))

    assert all(client is made[0] for client in made)
    assert answers == [str(n).encode() for n in range(64)]
    clients.close()


def test_the_async_client_needs_a_running_loop(redis_url: str) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = RedisClients(redis_url).aio


async def test_after_a_restart_pooled_connections_and_scripts_are_renewed(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    await asyncio.gather(*(arun(clients.aio, ECHO, [], ["warm"]) for _ in range(5)))
    run(clients.sync, ECHO, [], ["warm"])

    redis_server.restart(keep_data=True)

    found = await asyncio.gather(
        *(arun(clients.aio, ECHO, [], [str(n)], repeat_lost=True) for n in range(5))
    )
    assert found == [b"0", b"1", b"2", b"3", b"4"]
    assert run(clients.sync, ECHO, [], ["b"], repeat_lost=True) == b"b"
    await clients.aclose()


async def test_a_lost_answer_is_asked_for_again_only_when_the_caller_allows_it(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    proxy = _AnswerEater(redis_url.removeprefix("unix://").partition("?")[0])
    server = await asyncio.start_unix_server(proxy.serve, tmp_path / "s")
    clients = RedisClients(f"unix://{tmp_path}/s")

    proxy.eat = 1
    with pytest.raises(DriverUnavailable, match="reached"):
        await arun(clients.aio, COUNT, [prefix], [])
    proxy.eat = 1
    assert await arun(clients.aio, COUNT, [prefix], [], repeat_lost=True) == 3

    server.close()
    await clients.aclose()


async def test_a_repeated_call_goes_over_a_fresh_connection(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Whatever cut one has mostly cut them all, and nobody has noticed that of the others yet."""
    proxy = _AnswerEater(redis_url.removeprefix("unix://").partition("?")[0])
    server = await asyncio.start_unix_server(proxy.serve, tmp_path / "s")
    clients = RedisClients(f"unix://{tmp_path}/s")
    await asyncio.gather(*(arun(clients.aio, ECHO, [], [n]) for n in range(5)))
    pool = clients.aio.connection_pool
    idle: list[Any] = [*pool._available_connections]  # type: ignore[attr-defined]  # of redis-py

    proxy.eat = 1
    assert await arun(clients.aio, COUNT, [prefix], [], repeat_lost=True) == 2

    assert len(idle) > 1
    assert [connection.is_distrusted for connection in idle].count(False) == 1
    server.close()
    await clients.aclose()


async def test_a_call_whose_connection_broke_late_is_repeated_all_the_same(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """A slow machine is no reason to give up: only the time of the call is."""
    proxy = _AnswerEater(redis_url.removeprefix("unix://").partition("?")[0], digest=0.5)
    server = await asyncio.start_unix_server(proxy.serve, tmp_path / "s")
    clients = RedisClients(f"unix://{tmp_path}/s")

    proxy.eat = 1
    assert await arun(clients.aio, COUNT, [prefix], [], repeat_lost=True) == 2
    proxy.eat = 1
    again = partial(run, clients.sync, COUNT, [prefix], [], repeat_lost=True)
    assert await asyncio.to_thread(again) == 4

    server.close()
    await clients.aclose()


async def test_more_calls_than_connections_wait_for_one(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadcaster.drivers.redis.client.MAX_CONNECTIONS", 5)
    clients = RedisClients(redis_url)

    found = await asyncio.gather(*(arun(clients.aio, ECHO, [], [n]) for n in range(50)))
    pool: Any = clients.aio.connection_pool
    connections = len(pool._available_connections)
    await clients.aclose()

    assert found == [str(n).encode() for n in range(50)]
    assert connections == 5


def test_every_event_loop_has_connections_of_its_own(redis_url: str) -> None:
    clients = RedisClients(redis_url)

    async def once(text: str) -> bytes:
        try:
            found: bytes = await arun(clients.aio, ECHO, [], [text])
            return found
        finally:
            await clients.aclose()

    assert [asyncio.run(once("a")), asyncio.run(once("b"))] == [b"a", b"b"]


async def test_a_blocking_client_waits_longer_than_an_answer_may_take(
    clients: RedisClients, prefix: str
) -> None:
    blocking = clients.blocking()

    assert blocking.connection_pool.connection_kwargs["socket_timeout"] is None
    with translated(blocking):
        assert await blocking.blpop([prefix], timeout=0.05) is None  # type: ignore[misc]  # shared annotation


def test_clients_refuse_a_url_of_another_scheme_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="redis://") as caught:
        RedisClients("amqp://user:hunter2@host")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://u:hunter2@host:99999/0", "its port"),
        ("redis://u:hunter2/more@host/0", "its port"),
        ("rediss://u:hunter2@[::1/0", "its host"),
        ("redis://u:hunter2@host?socket_timeout=hunter2", "an option"),
        ("redis://host?password=hunter2&hunter2=1", "an option"),
        ("rediss://host?ssl_cert_reqs=hunter2", "an option"),
        ("redis+sentinel://u:hunter2@[::1/main", "its host"),
        ("redis+sentinel://u:hunter2@host:99999/main", "the port"),
        ("redis+sentinel://u:hunter2/more@host:1/main", "the port"),
    ],
)
def test_clients_refuse_a_url_that_cannot_be_used_without_showing_it(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        RedisClients(url)

    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://[::1]:6379/1?health_check_interval=5",
        "rediss://u:p%2F@host:6379?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://a:1,b/main",
    ],
)
def test_clients_take_every_url_that_can_be_used(url: str) -> None:
    clients = RedisClients(url)

    assert clients.address
    clients.close()


def test_scripts_of_the_package_load_with_their_hash() -> None:
    loaded = load_script("publish")

    assert loaded.sha == hashlib.sha1(loaded.source.encode()).hexdigest()
    assert load_script("publish") is loaded


async def test_a_sound_server_is_described(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)

    facts = await check_server(clients)
    await clients.aclose()
    redis_server.restart(keep_data=True)
    after = await check_server(clients)

    assert facts.version[0].isdigit()
    assert facts.appendonly
    assert facts.run_id != after.run_id
    await clients.aclose()


async def test_a_server_that_evicts_is_refused_with_the_command_that_mends_it(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    await clients.aio.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(ConfigurationError, match="CONFIG SET maxmemory-policy noeviction"):
        await check_server(clients)

    await clients.aclose()


async def test_a_replica_is_refused_with_the_address_of_its_master(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    await clients.aio.replicaof("127.0.0.1", "1")

    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1"):
        await check_server(clients)

    await clients.aclose()


async def test_checking_a_server_that_is_not_there_raises_ours(tmp_path: Path) -> None:
    clients = RedisClients(f"unix://{tmp_path}/none")

    with pytest.raises(DriverUnavailable):
        await check_server(clients)

    await clients.aclose()


class _AnswerEater:
    """
    A proxy that lets commands through and cuts the connection instead of answering.

    Args:
        digest: seconds that this takes.
    """

    def __init__(self, target: str, digest: float = 0) -> None:
        self._target = target
        self._digest = digest
        self.eat = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, to_above = await asyncio.open_unix_connection(self._target)
        try:
            while data := await reader.read(65_536):
                to_above.write(data)
                answer = await above.read(65_536)
                if self.eat and b"EVAL" in data and b"NOSCRIPT" not in answer:
                    self.eat -= 1
                    await asyncio.sleep(self._digest)
                    break
                writer.write(answer)
        finally:
            writer.close()
            to_above.close()


async def test_connections_end_with_a_loop_that_nobody_closed_them_in(
    clients: RedisClients, redis_url: str, prefix: str
) -> None:
    """A program that forgets `aclose` leaves no open socket behind."""
    forgetful = RedisClients(redis_url, prefix)

    async def use() -> None:
        await forgetful.aio.client_setname(prefix)

    def named() -> int:
        return sum(one["name"] == prefix for one in clients.sync.client_list())

    await asyncio.to_thread(asyncio.run, use())

    await eventually(lambda: named() == 0)
