from __future__ import annotations

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from broadcaster.protocol.ids import derived_id, may_be_id, uuid7

times = st.floats(0, 4_000_000_000)
ten_bytes = st.binary(min_size=10, max_size=10)


@given(times, ten_bytes)
def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front(now: float, random: bytes) -> None:
    parsed = uuid.UUID(uuid7(now, random))

    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == int(now * 1000)


def test_the_example_of_the_rfc_comes_out() -> None:
    """RFC 9562, appendix A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F."""
    random = bytes.fromhex("0CC318C4DC0C0C07398F")

    assert uuid7(0x017F22E279B0 / 1000, random) == "017f22e279b07cc398c4dc0c0c07398f"


@given(st.integers(0, 4_000_000_000_000), st.integers(1, 10_000), ten_bytes, ten_bytes)
def test_ids_sort_by_time(first_ms: int, later: int, one: bytes, two: bytes) -> None:
    assert uuid7(first_ms / 1000, one) < uuid7((first_ms + later + 1) / 1000, two)


@given(times, ten_bytes)
def test_every_id_is_32_lower_case_hex_digits(now: float, random: bytes) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", uuid7(now, random))


def test_a_derived_id_is_the_same_each_time_and_for_nothing_else() -> None:
    ids = {derived_id(*parts) for parts in (("a", 1), ("a", 2), ("a1",), ("a", 1, ""), ("\ud800",))}

    assert derived_id("a", 1) == derived_id("a", 1)
    assert len(ids) == 5
    assert {len(one) for one in ids} == {32}


@given(times, ten_bytes)
def test_ids_may_be_ids_and_other_text_may_not(now: float, random: bytes) -> None:
    assert may_be_id(uuid7(now, random))
    assert may_be_id(derived_id("a", 1))
    assert not any(map(may_be_id, ("", "a b", "ü", "*", "{j}", "a\n", "x" * 129)))
