"""The innermost loop of the program, alone, so that a native one can replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def fan_out(writes: Iterable[Callable[[bytes], None]], data: bytes) -> None:
    """
    Give the same bytes to every connection.

    Args:
        writes: bound ``transport.write`` of each connection; they neither block nor raise.
        data: one or more WebSocket frames, encoded once for everybody.
    """
    for write in writes:
        write(data)
