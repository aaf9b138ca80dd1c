"""Options of events are checked when the class is made."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from broadcaster.errors import PublicationError
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("broadcast_onn", "broadcast_on"),
        ("broadcastOn", "broadcast_on"),
        ("broadcast_withh", "broadcast_with"),
        ("broadcastAs", "broadcast_as"),
        ("broadcast_connection", "broadcast_connections"),
        ("boradcast_on", "broadcast_on"),
        ("brodcast_with", "broadcast_with"),
    ],
)
def test_a_misspelt_option_is_refused_and_the_right_one_named(name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is no option.*did you mean '{meant}'"):
        type("Shipped", (ShouldBroadcast,), {name: lambda self: "orders"})


def test_a_field_may_not_take_a_reserved_name() -> None:
    with pytest.raises(TypeError, match="reserved"):

        @dataclass
        class _Shipped(ShouldBroadcast):
            broadcast_id: int


def test_a_misspelling_in_a_mixin_is_found_too() -> None:
    class Mixin:
        def broadcast_witth(self) -> dict[str, int]:
            return {}

    with pytest.raises(TypeError, match="broadcast_with"):
        type("Shipped", (Mixin, ShouldBroadcast), {})


@pytest.mark.parametrize("value", ["orders", property(lambda self: "orders"), 7, None])
def test_an_option_must_be_a_method(value: object) -> None:
    with pytest.raises(TypeError, match="must be a method"):
        type("Shipped", (ShouldBroadcast,), {"broadcast_as": value})


def test_an_option_must_not_be_a_coroutine() -> None:
    """It would be awaited by nobody, and sync code asks it too."""

    async def broadcast_on(self: object) -> str:
        return "orders"

    with pytest.raises(TypeError, match="plain method"):
        type("Shipped", (ShouldBroadcast,), {"broadcast_on": broadcast_on})


def test_static_and_class_methods_are_methods() -> None:
    class Shipped(ShouldBroadcast):
        @staticmethod
        def broadcast_on() -> str:
            return "orders"

        @classmethod
        def broadcast_as(cls) -> str:
            return cls.__name__

    assert Shipped().broadcast_on() == "orders"


def test_every_option_but_the_channel_has_a_default() -> None:
    class Shipped(ShouldBroadcast):
        pass

    event = Shipped()

    assert event.broadcast_with() is None
    assert event.broadcast_as() is None
    assert event.broadcast_when() is True
    assert event.broadcast_queue() is None
    assert event.broadcast_connections() == (None,)
    with pytest.raises(PublicationError, match=r"define broadcast_on\(\)"):
        event.broadcast_on()


def test_a_slotted_dataclass_and_a_struct_can_be_events() -> None:
    @dataclass(slots=True, frozen=True)
    class Slotted(ShouldBroadcast):
        order: int

        def broadcast_on(self) -> str:
            return "orders"

    class Struct(msgspec.Struct, ShouldBroadcastNow):
        order: int

        def broadcast_on(self) -> str:
            return "orders"

    assert Slotted(1).order == Struct(1).order
