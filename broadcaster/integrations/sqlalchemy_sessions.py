"""
SQLAlchemy's transactions as what `after_commit` waits for.

`follow_sessions` listens to every session of the process, async ones included. The sessions
that are in a transaction are remembered per thread or task (a context variable). What is sent
in one belongs to its innermost savepoint, and then:

- the savepoint is released: it goes to the one around it;
- the outermost transaction is committed: it is done, after the session has closed it. In a
  session of asyncio that awaits. What an action raises comes out of ``commit()``, and the
  data is committed nevertheless;
- rolled back: it is forgotten;
- the session is closed, and nobody said what: if it has written nothing, then nothing was
  rolled back and it is done. Otherwise it is forgotten, with a warning.

Whether it has written is seen by the statements on its connections, whoever executes them
there; what goes past SQLAlchemy to the driver, or a function that a SELECT calls, is not seen.
"""

from __future__ import annotations

import logging
import re
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, Engine, event, inspect, util
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import in_greenlet

from broadcaster.jobs.after_commit import arun_all, register_transactions, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy.engine import ExecutionContext
    from sqlalchemy.orm import SessionTransaction

    from broadcaster.jobs.after_commit import Action

_log = logging.getLogger("broadcaster.integrations")

_KEY = "broadcaster.pending"

# SQLAlchemy 2.1 has a shorter name for it.
_await = cast("Callable[[Coroutine[None, None, None]], None]", getattr(util, "await_", None))
if _await is None:
    _await = cast("Callable[[Coroutine[None, None, None]], None]", util.await_only)


@dataclass(slots=True)
class _Pending:
    """What waits for one transaction or savepoint, and what is known of that."""

    actions: list[Action] = field(default_factory=list["Action"])
    committed: bool = False
    rolled_back: bool = False
    written: bool = False

    def __del__(self) -> None:
        """Say that something is lost with a session that nobody has closed."""
        self.drop("had been given up without close()")

    def drop(self, why: str) -> None:
        """Forget what waits, with a warning about the session that it waited for."""
        actions, self.actions = self.actions, []
        if actions:
            _log.warning(
                "%d jobs or events were dropped: their session %s",
                len(actions),
                why,
                extra={"event": "after_commit_dropped"},
            )


# What reads in the words of any database, and what makes it write nevertheless.
_READING = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:select|with|values|table|show|explain|describe|pragma|set|save|savepoint|release|rollback)\b",
    re.IGNORECASE | re.DOTALL,
)
_WRITING = re.compile(
    r"\b(?:insert|(?<!for )(?<!for no key )update|delete|merge|into)\b", re.IGNORECASE
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")

_sessions_on: weakref.WeakKeyDictionary[Connection, weakref.WeakSet[Session]] = (
    weakref.WeakKeyDictionary()
)

_open: ContextVar[tuple[weakref.ref[Session], ...]] = ContextVar("broadcaster_sessions", default=())


class OpenSession:
    """
    A session in a transaction; see `broadcaster.jobs.after_commit.Transaction`.

    Args:
        session: the sync one; that of an `AsyncSession` is its ``sync_session``.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def on_commit(self, action: Action) -> None:
        """See `Transaction.on_commit`."""
        pending = _pending(self.session)
        if pending is None:
            action.run()
            return
        pending.actions.append(action)
        if self.session.new or self.session.dirty or self.session.deleted:
            pending.written = True


def follow_sessions() -> None:
    """Listen to all sessions; calling it again changes nothing."""
    for name, listener in _LISTENERS.items():
        if not event.contains(Session, name, listener):
            event.listen(Session, name, listener)
    if not event.contains(Engine, "before_cursor_execute", _before_cursor_execute):
        event.listen(Engine, "before_cursor_execute", _before_cursor_execute)
    register_transactions("sqlalchemy", open_sessions)


def open_sessions() -> list[OpenSession]:
    """Return the sessions of this thread or task that are in a transaction."""
    return [OpenSession(session) for session in _sessions()]


def _sessions() -> list[Session]:
    found = [reference() for reference in _open.get()]
    return [session for session in found if session is not None and session.in_transaction()]


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _table(session: Session) -> dict[SessionTransaction, _Pending]:
    table: dict[SessionTransaction, _Pending] = session.info.setdefault(_KEY, {})
    return table


def _pending(session: Session) -> _Pending | None:
    """Return what waits for the innermost transaction that is open, or None without one."""
    transaction = _innermost(session)
    if transaction is None:
        return None
    return _table(session).setdefault(transaction, _Pending())


def _see(session: Session) -> None:
    """Remember that this thread or task uses `session`, which another one may have begun."""
    if not any(reference() is session for reference in _open.get()):
        _open.set(tuple(weakref.ref(each) for each in (*_sessions(), session)))


def _after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        _see(session)


def _after_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    del transaction
    _sessions_on.setdefault(connection, weakref.WeakSet()).add(session)


def _before_cursor_execute(
    connection: Connection,
    cursor: object,
    statement: str,
    parameters: object,
    context: ExecutionContext | None,
    executemany: bool,  # noqa: FBT001 - as SQLAlchemy calls it
) -> None:
    del cursor, parameters, executemany
    for session in [*_sessions_on.get(connection, ())]:
        pending = _pending(session)
        if pending is not None:
            _see(session)
            pending.written = pending.written or _writes(statement, context)


def _writes(statement: str, context: ExecutionContext | None) -> bool:
    """Return whether `statement` may change something; in doubt it does."""
    compiled = None if context is None else context.compiled
    made = getattr(compiled, "statement", None)
    if made is not None and made.is_select and not getattr(compiled, "ctes", None):
        return False
    if not _READING.match(statement):
        return True
    return _WRITING.search(_QUOTED.sub("", statement)) is not None


def _transient_to_pending(session: Session, instance: object) -> None:
    del instance
    pending = _pending(session)
    if pending is not None:
        _see(session)
        pending.written = True


def _persistent_to_detached(session: Session, instance: object) -> None:
    """See what was changed after the dispatch, and goes with `close` before it was flushed."""
    pending = _pending(session)
    if pending is not None and not pending.written and inspect(instance).modified:
        pending.written = True


def _after_commit(session: Session) -> None:
    pending = _pending(session)
    if pending is not None:
        pending.committed = True


def _after_rollback(session: Session) -> None:
    pending = _pending(session)
    if pending is not None:
        pending.rolled_back = True


def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
    pending = _table(session).pop(transaction, None)
    if pending is None:
        return
    if pending.rolled_back:
        pending.actions = []
    elif transaction.parent is not None:
        outer = _table(session).setdefault(_enclosing(transaction), _Pending())
        outer.actions += pending.actions
        outer.written = outer.written or pending.written
        pending.actions = []
    elif pending.committed or not pending.written:
        actions, pending.actions = pending.actions, []
        _do(actions)
    else:
        pending.drop("had written something and was closed without commit()")


def _enclosing(transaction: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction around this one."""
    outer = transaction.parent
    while outer is not None and outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer if outer is not None else transaction


def _do(actions: list[Action]) -> None:
    if actions and in_greenlet():
        _await(arun_all(actions))
    else:
        run_all(actions)


_LISTENERS: dict[str, Callable[..., None]] = {
    "after_transaction_create": _after_transaction_create,
    "after_transaction_end": _after_transaction_end,
    "after_begin": _after_begin,
    "transient_to_pending": _transient_to_pending,
    "persistent_to_detached": _persistent_to_detached,
    "after_commit": _after_commit,
    "after_rollback": _after_rollback,
}
