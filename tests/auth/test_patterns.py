from __future__ import annotations

from enum import Enum
from uuid import UUID

import pytest
from broadcaster_auth.patterns import compile_pattern, parameter_names
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Team(Enum):
    RED = "red"
    BLUE = "deep-blue"


class Level(Enum):
    ONE = 1
    TWO = 2


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("something", "something", {}),
        ("something.{id}", "something.23", {"id": "23"}),
        ("something.{id}.test", "something.23.test", {"id": "23"}),
        ("something.{id}.test.{id2}", "something.23.test.42", {"id": "23", "id2": "42"}),
        ("something-{id}:test-{id2}", "something-23:test-42", {"id": "23", "id2": "42"}),
        ("something-{id}.test.{id2}", "something-23.test.42", {"id": "23", "id2": "42"}),
        ("App.Models.User.{id}", "App.Models.User.7", {"id": "7"}),
        ("cache-{x}", "cache-orders", {"x": "orders"}),
        ("{a}-{b}", "x-y-z", {"a": "x-y", "b": "z"}),
    ],
)
def test_a_name_that_fits_gives_its_parameters(
    pattern: str, name: str, expected: dict[str, str]
) -> None:
    assert compile_pattern(pattern).match(name) == expected


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("something.{id}.test.{id2}", "something..test.42"),
        ("something.{id}.test.{id2}", "something.23.test."),
        ("order.{id}", "customer.order.1"),
        ("order.{id}", "order.1.2"),
        ("order", "order\n"),
        ("order.{id}", "orderX1"),
        ("order.{id}", "order."),
        ("order", "orders"),
        ("order", ""),
    ],
)
def test_a_parameter_stays_between_two_dots_and_the_whole_name_must_fit(
    pattern: str, name: str
) -> None:
    assert compile_pattern(pattern).match(name) is None


@pytest.mark.parametrize(
    ("pattern", "types", "name", "expected"),
    [
        ("o.{n:int}", {}, "o.42", 42),
        ("o.{n:int}", {}, "o.0", 0),
        ("o.{n:int}", {}, "o.-3", -3),
        ("o.{n}", {"n": int}, "o.42", 42),
        ("o.{n:str}", {"n": int}, "o.42", "42"),
        ("o.{ n : int }", {}, "o.42", 42),
        (
            "o.{n:uuid}",
            {},
            "o.12345678-1234-5678-1234-56781234abcd",
            UUID("12345678-1234-5678-1234-56781234abcd"),
        ),
        ("o.{n}", {"n": Team}, "o.deep-blue", Team.BLUE),
        ("o.{n}", {"n": Level}, "o.2", Level.TWO),
    ],
)
def test_a_parameter_arrives_in_its_type(
    pattern: str, types: dict[str, object], name: str, expected: object
) -> None:
    assert compile_pattern(pattern, types).match(name) == {"n": expected}


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (int, "007"),
        (int, "+7"),
        (int, "-0"),
        (int, "7.0"),
        (int, "1_000"),
        (int, " 7"),
        (int, "٤٢"),
        (int, "x"),
        (UUID, "12345678-1234-5678-1234-56781234ABCD"),
        (UUID, "12345678123456781234567812345678"),
        (Team, "green"),
        (Team, "RED"),
        (Team, "re"),
        (Level, "01"),
    ],
)
def test_what_is_not_the_one_form_of_a_value_does_not_match(type_: type, text: str) -> None:
    """Else two channels would share one permission."""
    assert compile_pattern("o.{n}", {"n": type_}).match(f"o.{text}") is None


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "empty"),
        ("a.{b", "brace"),
        ("a.b}", "brace"),
        ("a.{{b}}", "brace"),
        ("a.{}", "no parameter name"),
        ("a.{1x}", "no parameter name"),
        ("a.{über}", "no parameter name"),
        ("a.{b}.{b}", "two parameters"),
        ("a.{b}{c}", "between two parameters"),
        ("{a}-{b}-{c}-{d}", "more than 3"),
        ("a.{b:float}", "unknown type 'float'"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_when_it_is_written(pattern: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        compile_pattern(pattern)


@pytest.mark.parametrize("type_", [dict, bytes, "Order", None])
def test_a_type_that_names_cannot_carry_is_refused(type_: object) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read as"):
        compile_pattern("a.{b}", {"b": type_})


def test_parameter_names_are_read_without_compiling() -> None:
    assert parameter_names("a.{b}.{c:int}-{ d }") == ("b", "c", "d")


@fuzzed
@given(st.text(max_size=40))
def test_any_pattern_compiles_or_is_refused_as_ours(text: str) -> None:
    try:
        pattern = compile_pattern(text)
    except ConfigurationError:
        return
    assert pattern.match(text) is None or isinstance(pattern.match(text), dict)


@fuzzed
@given(st.text(alphabet="ab.-7{}", max_size=60))
def test_any_name_matches_or_does_not(name: str) -> None:
    found = compile_pattern("a.{x}-{y:int}.{z}").match(name)

    assert found is None or name == "a.{x}-{y}.{z}".format(**found)


@fuzzed
@given(st.integers())
def test_a_number_and_its_name_are_one_to_one(number: int) -> None:
    assert compile_pattern("o.{n:int}").match(f"o.{number}") == {"n": number}
