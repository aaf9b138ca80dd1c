from __future__ import annotations

import functools
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth.rules import check_signature

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from somewhere_else import User  # type: ignore[import-not-found]  # as in users' code


class Team(Enum):
    RED = "red"


def test_types_come_from_annotations_even_beside_names_only_type_checkers_know() -> None:
    def rule(user: User, team: Team, number: int, rest, anything: Any) -> bool:  # type: ignore[no-untyped-def]  # an untyped parameter is the point
        return True

    assert check_signature("{team}.{number}.{rest}.{anything}", rule) == {
        "team": Team,
        "number": int,
        "anything": str,
    }


def test_a_rule_may_take_its_parameters_by_keyword() -> None:
    assert check_signature("a.{b}", lambda user, **parameters: True) == {}
    assert check_signature("a.{b}", lambda user, *, b: True) == {}


def test_a_wrapped_rule_keeps_its_types() -> None:
    def rule(user: object, b: Team) -> bool:
        return True

    @functools.wraps(rule)
    def wrapper(*args: object, **kwargs: object) -> bool:
        return True

    assert check_signature("a.{b}", wrapper) == {"b": Team}


def test_parameters_with_defaults_need_not_be_in_the_pattern() -> None:
    assert check_signature("a", lambda user, verbose=False: True) == {}


def test_a_rule_without_a_user_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must take the user"):
        check_signature("a", lambda: True)
    with pytest.raises(ConfigurationError, match="must take the user"):
        check_signature("a", lambda **kw: True)


def test_a_parameter_missing_in_the_rule_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must have a parameter named 'room'"):
        check_signature("chat.{room}", lambda user: True)


def test_a_parameter_missing_in_the_pattern_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="wants 'page', which is not in the pattern"):
        check_signature("chat.{room}", lambda user, room, page: True)


def test_an_annotation_that_cannot_be_resolved_is_refused_with_what_to_do() -> None:
    def rule(user: object, who: User) -> bool:
        return True

    with pytest.raises(ConfigurationError, match="outside of TYPE_CHECKING"):
        check_signature("a.{who}", rule)
