"""
Async connections that write commands with less work than those of redis-py.

redis-py packs each argument in Python, which takes more than a microsecond: as much as the
rest of what a worker does to settle a job. With ``hiredis`` installed that is left to it.
It also makes a task for each command that it sends, on Python 3.11, and with it two more
rounds of the event loop (and a cancellation that may get lost, see `client.translated`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_pack: Callable[[tuple[Any, ...]], bytes] | None = None
with suppress(ImportError):  # without the extra [fast]
    from hiredis import pack_command as _pack


def write_fast(pool: Any) -> None:
    """Let the connections that `pool`, of redis-py's asyncio, will open write as above."""
    pool.connection_class = writing(pool.connection_class)
    if _pack is not None:
        pool.connection_class = packing(pool.connection_class, _pack)


@cache
def packing(connection: type[Any], pack: Callable[[tuple[Any, ...]], bytes]) -> type[Any]:
    """
    Return a subclass of `connection` that packs with `pack`.

    What that refuses goes to redis-py, which knows more types and says what is wrong. So do
    commands of several words, which redis-py takes apart.
    """

    class Packing(connection):  # type: ignore[misc]  # found out at run time
        def pack_command(self, *args: Any) -> list[bytes]:
            if " " not in str(args[0]):
                with suppress(TypeError):
                    return [pack(args)]
            return list(super().pack_command(*args))

    Packing.__name__ = Packing.__qualname__ = f"Packing{connection.__name__}"
    return Packing


@cache
def writing(connection: type[Any]) -> type[Any]:
    """Return a subclass of `connection` that sends without a task."""

    class Writing(connection):  # type: ignore[misc]  # found out at run time
        async def send_packed_command(
            self,
            command: bytes | str | Iterable[bytes],
            check_health: bool = True,  # noqa: FBT001, FBT002 - of redis-py
        ) -> None:
            if not self.is_connected or isinstance(command, bytes | str):
                await super().send_packed_command(command, check_health)
                return
            if check_health:
                await self.check_health()
            try:
                async with asyncio.timeout(self.socket_timeout):
                    await self._send_packed_command(command)
            except TimeoutError:
                await self.disconnect(nowait=True)
                raise RedisTimeoutError("timeout writing to the socket") from None
            except OSError as error:
                await self.disconnect(nowait=True)
                raise RedisConnectionError(f"error writing to the socket: {error}") from error
            except BaseException:
                await self.disconnect(nowait=True)
                raise

    Writing.__name__ = Writing.__qualname__ = f"Writing{connection.__name__}"
    return Writing
