"""Rows 33, 35, 36: Django's transactions and models, on real SQLite databases."""

from __future__ import annotations

import unittest
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async

from broadcaster import current
from broadcaster.errors import ConfigurationError, InvalidJob, ModelMissing
from broadcaster.jobs.after_commit import after_commit, postpone
from broadcaster.jobs.bus import Skipped
from broadcaster.jobs.job import Job
from broadcaster.jobs.references import Ref, Reference
from broadcaster.settings import QueueSettings, Settings
from tests.integrations import django_shop
from tests.integrations.actions import Noted

django_shop.set_up()

from django.conf import LazySettings  # noqa: E402
from django.db import connection, connections  # noqa: E402 - after it was set up
from django.db import transaction as database  # noqa: E402
from django.test import TestCase  # noqa: E402
from django.utils.functional import SimpleLazyObject  # noqa: E402

from broadcaster.integrations.django import (  # noqa: E402
    DjangoModels,
    fresh_connections,
    on_commit,
    open_transactions,
    transaction,
)
from tests.integrations.django_shop.models import Line, Order, Parcel  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    yield
    for name in ("default", "archive"):
        for model in (Order, Parcel, Line):
            model._base_manager.using(name).all().delete()
    connections.close_all()


@pytest.fixture
def done() -> list[str]:
    return []


def test_row_36_a_commit_sends_what_waits_for_it(done: list[str]) -> None:
    with database.atomic():
        Order.objects.create()
        assert postpone(Noted(done))
        assert done == []

    assert done == ["sent"]


def test_row_36_a_rollback_drops_it(done: list[str]) -> None:
    with suppress(ZeroDivisionError), database.atomic():
        postpone(Noted(done))
        raise ZeroDivisionError

    assert done == []


def test_outside_of_a_transaction_nothing_waits(done: list[str]) -> None:
    Order.objects.create()

    assert not postpone(Noted(done))


def test_a_savepoint_that_rolls_back_takes_only_its_own_with_it(done: list[str]) -> None:
    with database.atomic():
        postpone(Noted(done, "outer"))
        with suppress(ZeroDivisionError), database.atomic():
            postpone(Noted(done, "inner"))
            raise ZeroDivisionError

    assert done == ["outer"]


def test_a_transaction_of_another_database_is_waited_for(done: list[str]) -> None:
    with database.atomic(using="archive"):
        assert postpone(Noted(done))
        assert done == []

    assert done == ["sent"]


def test_transactions_of_two_databases_must_both_be_committed(done: list[str]) -> None:
    with suppress(ZeroDivisionError), database.atomic(using="archive"):
        with database.atomic():
            postpone(Noted(done))
        raise ZeroDivisionError

    assert done == []


def test_a_block_of_ours_is_waited_for_too(done: list[str]) -> None:
    with after_commit():
        with database.atomic():
            postpone(Noted(done))
        assert done == []

    assert done == ["sent"]


def test_what_waits_behind_one_that_fails_is_sent_and_what_was_rolled_back_is_not(
    done: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def commit() -> None:
        with database.atomic():
            postpone(Noted(done, "first"))
            postpone(Noted(done, "broken", ZeroDivisionError()))
            with suppress(KeyError), database.atomic():
                postpone(Noted(done, "rolled back"))
                raise KeyError
            with database.atomic():
                postpone(Noted(done, "inner"))
            postpone(Noted(done, "worse", OSError("away")))
            postpone(Noted(done, "last"))

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            commit()

    assert done == ["first", "broken", "inner", "worse", "last"] * 2
    assert caplog.text.count("a further job or event was not sent after a commit\n") == 2


def test_hooks_of_others_between_ours_keep_their_turn(done: list[str]) -> None:
    with database.atomic():
        postpone(Noted(done, "first"))
        database.on_commit(lambda: done.append("theirs"))
        postpone(Noted(done, "last"))

    assert done == ["first", "theirs", "last"]


def test_a_function_may_wait_for_a_commit(done: list[str]) -> None:
    with database.atomic():
        on_commit(lambda: done.append("sent"))
        assert done == []

    assert done == ["sent"]


async def test_coroutines_have_no_transactions_and_their_threads_do(done: list[str]) -> None:
    def create() -> None:
        with database.atomic():
            Order.objects.create()
            postpone(Noted(done))

    assert not postpone(Noted(done))
    await sync_to_async(create)()
    await sync_to_async(connections.close_all)()

    assert done == ["sent"]


def test_tests_of_django_run_what_waits_for_a_commit(done: list[str]) -> None:
    """Its TestCase never commits: captureOnCommitCallbacks stands for the commit."""

    class Case(TestCase):  # type: ignore[misc]
        def runTest(self) -> None:  # noqa: N802 - unittest's name
            with self.captureOnCommitCallbacks(execute=True):
                postpone(Noted(done))

    result = unittest.TestSuite([Case()]).run(unittest.TestResult())

    assert result.wasSuccessful(), result.errors
    assert done == ["sent"]


def test_row_35_a_row_is_named_by_model_key_and_database() -> None:
    order = Order.objects.create()
    old = Order.objects.using("archive").create()

    assert Ref(order).reference == Reference("django:django_shop.Order", order.pk)
    assert Ref(old).reference == Reference("django:django_shop.Order", old.pk, "archive")


def test_row_35_a_lazy_row_is_named_as_what_it_stands_for() -> None:
    """As `request.user` is."""
    order = Order.objects.create()

    assert Ref(SimpleLazyObject(lambda: order)) == Ref(order)


def test_a_row_is_read_again_from_its_database() -> None:
    order = Order.objects.using("archive").create(status="old")
    ref: Ref[Any] = Ref.named(Ref(order).reference)

    assert ref.load().status == "old"


async def test_a_row_is_read_again_by_a_coroutine() -> None:
    order = await Order.objects.acreate(status="here")
    ref: Ref[Any] = Ref.named(Ref(order).reference)

    assert (await ref.aload()).status == "here"
    await sync_to_async(connections.close_all)()


def test_a_row_that_the_default_manager_hides_is_found() -> None:
    order = Order.objects.create(status="hidden")

    assert Ref.to(Order, order.pk).load().pk == order.pk


@pytest.mark.parametrize("model", [Parcel, Line])
def test_keys_of_every_kind_are_found_again(model: Any) -> None:
    row = Parcel.objects.create() if model is Parcel else Line.objects.create(order_id=1, number=2)
    reference = Ref(row).reference

    assert reference.key == (str(row.pk) if model is Parcel else [1, 2])
    assert Ref.named(reference).load() == row


def test_row_35_a_row_that_is_gone_is_missing() -> None:
    order = Order.objects.create()
    ref: Ref[Any] = Ref.named(Ref(order).reference)
    order.delete()

    with pytest.raises(ModelMissing, match=r"django:django_shop\.Order"):
        ref.load()


def test_a_row_that_was_never_saved_cannot_be_referred_to() -> None:
    with pytest.raises(InvalidJob, match="never saved"):
        Ref(Order())
    with pytest.raises(InvalidJob, match="never saved"):
        Ref(Parcel(id=uuid.uuid4()))


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (Reference("django:django_shop.Gone", 1), "no model"),
        (Reference("django:os.system", 1), "no model"),
        (Reference("django:nonsense", 1), "no model"),
        (Reference("django:django_shop.Order", 1, "elsewhere"), "elsewhere"),
        (Reference("django:django_shop.Order", "x"), "primary key"),
        (Reference("django:django_shop.Parcel", "x"), "primary key"),
        (Reference("django:django_shop.Line", [1]), "primary key"),
        (Reference("django:django_shop.Order", [1, 2]), "primary key"),
    ],
)
def test_a_reference_to_what_is_not_installed_is_refused(
    reference: Reference, problem: str
) -> None:
    with pytest.raises(InvalidJob, match=problem):
        DjangoModels().load(reference)


