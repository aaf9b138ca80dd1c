from __future__ import annotations

import pytest
from broadcaster_auth import Allowed

from broadcaster.demo.people import Person, person_named, rules
from broadcaster.errors import Denied

ADA = Person("ada")


@pytest.mark.parametrize("name", ["ada", "ada-king", "a", "7", "a" * 24])
def test_any_name_is_believed(name: str) -> None:
    assert person_named(name) == Person(name)


@pytest.mark.parametrize("name", ["", "Ada", "ada king", "-ada", "a" * 25, "ada\n", "ädä", "a.b"])
def test_what_is_no_name_is_nobody(name: str) -> None:
    assert person_named(name) is None


def test_a_name_is_shown_with_capitals() -> None:
    assert Person("ada-king").name == "Ada King"


def test_everybody_may_hear_of_their_own_orders_only() -> None:
    own = rules.authorize(ADA, "private-orders.ada", socket_id="1.2")
    other = rules.authorize(ADA, "private-orders.grace", socket_id="1.2")

    assert isinstance(own, Allowed)
    assert isinstance(other, Denied)


def test_everybody_may_enter_a_room_and_is_seen_by_name() -> None:
    entered = rules.authorize(ADA, "presence-chat.lobby", socket_id="1.2")

    assert isinstance(entered, Allowed)
    assert entered.member is not None
    assert entered.member.user_id == "ada"
    assert entered.member.info == {"id": "ada", "name": "Ada"}
