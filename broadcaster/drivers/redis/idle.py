"""
Connections that notice, before they are used, that they broke while nobody used them.

What was written to a broken connection may or may not have been carried out, and most verbs may
not be repeated then. So the pool is told of the break before anything is written, and opens a new
connection. redis-py's async connections know of it only once the event loop has read it from the
socket, which may be too late when a server was restarted while the loop was busy; here the kernel
is asked. The kernel in turn hears nothing when a host or a firewall dropped a connection silently:
one that was idle for long is tried with a PING first, whose failure is no failure of the command.

redis-py asks `can_read` of each connection that it takes from a pool, and renews it if that is
true or raises.

A server that ends between this look and the write, a moment later, is not noticed: then it is
uncertain what it has done.
"""

from __future__ import annotations

import select
from functools import cache
from typing import Any


def look_first(pool: Any) -> None:
    """Let the connections that `pool`, of redis-py, will open be tried before they are used."""
    pool.connection_class = noticing(pool.connection_class)


def alook_first(pool: Any) -> None:
    """See `look_first`; for a pool of redis-py's asyncio, whose connections notice less."""
    pool.connection_class = anoticing(pool.connection_class)


def distrust(pool: Any) -> None:
    """
    Let the idle connections of `pool`, of redis-py's asyncio, be renewed before they are used.

    They are not closed here: that takes a moment, in which somebody may begin to use one.
    """
    for connection in pool._available_connections:  # noqa: SLF001 - redis-py has no other way
        connection.is_distrusted = True


@cache
def noticing(connection: type[Any]) -> type[Any]:
    """Return a subclass of `connection`, a plain one of redis-py, that is tried when idle."""

    class Noticing(connection):  # type: ignore[misc]  # found out at run time
        def can_read(self, timeout: float = 0) -> bool:
            if super().can_read(timeout):
                return True
            self.check_health()
            return False

    Noticing.__name__ = Noticing.__qualname__ = f"Noticing{connection.__name__}"
    return Noticing


@cache
def anoticing(connection: type[Any]) -> type[Any]:
    """Return a subclass of `connection`, an async one of redis-py, that notices what broke it."""

    class Noticing(connection):  # type: ignore[misc]  # found out at run time
        _poll: Any = None
        is_distrusted = False

        async def _connect(self) -> None:
            await super()._connect()
            self.is_distrusted = False
            self._poll = _watched(self._writer.get_extra_info("socket"))

        async def can_read(self) -> bool:
            writer = self._writer
            if writer is None:
                return True
            broken = writer.is_closing() or (self._poll is not None and self._poll.poll(0))
            if broken or self.is_distrusted:
                writer.transport.abort()  # TLS would say goodbye and wait for an answer
                return True
            if await super().can_read():
                return True
            await self.check_health()
            return False

    Noticing.__name__ = Noticing.__qualname__ = f"Noticing{connection.__name__}"
    return Noticing


def _watched(sock: Any) -> Any:
    """
    Return what tells whether anything is to be read from `sock`; None on systems without.

    Nothing was asked of an idle connection: what it has to say is that it ends. With TLS that is
    a farewell, behind which the end of the stream may be missing yet.
    """
    if sock is None or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return poll
