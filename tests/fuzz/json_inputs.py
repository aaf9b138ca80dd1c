"""JSON that is almost what a parser wants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

scalars: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["", "1", "private-a", "presence-a", "a b", "\u0664", "__proto__", "x" * 300]),
)
values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def one_of_or_anything(*wanted: Any) -> SearchStrategy[Any]:
    return st.sampled_from(wanted) | values


def objects(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields, and sometimes others."""
    known: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=fields)
    odd = st.dictionaries(st.text(max_size=6), values, max_size=1)
    return st.builds(lambda first, second: {**second, **first}, known, odd)


def encoded(value: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    """Write with and without escapes, and with and without spaces."""

    def write(value: Any, escaped: bool, spaced: bool) -> bytes:  # noqa: FBT001 - drawn
        separators = (", ", ": ") if spaced else (",", ":")
        text = json.dumps(value, ensure_ascii=escaped, separators=separators)
        return text.encode("utf-8", "surrogatepass")

    return st.builds(write, value, st.booleans(), st.booleans())


def as_text(value: SearchStrategy[Any]) -> SearchStrategy[str]:
    return value.map(json.dumps)
