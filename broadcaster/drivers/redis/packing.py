"""
Commands of many arguments, written as bytes in C.

redis-py writes those of its async connections in Python, which costs more than a microsecond
for each argument: as much as the rest of what a worker does to settle a job. With
``hiredis`` installed, connections of pools that went through `pack_fast` leave that to it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_pack: Callable[[tuple[Any, ...]], bytes] | None = None
with suppress(ImportError):  # without the extra [fast]
    from hiredis import pack_command as _pack


def pack_fast(pool: Any) -> None:
    """Let the connections that `pool`, of redis-py's asyncio, will open pack in C if they can."""
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
