"""
Failed jobs in a database, for as long as you like; needs the extra ``sql``.

Failing is one step of the queue, in Redis, which keeps failed jobs for a week. `move_failed`
carries them over into a table, which any number of processes may do at once and at any time.
With ``failed.driver = "sql"`` workers and commands do that by themselves.

A job is written before it is taken out of Redis: nothing is lost if that is interrupted, and
moving it again changes nothing.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    NullPool,
    String,
    Table,
    Text,
    and_,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from broadcaster.contracts.settlements import NewJob
from broadcaster.contracts.stores import FailedFilter, FailedJob
from broadcaster.errors import ConfigurationError, DriverRefused, DriverUnavailable
from broadcaster.protocol.payload import refreshed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

    from broadcaster.contracts.settlements import Pushed
    from broadcaster.contracts.stores import FailedJobs

_log = logging.getLogger("broadcaster.integrations")

_PAGE = 200
MAX_REFUSED = 1_000
"""So many jobs that the database refuses are passed over by `move_failed`; then it stops."""
CLAIM_SECONDS = 60.0
"""After that, a job that somebody was about to queue again is anybody's: they have died."""
_SAID = ("reason", "error", "job", "exception", "traceback")
_ALL, _OPEN = FailedFilter(), FailedFilter(retried=False)


def open_archive(
    url: str, table: str, push: Callable[[str, Sequence[NewJob]], Pushed]
) -> SqlFailedJobs:
    """
    Return the failed jobs in a database; it keeps no connections, so there is nothing to close.

    Args:
        url: as SQLAlchemy writes it.
        table: its name.
        push: see `SqlFailedJobs`.

    Raises:
        ConfigurationError: `url` is none of a database, or its driver is not installed.
    """
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        # The error itself might say the URL, and that the password.
        raise ConfigurationError(
            "failed.url must be the URL of a database as SQLAlchemy writes it, whose driver is "
            "installed: postgresql+psycopg://user:password@host/name, sqlite:///failed.db "
            f"({type(error).__name__})"
        ) from error
    return SqlFailedJobs(engine, push, failed_table(MetaData(), table))


def failed_table(metadata: MetaData, name: str = "broadcaster_failed_jobs") -> Table:
    """Return the table, as a part of `metadata`, for migrations of your own."""
    return Table(
        name,
        metadata,
        Column("id", String(64), primary_key=True),
        Column("queue", String(255), nullable=False),
        Column("failed_at", Float(53), nullable=False),
        Column("reason", String(64), nullable=False),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("job", String(255), nullable=False),
        Column("exception", String(255), nullable=False),
        Column("traceback", Text, nullable=False),
        Column("retried_at", Float(53)),
        Column("connection", String(64), nullable=False),
        Index(f"{name}_failed_at", "failed_at"),
    )