def test_what_is_no_model_is_left_to_other_adapters() -> None:
    assert DjangoModels().reference(object()) is None
    assert DjangoModels().name_of(str) is None


class Ship(Job, name="tests.django.Ship"):
    order_id: int

    def handle(self) -> None: ...


class AsyncShip(Job, name="tests.django.AsyncShip"):
    async def handle(self) -> None: ...


def test_row_33_a_job_runs_in_a_transaction() -> None:
    with transaction().around(Ship(order_id=1)):
        assert connection.in_atomic_block
        Order.objects.create()

    assert Order.objects.count() == 1


def test_row_33_a_job_that_fails_rolls_back(done: list[str]) -> None:
    around = transaction().around(Ship(order_id=1))

    with suppress(ZeroDivisionError), around:
        Order.objects.create()
        postpone(Noted(done))
        raise ZeroDivisionError

    assert Order.objects.count() == 0
    assert done == []


def test_a_coroutine_in_a_transaction_is_refused() -> None:
    around = transaction().around(AsyncShip())

    with pytest.raises(ConfigurationError, match="sync_to_async"), around:
        pass


def test_an_old_connection_is_dropped_before_a_job() -> None:
    Order.objects.count()
    before = connection.connection
    connection.close_at = 0  # what CONN_MAX_AGE = 0 makes of it

    with fresh_connections():
        assert connection.connection is None
        Order.objects.count()

    assert before is not None


async def test_row_36_a_unique_job_of_a_transaction_that_rolled_back_leaves_no_lock(
    redis_url: str, prefix: str
) -> None:
    """The lock is taken when the job is queued, and it never was."""
    current.configure(Settings(redis_url=redis_url, prefix=prefix))

    def roll_back() -> None:
        with suppress(ZeroDivisionError), database.atomic():
            Once(order_id=1).dispatch()
            raise ZeroDivisionError

    def commit() -> None:
        with database.atomic():
            order = Order.objects.create()
            Once(order_id=1).dispatch()
            Ships(order=Ref(order)).dispatch()
            assert current.application().queue.sizes("default").ready == 0
        connections.close_all()

    await sync_to_async(roll_back)()
    await sync_to_async(commit)()

    assert current.application().queue.sizes("default").ready == 2
    assert isinstance(await sync_to_async(Once(order_id=1).dispatch)(), Skipped)
    current.reset()


class Once(Job, name="tests.django.Once", unique=True, after_commit=True):
    order_id: int

    def handle(self) -> None: ...


class Ships(
    Job,
    name="tests.django.Ships",
    after_commit=True,
    middleware=[transaction()],
    delete_when_missing_models=True,
):
    order: Ref[Order]

    def handle(self) -> None:
        self.order.value.status = "shipped"
        self.order.value.save()


def test_rows_33_and_35_a_job_is_given_its_row_in_a_transaction() -> None:
    current.configure(Settings(queue=QueueSettings(driver="sync")))
    order = Order.objects.create()

    Ships(order=Ref(order)).dispatch()
    current.reset()

    order.refresh_from_db()
    assert order.status == "shipped"


def test_row_35_a_job_without_its_row_may_be_forgotten() -> None:
    current.configure(Settings(queue=QueueSettings(driver="sync")))
    order = Order.objects.create()
    ref = Ref(order)
    order.delete()

    Ships(order=ref).dispatch()
    current.reset()


def test_where_django_is_imported_but_not_set_up_nothing_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process may import a library that supports Django, and have no use for it."""
    monkeypatch.setattr("broadcaster.integrations.django.settings", LazySettings())

    assert list(open_transactions()) == []
