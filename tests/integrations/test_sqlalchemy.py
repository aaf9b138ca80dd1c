"""Rows 33 and 35: rows of SQLAlchemy in jobs, on real SQLite databases."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool

from broadcaster.errors import InvalidJob, ModelMissing, NotConfigured
from broadcaster.integrations import sqlalchemy as module
from broadcaster.integrations.sqlalchemy import (
    MappedClasses,
    current_async_session,
    current_session,
    setup,
    transaction,
)
from broadcaster.jobs.after_commit import postpone
from broadcaster.jobs.job import Job
from broadcaster.jobs.references import Ref, Reference
from tests.integrations.actions import Noted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Base(DeclarativeBase):
    pass


class ArchiveBase(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="new")


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)


class Line(Base):
    __tablename__ = "lines"

    order_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


class OldOrder(ArchiveBase):
    __tablename__ = "orders"
    __broadcaster_name__ = "archive.Order"

    id: Mapped[int] = mapped_column(primary_key=True)


class Unknown(DeclarativeBase):
    pass


class Stranger(Unknown):
    __tablename__ = "strangers"

    id: Mapped[int] = mapped_column(primary_key=True)


@dataclass
class World:
    sessions: sessionmaker[Session]
    archive: sessionmaker[Session]

    def count(self) -> int:
        with self.sessions() as session:
            return session.scalars(select(func.count()).select_from(Order)).one()

    def save(self, row: Base) -> Any:
        with self.sessions(expire_on_commit=False) as session, session.begin():
            session.add(row)
        return row


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=NullPool)
    archive = create_engine(f"sqlite:///{tmp_path}/archive.db", poolclass=NullPool)
    aengine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db", poolclass=NullPool)
    Base.metadata.create_all(engine)
    ArchiveBase.metadata.create_all(archive)
    made = World(sessionmaker(engine), sessionmaker(archive))
    setup(models=Base, sessions=made.sessions, async_sessions=async_sessionmaker(aengine))
    setup(models=ArchiveBase, sessions=made.archive, name="archive")
    yield made
    module._databases.clear()
    await aengine.dispose()


def test_row_35_a_row_is_named_by_class_key_and_database(world: World) -> None:
    order = world.save(Order())
    with world.archive(expire_on_commit=False) as session, session.begin():
        session.add(old := OldOrder())

    assert Ref(order).reference == Reference("sqlalchemy:Order", order.id)
    assert Ref(old).reference == Reference("sqlalchemy:archive.Order", old.id, "archive")


@pytest.mark.parametrize(
    "row", [Order(status="old"), Parcel(id=uuid.UUID(int=7)), Line(order_id=1, number=2)]
)
def test_keys_of_every_kind_are_found_again(world: World, row: Base) -> None:
    saved = world.save(type(row)(**{k: v for k, v in vars(row).items() if k[0] != "_"}))
    ref: Ref[Any] = Ref.named(Ref(saved).reference)

    assert type(ref.load()) is type(row)
    assert Ref(ref.value).reference == ref.reference


async def test_a_row_is_read_again_by_a_coroutine(world: World) -> None:
    order = world.save(Order(status="here"))

    assert (await Ref.to(Order, order.id).aload()).status == "here"


async def test_without_async_sessions_a_coroutine_reads_in_a_thread(world: World) -> None:
    with world.archive.begin() as session:
        session.add(OldOrder(id=3))

    assert (await Ref.to(OldOrder, 3, using="archive").aload()).id == 3


def test_row_35_a_row_that_is_gone_is_missing(world: World) -> None:
    with pytest.raises(ModelMissing, match="sqlalchemy:Order 9"):
        Ref.to(Order, 9).load()


def test_a_row_without_a_key_cannot_be_referred_to(world: World) -> None:
    with pytest.raises(InvalidJob, match="flush"):
        Ref(Order())
    with world.sessions() as session:
        session.add(pending := Order())
        with pytest.raises(InvalidJob, match="flush"):
            Ref(pending)
        session.flush()
        assert Ref(pending).key == pending.id


def test_a_class_of_an_unknown_base_cannot_be_referred_to(world: World) -> None:
    with pytest.raises(InvalidJob, match="Stranger is mapped, but by no base"):
        Ref(Stranger(id=1))
    assert MappedClasses().name_of(Stranger) is None


@pytest.mark.parametrize("value", [object(), "text", 7, str])
def test_what_is_not_mapped_is_left_to_other_adapters(world: World, value: object) -> None:
    assert MappedClasses().reference(value) is None


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (Reference("sqlalchemy:Gone", 1), "there is none"),
        (Reference("sqlalchemy:os.system", 1), "there is none"),
        (Reference("sqlalchemy:Order", 1, "archive"), "there is none"),
        (Reference("sqlalchemy:Order", "x"), "primary key"),
        (Reference("sqlalchemy:Order", [1, 2]), "2"),
        (Reference("sqlalchemy:Parcel", "x"), "primary key"),
    ],
)
def test_a_reference_to_what_was_not_set_up_is_refused(
    world: World, reference: Reference, problem: str
) -> None:
    with pytest.raises(InvalidJob, match=problem):
        MappedClasses().load(reference)


def test_two_classes_of_one_name_must_be_told_apart(world: World) -> None:
    class OtherBase(DeclarativeBase):
        pass

    type(
        "Order",
        (OtherBase,),
        {
            "__tablename__": "orders",
            "id": mapped_column(__import__("sqlalchemy").Integer, primary_key=True),
        },
    )
    setup(models=OtherBase, name="other")

    with pytest.raises(InvalidJob, match="__broadcaster_name__"):
        MappedClasses().load(Reference("sqlalchemy:Order", 1))


class Ship(Job, name="tests.sqlalchemy.Ship"):
    order: Ref[Order]

    def handle(self) -> None:
        self.order.value.status = "shipped"


class AsyncShip(Job, name="tests.sqlalchemy.AsyncShip"):
    order: Ref[Order]

    async def handle(self) -> None:
        self.order.value.status = "shipped"


def test_row_33_a_sync_job_changes_its_row_in_a_transaction(world: World) -> None:
    job = Ship(order=Ref.to(Order, world.save(Order()).id))

    with transaction().around(job):  # type: ignore[union-attr]
        job.order.load()
        job.handle()
        assert current_session().dirty

    assert Ref.to(Order, job.order.reference.key).load().status == "shipped"
    with pytest.raises(LookupError, match="transaction"):
        current_session()


def test_row_33_a_sync_job_that_fails_rolls_back(world: World) -> None:
    job = Ship(order=Ref.to(Order, 1))
    done: list[str] = []

    with suppress(ZeroDivisionError), transaction().around(job):  # type: ignore[union-attr]
        current_session().add(Order())
        postpone(Noted(done))
        raise ZeroDivisionError

    assert world.count() == 0
    assert done == []


async def test_row_33_an_async_job_changes_its_row_in_a_transaction(world: World) -> None:
    job = AsyncShip(order=Ref.to(Order, world.save(Order()).id))
    done: list[str] = []

    async with transaction().around(job):  # type: ignore[union-attr]
        await job.order.aload()
        await job.handle()
        postpone(Noted(done))
        assert current_async_session().dirty

    assert Ref.to(Order, job.order.reference.key).load().status == "shipped"
    assert done == ["asent"]
    with pytest.raises(LookupError, match="transaction"):
        current_async_session()


def test_row_35_a_row_is_read_from_its_database_whichever_transaction_the_job_is_in(
    world: World,
) -> None:
    """Another database may have a table of the same name."""
    order = Ref.to(Order, world.save(Order(status="here")).id)
    job = Ship(order=order)

    with transaction(name="archive").around(job):  # type: ignore[union-attr]
        assert order.load().status == "here"
        with transaction().around(job):  # type: ignore[union-attr]
            order.load().status = "changed"
            assert current_session() is current_session("")
            assert current_session("archive") is not current_session()
    with pytest.raises(LookupError, match=r"transaction\(name='archive'\)"):
        current_session("archive")

    assert order.load().status == "changed"


def test_row_35_a_class_in_several_databases_needs_the_name_of_one(world: World) -> None:
    ArchiveBase.metadata.drop_all(world.archive.kw["bind"])
    Base.metadata.create_all(world.archive.kw["bind"])
    setup(models=Base, sessions=world.archive, name="copy")
    here = world.save(Order(id=1, status="here"))
    with world.archive() as session, session.begin():
        session.add(Order(id=1, status="there"))

    with pytest.raises(InvalidJob, match=r"Ref.to\(Order, key, using='copy'\)"):
        Ref(here)
    assert Ref.to(Order, 1).load().status == "here"
    assert Ref.to(Order, 1, using="copy").load().status == "there"


def test_a_transaction_needs_sessions(world: World) -> None:
    with (
        pytest.raises(NotConfigured, match=r"setup\(models=..., sessions=..., name='x'\)"),
        transaction(name="x").around(Ship(order=Ref.to(Order, 1))),  # type: ignore[union-attr]
    ):
        pass
