"""Row 36: what is sent in a transaction of SQLAlchemy, on a real database."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, func, insert, inspect, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from broadcaster.integrations.sqlalchemy import on_commit
from broadcaster.integrations.sqlalchemy_sessions import follow_sessions
from broadcaster.jobs.after_commit import after_commit, postpone
from tests.integrations.actions import Noted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine, Executable


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="new")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=NullPool)
    Base.metadata.create_all(made)
    follow_sessions()
    yield made
    made.dispose()


@pytest.fixture
def done() -> list[str]:
    return []


def test_row_36_a_commit_sends_what_waits_for_it(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        session.add(Order())
        assert postpone(Noted(done))
        session.flush()
        assert done == []
        session.commit()
        assert done == ["sent"]

    assert done == ["sent"]


def test_row_36_a_rollback_drops_it(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        session.add(Order())
        postpone(Noted(done))
        session.rollback()
        session.commit()

    assert done == []


def test_an_exception_in_a_transaction_drops_it(engine: Engine, done: list[str]) -> None:
    with suppress(ZeroDivisionError), Session(engine) as session, session.begin():
        postpone(Noted(done))
        raise ZeroDivisionError

    assert done == []


def test_what_is_sent_before_the_first_write_waits_too(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        session.scalars(select(Order)).all()
        postpone(Noted(done))
        session.add(Order())
        session.rollback()

    assert done == []


def test_outside_of_a_transaction_nothing_waits(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        session.add(Order())
        session.commit()

        assert not postpone(Noted(done))


def test_a_savepoint_that_rolls_back_takes_only_its_own_with_it(
    engine: Engine, done: list[str]
) -> None:
    with Session(engine) as session:
        session.add(Order())
        postpone(Noted(done, "outer"))
        with suppress(ZeroDivisionError), session.begin_nested():
            postpone(Noted(done, "inner"))
            raise ZeroDivisionError
        session.commit()

    assert done == ["outer"]


def test_what_a_released_savepoint_sent_waits_for_the_outermost(
    engine: Engine, done: list[str]
) -> None:
    with Session(engine) as session:
        session.add(Order())
        with session.begin_nested(), session.begin_nested():
            session.add(Order())
            postpone(Noted(done))
        assert done == []
        session.commit()

    assert done == ["sent"]


def test_a_rollback_of_all_drops_what_a_released_savepoint_sent(
    engine: Engine, done: list[str]
) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            session.add(Order())
            postpone(Noted(done))
        session.rollback()

    assert done == []


def test_a_rollback_with_a_savepoint_open_drops_all(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        transaction = session.begin()
        session.begin_nested()
        postpone(Noted(done))
        transaction.rollback()

    assert done == []


def test_a_session_that_only_reads_and_is_closed_sends(engine: Engine, done: list[str]) -> None:
    """Nothing was rolled back: a request that only looks something up may dispatch."""
    with Session(engine) as session:
        session.scalars(select(Order)).all()
        assert postpone(Noted(done))

    assert done == ["sent"]


def flush(session: Session) -> None:
    session.add(Order())
    session.flush()


def delete(session: Session) -> None:
    session.delete(session.get_one(Order, 1))
    session.flush()


WRITES: dict[str, Callable[[Session], object]] = {
    "flush": flush,
    "add": lambda session: session.add(Order()),
    "change": lambda session: setattr(session.get_one(Order, 1), "status", "x"),
    "delete": delete,
    "insert": lambda session: session.execute(insert(Order).values(status="x")),
    "update": lambda session: session.execute(update(Order).values(status="x")),
    "bulk": lambda session: session.bulk_insert_mappings(inspect(Order), [{"status": "x"}]),
    "text": lambda session: session.execute(text("update orders set status = 'x'")),
    "with": lambda session: session.execute(
        text("/* a */ with o as (select 1) insert into orders(status) select 'x'")
    ),
    "connection": lambda session: session.connection().execute(insert(Order).values(status="x")),
    "driver": lambda session: session.connection().exec_driver_sql("delete from orders"),
}


@pytest.mark.parametrize("when", ["first", "read before", "dispatched before", "savepoint"])
@pytest.mark.parametrize("how", WRITES)
def test_a_session_that_writes_and_is_closed_drops_with_a_warning(
    engine: Engine, done: list[str], caplog: pytest.LogCaptureFixture, how: str, when: str
) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Order).values(id=1))
    with Session(engine) as session:
        if when in ("read before", "dispatched before"):
            session.scalars(select(Order)).all()
        if when == "dispatched before":
            postpone(Noted(done))
        with session.begin_nested() if when == "savepoint" else nullcontext():
            WRITES[how](session)
        if when != "dispatched before":
            assert postpone(Noted(done))

    assert done == []
    assert "1 jobs or events were dropped: their session had written" in caplog.text


@pytest.mark.parametrize("how", [how for how in WRITES if how != "with"])
def test_a_session_whose_first_statement_writes_drops_after_an_exception(
    engine: Engine, done: list[str], how: str
) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Order).values(id=1))
    # Python's sqlite3 begins no transaction for "with".
    with suppress(ZeroDivisionError), Session(engine) as session:
        WRITES[how](session)
        postpone(Noted(done))
        raise ZeroDivisionError
    with engine.connect() as connection:
        rows = connection.execute(select(Order.id, Order.status)).all()

    assert (done, rows) == ([], [(1, "new")])


@pytest.mark.parametrize(
    "statement",
    [
        text("select 1"),
        text(" -- why\n/* and\nwho */ select id from orders where status = 'delete into'"),
        text('with "update" as (select 1) select * from orders'),
        text("explain query plan select 1"),
        select(Order).with_for_update(),
        select(func.replace(Order.status, "new", "insert into")),
        select(select(Order.id).cte()),
    ],
    ids=str,
)
def test_statements_that_only_read_do_not_count_as_writing(
    engine: Engine, done: list[str], statement: Executable
) -> None:
    with Session(engine) as session:
        session.execute(statement).all()
        postpone(Noted(done))

    assert done == ["sent"]


def test_what_waits_for_a_session_that_is_given_up_is_said_to_be_lost(
    engine: Engine, done: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(engine)
    session.scalars(select(Order)).all()
    postpone(Noted(done))
    del session
    gc.collect()

    assert done == []
    assert "1 jobs or events were dropped: their session had been given up" in caplog.text


def test_a_session_that_another_thread_began_is_seen_where_it_is_used(
    engine: Engine, done: list[str]
) -> None:
    with ThreadPoolExecutor(1) as elsewhere, Session(engine) as session:
        elsewhere.submit(session.begin).result()
        assert not postpone(Noted(done, "unseen"))
        session.add(Order())
        assert postpone(Noted(done))
        session.rollback()

    assert done == []


def test_another_connection_of_the_same_engine_is_no_write_of_the_session(
    engine: Engine, done: list[str]
) -> None:
    with Session(engine) as session:
        session.scalars(select(Order)).all()
        postpone(Noted(done))
        session.rollback()
        session.scalars(select(Order)).all()
        postpone(Noted(done, "again"))
        session.commit()
        with engine.begin() as connection:
            connection.execute(insert(Order).values(id=7))
        session.scalars(select(Order)).all()
        postpone(Noted(done, "read"))

    assert done == ["again", "read"]


def test_a_failure_to_send_comes_out_of_commit_and_the_rest_is_sent(
    engine: Engine, done: list[str]
) -> None:
    with Session(engine) as session:
        session.add(Order(id=1))
        postpone(Noted(done, "first", OSError("away")))
        postpone(Noted(done, "second"))
        with pytest.raises(OSError, match="away"):
            session.commit()
        assert session.get(Order, 1) is not None  # the session can be used on

    assert done == ["first", "second"]


def test_two_sessions_must_both_be_committed(engine: Engine, done: list[str]) -> None:
    with Session(engine) as one, Session(engine) as other:
        one.scalars(select(Order)).all()
        other.scalars(select(Order)).all()
        postpone(Noted(done))
        one.commit()
        assert done == []
        other.commit()

    assert done == ["sent"]


def test_a_session_that_nobody_holds_any_more_is_not_waited_for(
    engine: Engine, done: list[str]
) -> None:
    session = Session(engine)
    session.begin()
    del session
    gc.collect()

    assert not postpone(Noted(done))


def test_a_block_around_a_session_waits_for_both(engine: Engine, done: list[str]) -> None:
    with after_commit(), Session(engine) as session, session.begin():
        session.add(Order())
        postpone(Noted(done))

    assert done == ["sent"]


def test_a_function_may_wait_for_one_session(engine: Engine, done: list[str]) -> None:
    with Session(engine) as session:
        on_commit(session, lambda: done.append("at once"))
        session.add(Order())
        on_commit(session, lambda: done.append("later"))
        assert done == ["at once"]
        session.commit()

    assert done == ["at once", "later"]


async def test_an_async_session_awaits_what_it_sends(engine: Engine, done: list[str]) -> None:
    there = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}", poolclass=NullPool)
    async with AsyncSession(there) as session:
        session.add(Order())
        assert postpone(Noted(done))
        async with session.begin_nested():
            postpone(Noted(done, "nested"))
        assert done == []
        await session.commit()
        assert done == ["asent", "anested"]
        session.add(Order())
        postpone(Noted(done))
        await session.rollback()
        on_commit(session, lambda: done.append("now"))
    await there.dispose()

    assert done == ["asent", "anested", "now"]


async def test_tasks_do_not_wait_for_each_others_sessions(engine: Engine, done: list[str]) -> None:
    there = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}", poolclass=NullPool)
    began = asyncio.Event()
    asked = asyncio.Event()

    async def writes() -> None:
        async with AsyncSession(there) as session:
            await session.execute(select(Order))
            began.set()
            await asked.wait()

    async def sends() -> bool:
        await began.wait()
        waits = postpone(Noted(done))
        asked.set()
        return waits

    _, waited = await asyncio.gather(writes(), sends())
    await there.dispose()

    assert not waited


async def test_a_transaction_that_begins_inside_of_an_await_is_seen(
    engine: Engine, done: list[str]
) -> None:
    """SQLAlchemy begins it in a greenlet of its own, in the task's context."""
    there = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}", poolclass=NullPool)
    async with AsyncSession(there) as session:
        await session.execute(select(Order))
        assert postpone(Noted(done))
        await session.commit()
    await there.dispose()

    assert done == ["asent"]


async def test_a_failure_to_send_comes_out_of_an_awaited_commit(
    engine: Engine, done: list[str]
) -> None:
    there = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}", poolclass=NullPool)
    async with AsyncSession(there) as session:
        session.add(Order(id=1))
        postpone(Noted(done, "sent", OSError("away")))
        with pytest.raises(OSError, match="away"):
            await session.commit()
        assert await session.get(Order, 1) is not None
    await there.dispose()
