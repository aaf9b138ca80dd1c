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
"""

from __future__ import annotations

import logging
import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sqlalchemy import event, util
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import in_greenlet

from broadcaster.jobs.after_commit import register_transactions, telling_of_unsent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy.orm import ORMExecuteState, SessionTransaction

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


def _after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        others = [other for other in _sessions() if other is not session]
        _open.set(tuple(weakref.ref(each) for each in (*others, session)))


def _after_flush(session: Session, context: object) -> None:
    del context
    pending = _pending(session)
    if pending is not None:
        pending.written = True


def _do_orm_execute(state: ORMExecuteState) -> None:
    pending = None if state.is_select else _pending(state.session)
    if pending is not None:
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
    if pending is None or pending.rolled_back:
        return
    if transaction.parent is not None:
        outer = _table(session).setdefault(_enclosing(transaction), _Pending())
        outer.actions += pending.actions
        outer.written = outer.written or pending.written
    elif pending.committed or not pending.written:
        _do(pending.actions)
    elif pending.actions:
        _log.warning(
            "%d jobs or events were dropped: their session had written something and was closed "
            "without commit()",
            len(pending.actions),
            extra={"event": "after_commit_dropped"},
        )


def _enclosing(transaction: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction around this one."""
    outer = transaction.parent
    while outer is not None and outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer if outer is not None else transaction


def _do(actions: list[Action]) -> None:
    awaits = bool(actions) and in_greenlet()
    for number, action in enumerate(actions, start=1):
        with telling_of_unsent(len(actions) - number):
            if awaits:
                _await(cast("Coroutine[None, None, None]", action.arun()))
            else:
                action.run()


_LISTENERS: dict[str, Callable[..., None]] = {
    "after_transaction_create": _after_transaction_create,
    "after_transaction_end": _after_transaction_end,
    "after_flush": _after_flush,
    "do_orm_execute": _do_orm_execute,
    "after_commit": _after_commit,
    "after_rollback": _after_rollback,
}
