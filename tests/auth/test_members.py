from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from uuid import UUID

import pytest
from broadcaster_auth.members import Member, member_of, user_id_of

from broadcaster.errors import ConfigurationError, InvalidPayload

WHO = UUID("12345678-1234-5678-1234-567812345678")


@dataclass
class Card:
    id: int
    name: str


class Pydantic:
    def model_dump(self) -> dict[str, object]:
        return {"id": "p", "name": "P"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (SimpleNamespace(id=7), 7),
        (SimpleNamespace(pk="7"), "7"),
        (SimpleNamespace(id=WHO), str(WHO)),
        ({"id": 7}, 7),
        ({"user_id": "u"}, "u"),
        ("ada", "ada"),
        (7, 7),
        (object(), None),
        (True, None),
        ({}, None),
    ],
)
def test_a_users_id_is_found_where_users_keep_it(user: object, expected: object) -> None:
    assert user_id_of(user) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"id": 10, "name": "Ada"}, Member(10, {"id": 10, "name": "Ada"})),
        ({"id": "10", "name": "Ada"}, Member("10", {"id": "10", "name": "Ada"})),
        ({"id": 10, "info": {"name": "Ada"}}, Member(10, {"name": "Ada"})),
        ({"name": "Ada"}, Member(7, {"name": "Ada"})),
        (True, Member(7, {"id": 7})),
        ("Ada", Member(7, "Ada")),
        (Card(3, "Ada"), Member(3, {"id": 3, "name": "Ada"})),
        (Pydantic(), Member("p", {"id": "p", "name": "P"})),
        ({"id": WHO}, Member(str(WHO), {"id": str(WHO)})),
    ],
)
def test_what_a_presence_rule_returns_makes_a_member(result: object, expected: Member) -> None:
    member = member_of(result, 7, pattern="chat.{room}")

    assert member == expected
    assert type(member.user_id) is type(expected.user_id)


@pytest.mark.parametrize("result", [True, "Ada", {"name": "Ada"}])
def test_a_member_without_any_id_is_a_mistake_in_the_rule(result: object) -> None:
    with pytest.raises(ConfigurationError, match="named no member"):
        member_of(result, None, pattern="chat.{room}")


@pytest.mark.parametrize("bad", [1.5, True, None, [1], {}])
def test_an_id_is_a_string_or_an_integer(bad: object) -> None:
    with pytest.raises(ConfigurationError, match="named no member"):
        member_of({"id": bad}, 7, pattern="chat.{room}")


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 129, "\x00"])
def test_an_id_that_clients_could_not_keep_is_refused(bad: str) -> None:
    with pytest.raises(InvalidPayload, match="user_id"):
        member_of({"id": bad}, 7, pattern="chat.{room}")


@pytest.mark.parametrize("bad", [{"id": 1, "x": object()}, {"id": 1, "x": "\ud800"}])
def test_a_member_without_a_json_form_is_refused(bad: object) -> None:
    with pytest.raises(InvalidPayload, match="no JSON form"):
        member_of(bad, 7, pattern="chat.{room}")
