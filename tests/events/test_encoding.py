"""Data has an exact JSON form, or an error that names the field."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidPayload, PayloadTooLarge, PublicationError
from broadcaster.events.encoding import encode_data, public_fields

LIMIT = 10_240


def encode(data: object) -> str:
    return encode_data(data, limit=LIMIT)


class Colour(enum.Enum):
    RED = "red"


class SafeText(str):
    """A str subclass as template engines make them."""

    __slots__ = ()


@dataclass
class Order:
    id: int
    customer: Any = None


class Item(msgspec.Struct):
    sku: str


class PydanticLike:
    """What a pydantic model looks like from outside."""

    model_fields: dict[str, object] = {"id": None, "at": None}  # noqa: RUF012 - as pydantic has it

    def __init__(self, number: float = 7) -> None:
        self.id = number
        self.at = dt.date(2026, 1, 2)

    def model_dump(self, *, mode: str) -> dict[str, object]:
        if mode == "python":
            return {"id": self.id, "at": (self.at,)}
        number = self.id if math.isfinite(self.id) else None
        return {"id": number, "at": self.at.isoformat()}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"a": 1, "b": [True, None, 1.5]}, '{"a":1,"b":[true,null,1.5]}'),
        ({"ä": "✓"}, '{"ä":"✓"}'),
        ({1: "a"}, '{"1":"a"}'),
        ([1, (2, 3)], "[1,[2,3]]"),
        ("text", '"text"'),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), '"2026-01-02T03:04:00Z"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Colour.RED, '"red"'),
        (Order(1, Item("x")), '{"id":1,"customer":{"sku":"x"}}'),
        (SafeText("<b>"), '"<b>"'),
        (OrderedDict(a=deque([1])), '{"a":[1]}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ({"model": PydanticLike()}, '{"model":{"id":7,"at":"2026-01-02"}}'),
        ({"big": 2**70}, '{"big":1180591620717411303424}'),
    ],
)
def test_common_values_have_a_json_form(data: object, text: str) -> None:
    assert encode(data) == text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"a": {"price": float("nan")}}, r"data\.a\.price is nan"),
        ({"a": [1.0, float("-inf")]}, r"data\.a\[1\] is -inf"),
        ({"name": "x\ud800"}, r"data\.name contains a lone surrogate at character 1"),
        ({"\udfff": 1}, "data has the key"),
        ({"file": b"\x00"}, r"data\.file is bytes"),
        ({"file": bytearray(b"a")}, r"data\.file is bytearray"),
        ({"order": object()}, r"data\.order is of type object, which has no JSON form"),
        ({(1, 2): 3}, "data has the key"),
        (Order(1, {"when": object()}), r"data\.customer\.when is of type object"),
        (Order(1, float("nan")), r"data\.customer is nan"),
        ({"f": print}, r"data\.f is of type builtin_function_or_method"),
        ({"m": PydanticLike(float("inf"))}, r"data\.m\.id is inf"),
        (Item("\ud800"), r"data\.sku contains a lone surrogate"),
        ({"t": Order}, r"data\.t is of type type"),
    ],
)
def test_what_has_no_json_form_is_named_by_its_path(data: object, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        encode(data)


def test_data_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(InvalidPayload, match="nested too deeply, or contains itself"):
        encode({"a": loop})


def test_data_nested_too_deeply_is_refused() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(InvalidPayload, match="nested too deeply"):
        encode(deep)


def test_data_over_the_limit_names_its_largest_field() -> None:
    with pytest.raises(PayloadTooLarge, match="largest field is 'items'") as caught:
        encode({"id": 1, "items": ["x" * 100] * 200, "note": "short"})

    assert caught.value.field == "items"
    assert caught.value.limit == LIMIT
    assert caught.value.size > LIMIT


def test_a_large_text_has_no_field_to_name() -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        encode("x" * LIMIT)

    assert caught.value.field is None


def test_the_limit_counts_bytes_not_characters() -> None:
    assert encode_data("ä" * 4, limit=10)
    with pytest.raises(PayloadTooLarge):
        encode_data("ä" * 5, limit=10)


def test_private_fields_stay_private() -> None:
    @dataclass
    class Shipped:
        order: int
        _cache: dict[str, int] = field(default_factory=dict)

    class Plain:
        def __init__(self) -> None:
            self.order = 7
            self._secret = "s"

    class Attrs:
        __attrs_attrs__ = (type("Attribute", (), {"name": "order"}),)
        order = 7

    assert public_fields(Shipped(7)) == {"order": 7}
    assert public_fields(Plain()) == {"order": 7}
    assert public_fields(Item("x")) == {"sku": "x"}
    assert public_fields(Attrs()) == {"order": 7}
    assert public_fields(PydanticLike()) == {"id": 7, "at": dt.date(2026, 1, 2)}
    assert public_fields(object()) == {}


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs", "Lu"]))
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.just(object())
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.floats(), inner)
        | st.frozensets(st.integers())
        | st.builds(Order, st.integers(), inner)
    ),
    max_leaves=12,
)


@given(_anything)
def test_any_data_is_encoded_or_refused_and_nothing_else(data: object) -> None:
    """The result is strict JSON in valid UTF-8 within the limit."""

    def refuse(constant: str) -> object:
        raise AssertionError(constant)

    try:
        text = encode(data)
    except PublicationError:
        return

    json.loads(text.encode(), parse_constant=refuse)
    assert len(text.encode()) <= LIMIT
