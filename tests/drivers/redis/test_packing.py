"""Commands written with less work, and what is left to redis-py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcaster.drivers.redis import packing
from broadcaster.drivers.redis.resp import encode_command

if TYPE_CHECKING:
    from broadcaster.drivers.redis.client import RedisClients


def fake(args: tuple[Any, ...]) -> bytes:
    return b"C" + b"".join(bytes(str(arg), "utf-8") for arg in args)


def connection() -> Any:
    return packing.packing(Connection, fake)()


def test_one_word_commands_are_packed_by_what_was_given() -> None:
    assert connection().pack_command("GET", "key", 7) == [b"CGETkey7"]


def test_commands_of_several_words_are_taken_apart_by_redis_py() -> None:
    packed = connection().pack_command("SCRIPT FLUSH")

    assert b"".join(packed) == encode_command(b"SCRIPT", b"FLUSH")


def test_what_c_cannot_write_is_refused_by_redis_py() -> None:
    def refusing(args: tuple[Any, ...]) -> bytes:
        raise TypeError(args)

    with pytest.raises(DataError):
        packing.packing(Connection, refusing)().pack_command("SET", "key", None)


def test_without_hiredis_redis_py_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_pack", None)
    pool = redis.asyncio.ConnectionPool()

    packing.write_fast(pool)

    assert pool.connection_class.pack_command is Connection.pack_command


class Writer:
    """A connection's stream that never has room."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble

    def writelines(self, command: list[bytes]) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def drain(self) -> None:
        await asyncio.sleep(30)


class Pretending(packing.writing(Connection)):  # type: ignore[misc]  # made at run time
    """It believes to be connected, and notes that it was closed."""

    is_connected = True
    closed = False

    def __init__(self, writer: Writer, seconds: float = 0.01) -> None:
        super().__init__(socket_timeout=seconds)
        self._writer = writer

    def __del__(self) -> None:
        """Nothing is open."""

    async def disconnect(self, *, nowait: bool) -> None:
        self.closed = nowait


async def test_a_socket_without_room_is_given_up_in_time() -> None:
    made = Pretending(Writer())

    with pytest.raises(RedisTimeoutError, match="writing"):
        await made.send_command("PING")

    assert made.closed


async def test_a_broken_socket_is_a_lost_connection() -> None:
    made = Pretending(Writer(BrokenPipeError("gone")))

    with pytest.raises(RedisConnectionError, match="gone"):
        await made.send_command("PING")

    assert made.closed


async def test_who_is_cancelled_while_sending_is_cancelled_and_leaves_no_connection() -> None:
    made = Pretending(Writer(), 30.0)
    sending = asyncio.create_task(made.send_command("PING"))
    await asyncio.sleep(0)

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    assert made.closed


@pytest.mark.redis
async def test_every_kind_of_argument_arrives_as_it_was_given(
    clients: RedisClients, prefix: str
) -> None:
    given: list[Any] = ["täxt", b"\x00\r\n\xff", "", -7, 2**60, 0.25]

    await clients.aio.rpush(prefix, *given)

    want = ["täxt".encode(), b"\x00\r\n\xff", b"", b"-7", str(2**60).encode(), b"0.25"]
    assert await clients.aio.lrange(prefix, 0, -1) == want
