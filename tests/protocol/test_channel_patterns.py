"""Patterns with a star: what grants cover, and what revocations mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.protocol.channel_patterns import covers, matches


@pytest.mark.parametrize(
    ("pattern", "channel", "expected"),
    [
        ("private-orders.42", "private-orders.42", True),
        ("private-orders.42", "private-orders.421", False),
        ("private-orders.*", "private-orders.42", True),
        ("private-orders.*", "private-orders.42.items", False),
        ("private-orders.*", "private-orders.", False),
        ("private-orders.*", "private-orders", False),
        ("private-*.items", "private-42.items", True),
        ("private-*", "private-x", True),
        ("private-*", "private-x.y", False),
        ("private-a*b*c", "private-a1b2c", True),
        ("private-a*b*c", "private-abbcc", True),
        ("private-a*b*c", "private-abc", False),
        ("private-a*a", "private-aa", False),
        ("private-a*a", "private-aaa", True),
        ("private-**", "private-ab", True),
        ("private-**", "private-a", False),
        ("presence-chat.*", "presence-chat.1", True),
        ("presence-chat.*", "private-chat.1", False),
        ("private-cache-*", "private-cache-x", True),
        ("private-encrypted-x", "private-encrypted-x", True),
        # never the prefix
        ("*", "private-x", False),
        ("*private-x", "private-x", False),
        ("p*-x", "private-x", False),
        ("pr*", "private-x", False),
        ("private*", "private-x", False),
        ("private-*", "private-cache-x", False),
        ("private-ca*", "private-cache-x", False),
        ("private-cach*-x", "private-cache-x", False),
        ("presence-*", "presence-cache-x", False),
        # never encrypted channels or '#' names
        ("private-*", "private-encrypted-x", False),
        ("private-enc*", "private-encrypted-x", False),
        ("private-encrypted-*", "private-encrypted-x", False),
        ("private-encrypted-cache-*", "private-encrypted-cache-x", False),
        ("#server-to-user-*", "#server-to-user-1", False),
        ("#server-to-user-1", "#server-to-user-1", False),
        ("*", "#server-to-user-1", False),
        # outside the grammar
        ("private-a:*", "private-a:b", False),
        ("private-*", "private-a:b", False),
        ("private-x\n", "private-x", False),
        ("", "private-x", False),
    ],
)
def test_a_star_stays_within_its_segment(pattern: str, channel: str, expected: bool) -> None:  # noqa: FBT001 - table
    assert covers(pattern, channel) is expected


@given(st.text(alphabet="*.ax-", max_size=30), st.text(alphabet=".ax-", max_size=30))
def test_any_pattern_meets_any_name(pattern: str, name: str) -> None:
    covered = covers(f"private-{pattern}", f"private-{name}")

    assert not covered or pattern.count(".") == name.count(".")


@pytest.mark.parametrize(
    ("pattern", "channel"),
    [
        ("private-encrypted-*", "private-encrypted-x"),
        ("private-cache-*", "private-cache-x"),
        ("presence-chat.*", "presence-chat.1"),
        ("#server-to-user-1", "#server-to-user-1"),
    ],
)
def test_a_pattern_matches_more_than_a_grant_may_cover(pattern: str, channel: str) -> None:
    """A revocation that reached less far than its words would be a hole."""
    assert matches(pattern, channel)


@given(st.text(alphabet="*.ax-", max_size=30), st.text(alphabet=".ax-", max_size=30))
def test_what_a_grant_covers_its_revocation_matches(pattern: str, name: str) -> None:
    where = f"private-{pattern}", f"private-{name}"

    assert matches(*where) or not covers(*where)
