"""
One deadline for everything that a plain verb waits for.

redis-py has a limit for connecting and one for each time that it reads or writes, so a server
that answers slowly holds its caller for as long as it likes: byte by byte, or one limit after
the other while it greets. Here whatever waits on behalf of a verb is granted its own limit or
what is left of the verb's time, whichever is less: for a connection of the pool, for TCP, TLS
and the commands of a greeting, for sentinels, to send, and for each part of an answer.

Looking up a host's name is left to the system, which has limits of its own.

The time is kept by thread. A plain verb that is called inside a running event loop keeps it for
itself all the same: nothing else of that loop runs before it has returned. So it is with
greenlets if gevent has patched `threading` before this is imported: otherwise those of one thread
share what is left of the first one's time.
"""

from __future__ import annotations

import threading
from functools import cache
from queue import LifoQueue
from time import monotonic
from typing import Any

_LEAST = 0.001


class _Running(threading.local):
    """The verb that this thread is in, and when its time is over (monotonic seconds)."""

    ends: float | None = None


_running = _Running()


def begin_verb(seconds: float) -> bool:
    """
    Give what this thread does with `in_time` pools so many seconds, until `end_verb`.

    Returns:
        Whether it has begun, and is to be ended: what is part of a verb keeps its deadline.
    """
    if _running.ends is not None:
        return False
    _running.ends = monotonic() + seconds
    return True


def end_verb() -> None:
    """Let waits have their own limits only."""
    _running.ends = None


def time_left() -> float | None:
    """Return the seconds that are left of this thread's verb, or None outside of one."""
    return None if _running.ends is None else _running.ends - monotonic()


def granted(limit: float | None, left: float | None) -> float | None:
    """
    Return how many seconds a wait may last, or None for ever.

    Args:
        limit: its own limit; 0 is for not waiting.
        left: of the verb that it is part of, or None if it is part of none.

    Raises:
        TimeoutError: nothing is left.
    """
    if left is None:
        return limit
    if left <= 0:
        raise TimeoutError("the time of this call is over")
    return left if limit is None else min(limit, left)


class TimedQueue(LifoQueue[Any]):
    """
    A pool's connections, waited for as long as the verb has time.

    A verb may come while its own thread is taking a connection: in a handler of signals, or in
    what the garbage collector calls. It is over, and has put back what it took, before the other
    goes on.
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.mutex: Any = threading.RLock()
        self.not_empty, self.not_full, self.all_tasks_done = (
            threading.Condition(self.mutex) for _ in range(3)
        )

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - of the standard library
        """Return one; see `queue.Queue.get`."""
        return super().get(block, granted(timeout, time_left()))


def in_time(pool: Any) -> None:
    """Let the connections that `pool`, of redis-py, will open keep deadlines; its sentinels' too."""
    pool.connection_class = keeping_time(pool.connection_class)
    manager = getattr(pool, "sentinel_manager", None)
    for sentinel in () if manager is None else manager.sentinels:
        in_time(sentinel.connection_pool)


@cache
def keeping_time(connection: type[Any]) -> type[Any]:
    """Return a subclass of `connection`, of redis-py, that keeps deadlines."""

    class KeepingTime(connection):  # type: ignore[misc]  # found out at run time
        @property
        def socket_connect_timeout(self) -> float | None:
            left = time_left()  # redis-py would leave a socket open if this raised
            return granted(
                self._socket_connect_timeout, None if left is None else max(left, _LEAST)
            )

        @socket_connect_timeout.setter
        def socket_connect_timeout(self, value: float | None) -> None:
            self._socket_connect_timeout = value

        def _connect(self) -> TimedSocket:
            granted(None, time_left())
            return TimedSocket(super()._connect(), self.socket_timeout)

        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            sock.settimeout(granted(self.socket_timeout, time_left()))  # for the TLS handshake
            return super()._wrap_socket_with_ssl(sock)

    KeepingTime.__name__ = KeepingTime.__qualname__ = f"KeepingTime{connection.__name__}"
    return KeepingTime


class TimedSocket:
    """
    A socket that waits no longer than the verb has time, each time that it sends or receives.

    Args:
        sock: connected.
        limit: seconds for each wait; None is for ever.
    """

    def __init__(self, sock: Any, limit: float | None) -> None:
        self._sock = sock
        self._limit = limit
        self._set: float | None = -1.0  # what the socket was told last
        self.fileno, self.shutdown, self.close = sock.fileno, sock.shutdown, sock.close
        self.getpeername, self.getsockname = sock.getpeername, sock.getsockname
        if hasattr(sock, "pending"):  # only TLS keeps what it has decrypted
            self.pending = sock.pending

    def settimeout(self, limit: float | None) -> None:
        """Change the limit; 0 is for not waiting."""
        self._limit = limit

    def gettimeout(self) -> float | None:
        """Return the limit."""
        return self._limit

    def sendall(self, data: Any) -> None:
        """Send all of `data`, each part of it in time."""
        self._grant()
        sent = self._sock.send(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        while view:
            self._grant()
            view = view[self._sock.send(view) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what arrives next; see `socket.socket.recv`."""
        self._grant()
        data: bytes = self._sock.recv(size, flags)
        return data

    def recv_into(self, buffer: Any) -> int:
        """Write what arrives next to `buffer`; return how much that is."""
        self._grant()
        size: int = self._sock.recv_into(buffer)
        return size

    def _grant(self) -> None:
        allowed, ends = self._limit, _running.ends
        if ends is not None:
            left = ends - monotonic()
            if allowed is None or left < allowed or left <= 0:
                allowed = granted(allowed, left)
        if allowed != self._set:  # mostly it is the limit, and was before
            self._sock.settimeout(allowed)
            self._set = allowed
