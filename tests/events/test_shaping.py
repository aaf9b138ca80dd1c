"""From an event to finished publications, without sending any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.contracts.application import BroadcastRules
from broadcaster.errors import InvalidSocketId, PayloadTooLarge, ProtocolError, PublicationError
from broadcaster.events.channels import PresenceChannel, PrivateChannel
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow, ShouldRescue
from broadcaster.events.shaping import (
    Draft,
    class_name_on_wire,
    draft,
    finish,
    literal_name,
)
from broadcaster.protocol.encryption import NONCE_BYTES, TAG_BYTES, encode_sealed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.contracts.publisher import Publication


@dataclass
class OrderShipped(ShouldBroadcast):
    order_id: int
    user_id: int = 3
    _note: str = "internal"

    def broadcast_on(self) -> Any:
        return PrivateChannel(f"orders.{self.user_id}")


def said_by(event: ShouldBroadcast, namespace: str = "App.Events") -> Draft:
    said = draft(event, namespace=namespace)
    assert said is not None
    return said


def shape(
    said: Draft, *, rules: BroadcastRules | None = None, socket_id: str | None = None
) -> list[Publication]:
    ids = (f"{number:032x}" for number in count(1))
    return finish(
        said,
        app_id="1",
        rules=rules or BroadcastRules(),
        socket_id=socket_id,
        new_id=lambda: next(ids),
        encrypt=lambda channel, data: f"{channel} hides {data}",
    )


def publication(said: Draft) -> Publication:
    (only,) = shape(said)
    return only


def test_an_event_becomes_one_publication() -> None:
    made = publication(said_by(OrderShipped(7)))

    assert made.channels == ("private-orders.3",)
    assert made.name == "App\\Events\\OrderShipped"
    assert made.data == '{"order_id":7,"user_id":3}'
    assert made.app_id == "1"
    assert made.id == f"{1:032x}"
    assert made.socket_id is None


def test_an_event_may_say_its_name_and_data() -> None:
    class Status(Enum):
        SHIPPED = "order.shipped"

    class Shipped(OrderShipped):
        def broadcast_as(self) -> Status:
            return Status.SHIPPED

        def broadcast_with(self) -> dict[str, int]:
            return {"id": self.order_id}

    made = publication(said_by(Shipped(7)))

    assert made.name == "order.shipped"
    assert made.data == '{"id":7}'


def test_empty_data_is_data() -> None:
    class Shipped(OrderShipped):
        def broadcast_with(self) -> dict[str, int]:
            return {}

    assert publication(said_by(Shipped(7))).data == "{}"


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("App.Events", "App\\Events\\OrderShipped"),
        ("App\\Events", "App\\Events\\OrderShipped"),
        ("\\App\\Events", "App\\Events\\OrderShipped"),
        ("Shop", "Shop\\OrderShipped"),
        ("", "OrderShipped"),
    ],
)
def test_the_default_name_is_the_one_that_echo_listens_for(namespace: str, name: str) -> None:
    assert said_by(OrderShipped(7), namespace).name == name


def test_what_is_no_event_is_told_how_to_become_one() -> None:
    with pytest.raises(TypeError, match=r"dict is no event.* on\(channel\)"):
        draft({"id": 1}, namespace="App.Events")


def test_an_event_that_says_no_is_not_sent() -> None:
    class Quiet(OrderShipped):
        def broadcast_when(self) -> bool:
            return False

    class Nowhere(OrderShipped):
        def broadcast_on(self) -> list[str]:
            return []

    assert draft(Quiet(7), namespace="") is None
    assert draft(Nowhere(7), namespace="") is None


def test_bases_and_options_decide_the_way() -> None:
    class Now(OrderShipped, ShouldBroadcastNow, ShouldRescue):
        def broadcast_queue(self) -> str:
            return "low"

        def broadcast_connections(self) -> Iterable[str | None]:
            return ("log", None, "log")

    plain, said = said_by(OrderShipped(7)), said_by(Now(7))

    assert (plain.now, plain.rescue, plain.queue, plain.connections) == (
        False,
        False,
        None,
        (None,),
    )
    assert (said.now, said.rescue, said.queue) == (True, True, "low")
    assert [one.connection for one in shape(said)] == ["log", None]


def test_one_connection_may_be_plain_text() -> None:
    class Logged(OrderShipped):
        def broadcast_connections(self) -> str:
            return "log"

    assert said_by(Logged(7)).connections == ("log",)


def test_more_than_a_hundred_channels_become_several_publications() -> None:
    class Everywhere(OrderShipped):
        def broadcast_on(self) -> list[PresenceChannel]:
            return [PresenceChannel(str(number)) for number in range(250)]

    made = shape(said_by(Everywhere(7)))

    assert [len(one.channels) for one in made] == [100, 100, 50]
    assert len({one.id for one in made}) == 3
    assert made[2].channels[-1] == "presence-249"


ENCRYPTED = Draft(
    channels=("private-encrypted-a", "orders", "private-encrypted-b", "private-c"),
    name="e",
    data={"n": 1},
)


def test_each_encrypted_channel_has_a_publication_of_its_own() -> None:
    """Each has its own key, and what others read must not be readable there."""
    made = shape(ENCRYPTED)

    assert [(one.channels, one.data) for one in made] == [
        (("orders", "private-c"), '{"n":1}'),
        (("private-encrypted-a",), 'private-encrypted-a hides {"n":1}'),
        (("private-encrypted-b",), 'private-encrypted-b hides {"n":1}'),
    ]
    assert len({one.id for one in made}) == 3


def test_encrypted_channels_alone_leave_nothing_readable() -> None:
    made = shape(Draft(channels=("private-encrypted-cache-a",), name="e", data={"n": 1}))

    assert [one.channels for one in made] == [("private-encrypted-cache-a",)]


def test_the_limit_holds_for_the_encrypted_form() -> None:
    data = {"a": "x" * 7_581}
    shape(replace(ENCRYPTED, data=data))
    shape(replace(ENCRYPTED, data={"a": "x" * 10_000}, channels=("orders",)))

    with pytest.raises(PayloadTooLarge, match=r"to be encrypted.*10,240 bytes") as caught:
        shape(replace(ENCRYPTED, data={"a": "x" * 7_800}))

    assert caught.value.field == "a"
    largest = bytes(caught.value.limit + TAG_BYTES)
    assert len(encode_sealed(bytes(NONCE_BYTES), largest)) <= 10_240


def test_the_limit_of_the_settings_counts() -> None:
    with pytest.raises(PayloadTooLarge, match=r"App\\Events\\OrderShipped.*'order_id'"):
        shape(said_by(OrderShipped(10**20)), rules=BroadcastRules(max_data_bytes=30))


def test_a_malformed_socket_id_is_refused() -> None:
    with pytest.raises(InvalidSocketId):
        shape(said_by(OrderShipped(7)), socket_id="1.2:private-x")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("x" * 201, "201 characters"),
        (".order.shipped", r"the dot belongs to Echo's .listen"),
        ("pusher:ping", "reserved"),
        ("pusher_internal:member_added", "reserved"),
        ("a\ud800", "lone surrogate"),
    ],
)
def test_a_name_that_no_page_could_hear_is_refused(name: str, says: str) -> None:
    with pytest.raises(PublicationError, match=says) as caught:
        shape(Draft(channels=("a",), name=name, data={}))

    assert caught.value.code == "invalid_event_name"


def test_a_name_that_is_no_text_is_refused() -> None:
    class Shipped(OrderShipped):
        def broadcast_as(self) -> Any:
            return 7

    with pytest.raises(PublicationError, match="returned int, not text"):
        draft(Shipped(7), namespace="")


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ("OrderShipped", "App\\Events\\OrderShipped"),
        ("orders.Shipped", "App\\Events\\orders\\Shipped"),
        (".order.shipped", "order.shipped"),
        ("\\Shop\\OrderShipped", "Shop\\OrderShipped"),
        ("Shop\\OrderShipped", "Shop\\OrderShipped"),
        ("", ""),
    ],
)
def test_names_given_as_to_echo_become_what_echo_binds(given: str, wire: str) -> None:
    assert literal_name(given, "App.Events") == wire


def test_a_class_name_without_a_namespace_stands_alone() -> None:
    assert class_name_on_wire("OrderShipped", "") == "OrderShipped"


@given(
    channels=st.lists(st.text() | st.sampled_from(["a", "private-b"]), max_size=4),
    name=st.none() | st.text(st.characters()),
    data=st.dictionaries(st.text(st.characters()), st.floats() | st.text(st.characters())),
    socket_id=st.none() | st.text() | st.just("1.2"),
)
def test_any_event_is_shaped_or_refused_and_nothing_else(
    channels: list[str], name: str | None, data: dict[str, object], socket_id: str | None
) -> None:
    class Anything(ShouldBroadcast):
        def broadcast_on(self) -> list[str]:
            return channels

        def broadcast_as(self) -> str | None:
            return name

        def broadcast_with(self) -> dict[str, object]:
            return data

    try:
        said = draft(Anything(), namespace="App.Events")
        made = [] if said is None else shape(said, socket_id=socket_id)
    except (PublicationError, ProtocolError):
        return

    for one in made:
        assert one.name.encode()
        assert one.data.encode()
        assert set(one.channels) <= set(channels)