class SqlFailedJobs:
    """
    Implements `broadcaster.contracts.stores.FailedJobs` on one table.

    Moments are those of the queue's store; `prune` and `retry` go by this host's clock.

    Args:
        engine: a sync one.
        push: queues jobs again: is given the name of a queue connection, and the jobs.
        table: made by `failed_table`.
    """

    def __init__(
        self,
        engine: Engine,
        push: Callable[[str, Sequence[NewJob]], Pushed],
        table: Table | None = None,
    ) -> None:
        self._engine = engine
        self._push = push
        self._table = failed_table(MetaData()) if table is None else table
        self._told: set[str] = set()

    def create(self) -> None:
        """Make the table, if there is none; somebody else may do it at the same time."""
        with _translated():
            try:
                self._table.metadata.create_all(self._engine, tables=[self._table])
            except SQLAlchemyError:
                if not inspect(self._engine).has_table(self._table.name):
                    raise

    def add(self, jobs: Sequence[FailedJob]) -> None:
        """
        Keep `jobs`; one that failed before is kept as it failed last.

        Raises:
            DriverRefused: the database takes one of them not; those before it are kept.
            DriverUnavailable: it cannot be used.
        """
        for job in jobs:
            row = {name: getattr(job, name) for name in self._table.columns.keys()}  # noqa: SIM118 - not a dict
            # Databases may not take NUL in text: PostgreSQL does not.
            row |= {name: row[name].replace("\0", "?") for name in _SAID}
            if self._put(row) or self._put(row):  # the second time if somebody has just added it
                continue
            raise DriverRefused("the database of failed jobs: a constraint is in the way of it")

    def tell_refused(self, refused: Mapping[str, str]) -> None:
        """Say once which jobs the database refuses, and why."""
        for job_id in refused.keys() - self._told:
            _log.warning(
                "the failed job %s stays in Redis: %s",
                job_id,
                refused[job_id],
                extra={"event": "failed_not_carried"},
            )
        self._told = set(refused)

    def find(
        self, *, queue: str | None = None, limit: int = 100, where: FailedFilter | None = None
    ) -> Sequence[FailedJob]:
        """See `FailedJobs.find`."""
        meant = self._meant(where)
        if queue is not None:
            meant = and_(meant, _of_queue(self._table.c.queue, queue))
        order = (self._table.c.failed_at.desc(), self._table.c.id.desc())
        with self._begin() as connection:
            query = select(self._table).where(meant).order_by(*order).limit(limit)
            return [_failed_job(row) for row in connection.execute(query).mappings()]

    def get(self, job_id: str) -> FailedJob | None:
        """See `FailedJobs.get`."""
        with self._begin() as connection:
            query = select(self._table).where(self._table.c.id == job_id)
            row = connection.execute(query).mappings().first()
        return None if row is None else _failed_job(row)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[FailedJob]:
        """See `FailedJobs.get_many`."""
        found: dict[str, FailedJob] = {}
        with self._begin() as connection:
            for first in range(0, len(job_ids), _PAGE):
                page = job_ids[first : first + _PAGE]
                query = select(self._table).where(self._table.c.id.in_(page))
                rows = connection.execute(query).mappings()
                found |= {job.id: job for job in map(_failed_job, rows)}
        return [found[job_id] for job_id in dict.fromkeys(job_ids) if job_id in found]

    def retry(self, job_ids: Sequence[str], *, insist: bool = True) -> Sequence[str]:
        """
        See `FailedJobs.retry`. Of several who retry a job at once, one does.

        A job that its queue still knows, as a failed one that is being moved or as one that
        waits, is not put back.
        """
        return [job_id for job_id in job_ids if self._retry(job_id, insist=insist)]

    def retry_all(
        self, queue: str | None = None, *, where: FailedFilter | None = None
    ) -> Sequence[str]:
        """See `FailedJobs.retry_all`."""
        meant = and_(self._meant(where), self._meant(_OPEN))
        if queue is not None:
            meant = and_(meant, _of_queue(self._table.c.queue, queue))
        with self._begin() as connection:
            ids = list(connection.execute(select(self._table.c.id).where(meant)).scalars())
        return self.retry(ids)

    def forget(self, job_ids: Sequence[str], *, until: float | None = None) -> int:
        """See `FailedJobs.forget`."""
        early = true() if until is None else self._table.c.failed_at <= until
        return sum(
            self._delete(and_(early, self._table.c.id.in_(job_ids[first : first + _PAGE])))
            for first in range(0, len(job_ids), _PAGE)
        )

    def flush(self, *, where: FailedFilter | None = None) -> int:
        """See `FailedJobs.flush`."""
        return self._delete(self._meant(where))

    def prune(self, older_than: float) -> int:
        """See `FailedJobs.prune`."""
        return self._delete(self._table.c.failed_at < time.time() - older_than)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return how many failed jobs nobody put back, by connection and queue."""
        place = (self._table.c.connection, self._table.c.queue)
        query = select(*place, func.count()).where(self._meant(_OPEN)).group_by(*place)
        with self._begin() as connection:
            return {(name, queue): count for name, queue, count in connection.execute(query)}

    def _retry(self, job_id: str, *, insist: bool) -> bool:
        job, claim = self.get(job_id), time.time()
        if job is None or job.retried_at is not None or not job.body:
            return False
        body = refreshed(job.body, now=claim, insist=insist)
        mine = and_(self._table.c.id == job_id, self._table.c.failed_at == job.failed_at)
        claimed = and_(mine, self._table.c.retried_at == claim)
        if not self._change(and_(mine, ~self._retried(claim)), retried_at=claim):
            return False
        try:
            pushed = self._push(job.connection, [NewJob(job.id, job.queue, body)])
        except BaseException:
            self._change(claimed, retried_at=None)
            raise
        if job.id not in pushed.new:
            self._change(claimed, retried_at=None)
            return False
        self._change(claimed, body=b"")
        return True

    def _retried(self, now: float) -> ColumnElement[bool]:
        """Return whether a job was queued again, or somebody is about to do that."""
        columns = self._table.c
        lasting = or_(columns.body == b"", columns.retried_at >= now - CLAIM_SECONDS)
        return and_(columns.retried_at.is_not(None), lasting)

    def _change(self, meant: ColumnElement[bool], **values: object) -> int:
        with self._begin() as connection:
            return connection.execute(update(self._table).where(meant).values(values)).rowcount

    def _put(self, row: dict[str, Any]) -> bool:
        mine = self._table.c.id == row["id"]
        query = select(func.count()).select_from(self._table).where(mine)
        with self._begin() as connection:
            if connection.execute(query).scalar_one():
                older = and_(mine, self._table.c.failed_at < row["failed_at"])
                connection.execute(update(self._table).where(older).values(row))
                return True
            try:
                with connection.begin_nested():
                    connection.execute(insert(self._table).values(row))
            except IntegrityError:
                return False
            return True

    def _delete(self, meant: ColumnElement[bool]) -> int:
        with self._begin() as connection:
            return connection.execute(delete(self._table).where(meant)).rowcount

    def _meant(self, where: FailedFilter | None) -> ColumnElement[bool]:
        said, columns = where or _ALL, self._table.c
        parts: list[ColumnElement[bool]] = [true()]
        for name in ("job", "connection"):
            value = getattr(said, name)
            if value is not None:
                parts.append(columns[name] == value)
        if said.queue is not None:
            parts.append(_of_queue(columns.queue, said.queue))
        if said.exception is not None:
            parts.append((columns.exception == said.exception) | (columns.reason == said.exception))
        if said.since is not None:
            parts.append(columns.failed_at >= said.since)
        if said.until is not None:
            parts.append(columns.failed_at < said.until)
        if said.retried is not None:
            retried = self._retried(time.time())
            parts.append(retried if said.retried else ~retried)
        return and_(*parts)

    @contextmanager
    def _begin(self) -> Generator[Connection, None, None]:
        with _translated(), self._engine.begin() as connection:
            yield connection


def move_failed(source: FailedJobs, archive: SqlFailedJobs) -> int:
    """
    Carry the failed jobs that nobody put back from `source` into `archive`; return their number.

    One that the database refuses stays in `source`, with a warning, and is in nobody's way.

    Raises:
        DriverUnavailable: one of the two cannot be reached; what was moved is moved.
    """
    count = 0
    refused: dict[str, str] = {}
    while len(refused) <= MAX_REFUSED:
        found = source.find(limit=_PAGE + len(refused), where=_OPEN)
        jobs = [job for job in found if job.id not in refused]
        moved = _moved(jobs, archive, refused)
        # One that was put back meanwhile and has failed again is left for the next time.
        latest = max((job.failed_at for job in moved), default=0.0)
        if moved and not source.forget([job.id for job in moved], until=latest):
            break  # somebody else moves them
        count += len(moved)
        if not jobs:
            break
    archive.tell_refused(refused)
    return count


def _moved(
    jobs: Sequence[FailedJob], archive: SqlFailedJobs, refused: dict[str, str]
) -> list[FailedJob]:
    """Return which of `jobs` the archive has now; why it has not the others is in `refused`."""
    moved: list[FailedJob] = []
    for job in jobs:
        try:
            archive.add([job])
        except DriverRefused as error:
            refused[job.id] = error.message
        else:
            moved.append(job)
    return moved


def _failed_job(row: Mapping[Any, Any]) -> FailedJob:
    job = FailedJob(**row)
    if job.retried_at is None or not job.body or job.retried_at >= time.time() - CLAIM_SECONDS:
        return job
    return replace(job, retried_at=None)


def _of_queue(column: ColumnElement[str], queue: str) -> ColumnElement[bool]:
    """Return whether a job is of `queue` or a lane of it."""
    return (column == queue) | column.startswith(f"{queue}#", autoescape=True)


@contextmanager
def _translated() -> Generator[None, None, None]:
    # All that SQLAlchemy says of it has the parameters in it, and so what jobs carry.
    try:
        yield
    except DataError as error:
        raise DriverRefused(f"the database of failed jobs: {_said(error)}") from error
    except SQLAlchemyError as error:
        raise DriverUnavailable(f"the database of failed jobs: {_said(error)}") from error
    except ValueError as error:  # how some drivers refuse a text
        raise DriverRefused(f"the database of failed jobs: {type(error).__name__}") from error


def _said(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
