"""
What is sent in a transaction goes out when that is committed, and never if it is not.

::

    with after_commit(), connection.transaction():
        ...
        SendMail(user_id=7).dispatch(after_commit=True)    # waits for the end of both

A job that is dispatched before its transaction is over may run before what it needs can be
seen, or for something that never came about. With `after_commit` the push waits; a rollback
drops it, and with it nothing is lost, because a lock is only taken when a job is pushed.

Which transactions are open is said by *sources*: Django's and SQLAlchemy's
(`broadcaster.integrations.django`, `broadcaster.integrations.sqlalchemy`), the `after_commit`
blocks of this module, and yours (`register_transactions`). If several are open at once, all
of them must be committed. If none is, there is nothing to wait for.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType


class Action(Protocol):
    """Something to do once, from whichever kind of code commits."""

    def run(self) -> None:
        """Do it; blocks."""
        ...

    async def arun(self) -> None:
        """Do it from a coroutine."""
        ...


class Transaction(Protocol):
    """A transaction that is open."""

    def on_commit(self, action: Action) -> None:
        """
        Have `action` done right after the commit, and forget it after a rollback.

        That of a savepoint counts too: an action belongs to the innermost one.
        """
        ...


_log = logging.getLogger("broadcaster.jobs")

_sources: dict[str, Callable[[], Iterable[Transaction]]] = {}
_blocks: ContextVar[tuple[after_commit, ...]] = ContextVar("broadcaster_blocks", default=())


def register_transactions(name: str, source: Callable[[], Iterable[Transaction]]) -> None:
    """
    Let `after_commit` wait for transactions of your own.

    Args:
        name: of the source; a later one of the same name replaces it.
        source: returns the transactions that are open in the calling thread or task.
    """
    _sources[name] = source


def postpone(action: Action) -> bool:
    """
    Have `action` done when every open transaction is committed.

    Returns:
        False if none is open: the caller does it at once.
    """
    found: list[Transaction] = [*_open_blocks()[-1:]]
    for source in list(_sources.values()):
        found += source()
    if not found:
        return False
    waiting = action if len(found) == 1 else _Countdown(action, len(found))
    for transaction in found:
        transaction.on_commit(waiting)
    return True


class after_commit:  # noqa: N801 - reads as a statement: with after_commit():
    """
    A block at whose end all that waits in it is sent, unless it ends with an exception.

    What cannot be sent raises, after everything else was sent.

    Put it around the transaction, so that it ends after it. In an ``async with`` the sending
    awaits. A block in a block hands what it holds to the outer one.

    Implements `Transaction`.
    """

    __slots__ = ("_actions", "_kept", "_lock", "_outer", "is_open")

    def __init__(self) -> None:
        self._actions: list[Action] = []
        self._outer: after_commit | None = None
        self._kept = True
        self.is_open = False
        self._lock = threading.Lock()

    def on_commit(self, action: Action) -> None:
        """See `Transaction.on_commit`."""
        if self.take([action]) or not self._kept:
            return
        # From another thread of the block, which has ended meanwhile.
        if self._outer is None:
            action.run()
        else:
            self._outer.on_commit(action)

    def __enter__(self) -> Self:
        blocks = _open_blocks()
        self._outer = blocks[-1] if blocks else None
        self.is_open = True
        # No token: a block may be left in another context than it was entered in.
        _blocks.set((*blocks, self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run_all(self._close(kept=kind is None))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await arun_all(self._close(kept=kind is None))

    def _close(self, *, kept: bool) -> list[Action]:
        """Return what is to be done now."""
        with self._lock:
            self.is_open, self._kept = False, kept
            actions, self._actions = self._actions, []
        _blocks.set(_open_blocks())
        if not kept or (self._outer is not None and self._outer.take(actions)):
            return []
        return actions

    def take(self, actions: list[Action]) -> bool:
        """Hold `actions` if the block is still open, or say that it is not."""
        with self._lock:
            if self.is_open:
                self._actions += actions
            return self.is_open


def run_all(actions: Sequence[Action]) -> None:
    """
    Do each of `actions`, also after one that failed: the commit has happened for all of them.

    Raises:
        Exception: that of the first that failed; those of further ones are logged.
    """
    failures = _Failures(len(actions))
    for action in actions:
        with failures:
            action.run()
    failures.raise_first()


async def arun_all(actions: Sequence[Action]) -> None:
    """Do each of `actions` from a coroutine; see `run_all`."""
    failures = _Failures(len(actions))
    for action in actions:
        with failures:
            await action.arun()
    failures.raise_first()


class _Failures:
    """
    What was raised by some of several actions.

    Args:
        left: how many actions there are.
    """

    def __init__(self, left: int) -> None:
        self._left = left
        self._first: Exception | None = None

    def __enter__(self) -> None:
        self._left -= 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            return False
        if isinstance(error, Exception) and self._first is None:
            self._first = error
        elif isinstance(error, Exception):
            said = "a further job or event was not sent after a commit"
            _log.error(said, exc_info=error, extra={"event": "after_commit_failed"})
        elif self._left:  # an interrupt or a cancellation ends it all
            _log.error(
                "%d further jobs or events were not sent after a commit: %s",
                self._left,
                type(error).__name__,
                extra={"event": "after_commit_failed"},
            )
        return isinstance(error, Exception)

    def raise_first(self) -> None:
        """Raise what the first of them raised, if any did."""
        if self._first is not None:
            raise self._first


def _open_blocks() -> tuple[after_commit, ...]:
    return tuple(block for block in _blocks.get() if block.is_open)


class _Countdown:
    """An action that several transactions were given: done when the last one is committed."""

    def __init__(self, action: Action, missing: int) -> None:
        self._action = action
        self._missing = missing
        self._lock = threading.Lock()

    def run(self) -> None:
        if self._is_last():
            self._action.run()

    async def arun(self) -> None:
        if self._is_last():
            await self._action.arun()

    def _is_last(self) -> bool:
        with self._lock:
            self._missing -= 1
            return self._missing == 0
