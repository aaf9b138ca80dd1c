from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import InvalidJob, ModelMissing
from broadcaster.jobs.execution import acall, call
from broadcaster.jobs.job import Job
from broadcaster.jobs.references import Ref, Reference, has_references, models, references_in

if TYPE_CHECKING:
    from collections.abc import Iterator

loaded: list[object] = []


@dataclass
class Order:
    id: int
    total: int = 0


@dataclass
class User:
    id: int


class Shelf:
    """An adapter whose database is a dict."""

    def __init__(self) -> None:
        self.rows: dict[object, object] = {}

    def name_of(self, model: type) -> str | None:
        return f"shelf:{model.__name__}" if model in (Order, User) else None

    def reference(self, instance: object) -> Reference | None:
        if not isinstance(instance, Order | User):
            return None
        return Reference(f"shelf:{type(instance).__name__}", instance.id)

    def load(self, reference: Reference) -> object | None:
        return self.rows.get((reference.model, reference.key))

    async def aload(self, reference: Reference) -> object | None:
        return self.load(reference)


class ShipOrder(Job, name="references.ShipOrder"):
    order: Ref[Order]

    def handle(self) -> None:
        loaded.append(self.order.value)


class ShipMany(Job, name="references.ShipMany"):
    orders: list[Ref[Order]]
    by_name: dict[str, Ref[User]] | None = None

    async def handle(self) -> None:
        loaded.extend(ref.value for ref in self.orders)


@dataclass(frozen=True)
class Line:
    order: Ref[Order]
    after: Line | None = None


class ShipLines(Job, name="references.ShipLines"):
    line: Line
    users: frozenset[Ref[User]] = frozenset()

    def handle(self) -> None:
        assert self.line.after is not None
        loaded.extend((self.line.order.value, self.line.after.order.value))
        loaded.extend(user.value for user in self.users)


class Plain(Job, name="references.Plain"):
    numbers: list[int]


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    loaded.clear()
    before = dict(models._adapters)
    made = Shelf()
    models.add("shelf", made)
    yield made
    models._adapters = before


def test_row_35_a_payload_carries_the_key_and_never_the_row(shelf: Shelf) -> None:
    data = ShipOrder(Ref(Order(7, total=99))).encode_fields()

    assert data == {"order": {"model": "shelf:Order", "key": 7}}
    assert ShipOrder.decode_fields(data) == ShipOrder(Ref.to(Order, 7))


def test_the_row_is_read_anew_before_handle_runs(shelf: Shelf) -> None:
    shelf.rows["shelf:Order", 7] = Order(7, total=100)

    call(ShipOrder.decode_fields(ShipOrder(Ref(Order(7, total=99))).encode_fields()))

    assert loaded == [Order(7, total=100)]


async def test_references_in_lists_are_read_too(shelf: Shelf) -> None:
    shelf.rows |= {("shelf:Order", key): Order(key) for key in (1, 2)}

    await acall(ShipMany([Ref.to(Order, 1), Ref.to(Order, 2)]))

    assert loaded == [Order(1), Order(2)]


def test_references_in_dataclasses_and_sets_are_read_too(shelf: Shelf) -> None:
    first, second, user = Order(1), Order(2), User(7)
    shelf.rows = {("shelf:Order", 1): first, ("shelf:Order", 2): second, ("shelf:User", 7): user}
    line = Line(Ref(first), after=Line(Ref(second)))

    call(ShipLines.decode_fields(ShipLines(line, frozenset({Ref(user)})).encode_fields()))

    assert loaded == [first, second, user]


def test_a_row_that_is_gone_is_missing(shelf: Shelf) -> None:
    with pytest.raises(ModelMissing, match="shelf:Order 7 is gone") as caught:
        call(ShipOrder(Ref.to(Order, 7)))

    assert (caught.value.model, caught.value.key) == ("shelf:Order", 7)


def test_outside_of_a_run_a_row_is_loaded_when_it_is_asked_for(shelf: Shelf) -> None:
    reference = Ref.to(Order, 7)
    with pytest.raises(LookupError, match="is not loaded"):
        _ = reference.value

    shelf.rows["shelf:Order", 7] = Order(7)

    assert reference.load() == reference.value == Order(7)


def test_a_row_of_another_model_is_refused(shelf: Shelf) -> None:
    """Whoever can write into a queue must not choose which table a job works on."""
    with pytest.raises(InvalidJob, match="refers to shelf:User, not to shelf:Order"):
        ShipOrder.decode_fields({"order": {"model": "shelf:User", "key": 7}})


@pytest.mark.parametrize(
    "order",
    [7, None, {}, {"model": "shelf:Order"}, {"model": "shelf:Order", "key": 7, "more": 1}],
)
def test_what_is_no_reference_is_refused(shelf: Shelf, order: Any) -> None:
    with pytest.raises(InvalidJob, match="does not fit its fields"):
        ShipOrder.decode_fields({"order": order})


def test_what_no_adapter_knows_cannot_be_referred_to(shelf: Shelf) -> None:
    with pytest.raises(InvalidJob, match="no adapter knows it"):
        Ref("a text")
    with pytest.raises(InvalidJob, match="no adapter knows it"):
        Ref.to(str, 7)
    with pytest.raises(InvalidJob, match="no adapter 'cellar' is set up"):
        Ref[Order].named(Reference("cellar:Order", 7)).load()


def test_only_jobs_with_references_are_searched_for_them(shelf: Shelf) -> None:
    assert [has_references(job) for job in (ShipOrder, ShipMany, ShipLines, Plain)] == [
        True
    ] * 3 + [False]
    both = {"orders": [Ref.to(Order, 1)], "by_name": {"ada": Ref.to(User, 2)}, "n": 5}
    assert [found.key for found in references_in(both)] == [1, 2]


def test_a_reference_shows_what_it_refers_to(shelf: Shelf) -> None:
    assert repr(Ref.to(Order, 7)) == "Ref(shelf:Order 7)"
    assert repr(Ref.to(Order, 7, using="replica")) == "Ref(shelf:Order 7 in replica)"
    assert len({Ref.to(Order, 7), Ref.to(Order, 7), Ref.to(Order, 8)}) == 2
