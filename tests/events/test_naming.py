from __future__ import annotations

import gc
from dataclasses import dataclass

import pytest

from broadcaster.events.facts import MemberAdded
from broadcaster.events.naming import (
    class_among,
    event,
    event_name,
    named_event,
    pattern_of,
)


class OrderPlaced: ...


class HTTPRequestRefused: ...


class Order2Go: ...


@event("invoice.paid")
class Paid: ...


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (OrderPlaced, "order.placed"),
        (HTTPRequestRefused, "http.request.refused"),
        (Order2Go, "order2.go"),
        (Paid, "invoice.paid"),
        (MemberAdded, "member_added"),
    ],
)
def test_an_event_is_called_by_the_words_of_its_class_or_as_it_was_named(
    cls: type, name: str
) -> None:
    assert event_name(cls) == name


def test_only_a_chosen_name_leads_to_its_class() -> None:
    assert named_event("invoice.paid") is Paid
    assert named_event("order.placed") is None


def test_two_classes_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match=r"two events are called 'invoice.paid'.*another name"):

        @event("invoice.paid")
        class Other: ...

    assert named_event("invoice.paid") is Paid


@pytest.mark.parametrize("name", ["", "order.*"])
def test_a_pattern_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        event(name)


def test_what_derives_from_a_class_is_found_by_name() -> None:
    class Base: ...

    class OrderShipped(Base): ...

    class OrderShippedLate(OrderShipped): ...

    assert class_among([Base], "order.shipped.late") is OrderShippedLate
    assert class_among([Base], "base") is Base
    assert class_among([OrderPlaced], "order.shipped") is None


def test_a_slotted_dataclass_is_found_as_it_is_and_not_as_it_was() -> None:
    """`dataclass(slots=True)` makes a second class, and the first one lingers."""
    gc.disable()
    try:

        class Base: ...

        @dataclass(slots=True)
        class OrderLost(Base):
            order_id: int

        assert class_among([Base], "order.lost") is OrderLost
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("order.*", "order.placed", True),
        ("order.*", "order.item.added", True),
        ("order.*", "order", False),
        ("order.*", "reorder.placed", False),
        ("*", "anything", True),
        ("*.placed", "order.placed", True),
        ("order.placed", "order.placed", True),
        ("order.placed", "orderXplaced", False),
        ("order.[a-z]", "order.p", False),
    ],
)
def test_a_star_stands_for_anything_and_all_else_for_itself(
    pattern: str, name: str, *, fits: bool
) -> None:
    assert (pattern_of(pattern).fullmatch(name) is not None) is fits
