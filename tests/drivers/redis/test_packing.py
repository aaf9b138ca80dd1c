"""Commands packed in C, and what is left to redis-py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from redis.asyncio.connection import Connection
from redis.exceptions import DataError

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


def test_without_hiredis_a_pool_keeps_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_pack", None)
    pool = redis.asyncio.ConnectionPool()

    packing.pack_fast(pool)

    assert pool.connection_class is Connection


@pytest.mark.redis
async def test_every_kind_of_argument_arrives_as_it_was_given(
    clients: RedisClients, prefix: str
) -> None:
    given: list[Any] = ["täxt", b"\x00\r\n\xff", "", -7, 2**60, 0.25]

    await clients.aio.rpush(prefix, *given)

    want = ["täxt".encode(), b"\x00\r\n\xff", b"", b"-7", str(2**60).encode(), b"0.25"]
    assert await clients.aio.lrange(prefix, 0, -1) == want
