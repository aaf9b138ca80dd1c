"""
SQLAlchemy 2: transactions to wait for, mapped classes as `Ref`, and jobs in transactions.

::

    setup(models=Base, sessions=sessionmaker(engine))       # once, where the engine is made

    class ShipOrder(Job, after_commit=True, middleware=[transaction()]):
        order: Ref[Order]

        def handle(self) -> None:
            self.order.value.status = "shipped"             # committed when handle returns

What is dispatched in a session's transaction waits for its end
(`broadcaster.integrations.sqlalchemy_sessions`).
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from sqlalchemy import inspect as look_into
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState, Mapper, Session

from broadcaster.errors import ConfigurationError, InvalidJob, NotConfigured
from broadcaster.integrations.sqlalchemy_sessions import OpenSession, follow_sessions
from broadcaster.jobs.references import Reference, models

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import registry

    from broadcaster.jobs.job import Job
    from broadcaster.jobs.references import Key

T = TypeVar("T")

PREFIX = "sqlalchemy"
NAME = "__broadcaster_name__"
"""A class attribute that gives a mapped class a name of its own in payloads."""

# Those of the transactions around the running job, by database, the innermost last.
_sessions: ContextVar[Mapping[str, Session]] = ContextVar(
    "broadcaster_sync_sessions", default=MappingProxyType({})
)
_async_sessions: ContextVar[Mapping[str, AsyncSession]] = ContextVar(
    "broadcaster_async_sessions", default=MappingProxyType({})
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """
    A database that jobs refer to.

    Attributes:
        registry: of the mapped classes.
        sessions: opens a session for sync code, or None.
        async_sessions: opens a session for coroutines, or None.
    """

    registry: registry
    sessions: Callable[[], Session] | None = None
    async_sessions: Callable[[], AsyncSession] | None = None


_databases: dict[str, Database] = {}


def setup(
    *,
    models: Any,
    sessions: Callable[[], Session] | None = None,
    async_sessions: Callable[[], AsyncSession] | None = None,
    name: str = "",
) -> None:
    """
    Let jobs refer to rows of a database, and wait for its transactions.

    Args:
        models: the declarative base of the mapped classes, or their `registry`.
        sessions: a `sessionmaker`, or anything else that makes a session; for sync jobs.
        async_sessions: an `async_sessionmaker`; for async jobs. They do with `sessions`
            too, in a thread.
        name: of the database, where there are several; setting one up again replaces it.
    """
    _databases[name] = Database(
        registry=getattr(models, "registry", models),
        sessions=sessions,
        async_sessions=async_sessions,
    )
    follow_sessions()


def current_session(name: str | None = None) -> Session:
    """
    Return the session of the `transaction` that the running job is in.

    Args:
        name: of its database; None is the innermost, where there are several.

    Raises:
        LookupError: there is none.
    """
    found = _one_of(_sessions.get(), name)
    if found is None:
        raise LookupError(_no_session(name, "sync"))
    return found


def current_async_session(name: str | None = None) -> AsyncSession:
    """
    Return the session of the `transaction` that the running async job is in.

    Args:
        name: see `current_session`.

    Raises:
        LookupError: there is none.
    """
    found = _one_of(_async_sessions.get(), name)
    if found is None:
        raise LookupError(_no_session(name, "async"))
    return found


class transaction:  # noqa: N801 - reads as a statement in a class line
    """
    Middleware: `handle` runs in a transaction, and an exception of it rolls back.

    The session is `current_session`, or `current_async_session` for an async job. Rows that
    the job refers to are in it.

    Args:
        name: of the database, as `setup` knows it.
    """

    def __init__(self, *, name: str = "") -> None:
        self._name = name

    def around(self, job: Job) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """See `broadcaster.jobs.middleware.contract.Surrounding`."""
        if inspect.iscoroutinefunction(job.handle):
            return self._around_coroutine()
        return self._around_call()

    @contextmanager
    def _around_call(self) -> Generator[Session]:
        with _sync_sessions(self._name)() as session, session.begin():
            mine = _sessions.set(_with(_sessions.get(), self._name, session))
            try:
                yield session
            finally:
                _sessions.reset(mine)

    @asynccontextmanager
    async def _around_coroutine(self) -> AsyncGenerator[AsyncSession]:
        async with _coroutine_sessions(self._name)() as session, session.begin():
            mine = _async_sessions.set(_with(_async_sessions.get(), self._name, session))
            try:
                yield session
            finally:
                _async_sessions.reset(mine)


def on_commit(session: Session | AsyncSession, action: Callable[[], object]) -> None:
    """
    Have `action` done after `session` has committed, and never after a rollback.

    It is done at once if the session is in no transaction.
    """
    follow_sessions()
    inner = session if isinstance(session, Session) else session.sync_session
    OpenSession(inner).on_commit(_Call(action))


class _Call:
    """A plain function as an action."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def run(self) -> None:
        self._function()

    async def arun(self) -> None:
        self._function()


class MappedClasses:
    """
    Mapped classes as what a `Ref` refers to; see `broadcaster.jobs.references.ModelAdapter`.

    A class is called ``sqlalchemy:ClassName`` or by its ``__broadcaster_name__``. A row is read
    in the session of the job's `transaction`; without one, in a session of its own that is
    closed again, so what it does not have loaded cannot be loaded later.
    """

    def name_of(self, model: type) -> str | None:
        """See `ModelAdapter.name_of`."""
        return f"{PREFIX}:{_own_name(model)}" if _databases_of(model) else None

    def reference(self, instance: object) -> Reference | None:
        """See `ModelAdapter.reference`."""
        try:
            state = look_into(instance)
        except NoInspectionAvailable:
            return None
        if not isinstance(state, InstanceState):
            return None
        model: type = state.class_
        databases = _databases_of(model)
        if not databases:
            raise InvalidJob(
                f"Ref: {model.__name__} is mapped, but by no base that "
                "broadcaster.integrations.sqlalchemy.setup(models=...) was given"
            )
        if len(databases) > 1:
            raise InvalidJob(
                f"Ref: {model.__name__} is in several databases ({', '.join(map(repr, databases))}); "
                f"say which: Ref.to({model.__name__}, key, using={databases[-1]!r})"
            )
        if state.identity is None:
            raise InvalidJob(
                f"Ref: this {model.__name__} has no primary key yet; flush the session before it "
                "is queued"
            )
        parts = [_plain(part) for part in state.identity]
        key: Key = parts[0] if len(parts) == 1 else parts
        return Reference(f"{PREFIX}:{_own_name(model)}", key, databases[0])

    def load(self, reference: Reference) -> object | None:
        """See `ModelAdapter.load`."""
        mapper, identity, name = _meant(reference)
        session = _sessions.get().get(name)
        if session is not None:
            return cast("object | None", session.get(mapper.class_, identity))
        with _sync_sessions(name)() as own:
            return cast("object | None", own.get(mapper.class_, identity))

    async def aload(self, reference: Reference) -> object | None:
        """See `ModelAdapter.aload`."""
        mapper, identity, name = _meant(reference)
        session = _async_sessions.get().get(name)
        if session is not None:
            return cast("object | None", await session.get(mapper.class_, identity))
        database = _databases.get(name)
        if database is not None and database.async_sessions is not None:
            async with database.async_sessions() as own:
                return cast("object | None", await own.get(mapper.class_, identity))
        return await asyncio.to_thread(self.load, reference)


def _one_of(sessions: Mapping[str, T], name: str | None) -> T | None:
    if name is not None:
        return sessions.get(name)
    return list(sessions.values())[-1] if sessions else None


def _with(sessions: Mapping[str, T], name: str, session: T) -> Mapping[str, T]:
    return {**{known: each for known, each in sessions.items() if known != name}, name: session}


def _no_session(name: str | None, kind: str) -> str:
    named = f"name={name!r}" if name else ""
    return f"no session: give the job middleware=[transaction({named})]; it must be {kind}"


def _databases_of(model: type) -> list[str]:
    return [
        name
        for name, database in _databases.items()
        if any(mapper.class_ is model for mapper in database.registry.mappers)
    ]


def _own_name(model: type) -> str:
    # Not what a base class says: that is the name of the base class.
    return str(vars(model).get(NAME, model.__name__))


def _meant(reference: Reference) -> tuple[Mapper[Any], tuple[Any, ...], str]:
    """Return the class, the primary key in Python's types, and the name of the database."""
    wanted = reference.model.partition(":")[2]
    # Of a class in several databases the one without a name is meant, which is put in last.
    found = {
        mapper.class_: (mapper, name)
        for name, database in sorted(_databases.items(), reverse=True)
        if reference.using in ("", name)
        for mapper in database.registry.mappers
        if _own_name(mapper.class_) == wanted
    }
    if len(found) != 1:
        problem = "none" if not found else " and ".join(sorted(f"{cls!r}" for cls in found))
        raise InvalidJob(
            f"a job refers to the mapped class {wanted!r}, and there is {problem}; a class "
            f"attribute {NAME} tells two of one name apart"
        )
    mapper, name = next(iter(found.values()))
    given = reference.key if isinstance(reference.key, list) else [reference.key]
    columns = mapper.primary_key
    if len(given) != len(columns):
        raise InvalidJob(f"{wanted} has {len(columns)} primary key columns, not {len(given)}")
    try:
        identity = tuple(
            msgspec.convert(part, column.type.python_type, strict=False)
            for part, column in zip(given, columns, strict=True)
        )
    except (msgspec.ValidationError, TypeError, NotImplementedError) as error:
        raise InvalidJob(f"{wanted} cannot have the primary key {given!r}: {error}") from error
    return mapper, identity, name


def _plain(part: object) -> Any:
    return part if isinstance(part, int | str) else msgspec.to_builtins(part)


def _sync_sessions(name: str) -> Callable[[], Session]:
    database = _databases.get(name)
    if database is None or database.sessions is None:
        raise _lacking(name, "sessions")
    return database.sessions


def _coroutine_sessions(name: str) -> Callable[[], AsyncSession]:
    database = _databases.get(name)
    if database is None or database.async_sessions is None:
        raise _lacking(name, "async_sessions")
    return database.async_sessions


def _lacking(name: str, what: str) -> ConfigurationError:
    named = f", name={name!r}" if name else ""
    return NotConfigured(
        f"broadcaster.integrations.sqlalchemy.setup(models=..., {what}=...{named}) was not called "
        "in this process"
    )


models.add(PREFIX, MappedClasses())
