"""Hints for names that are nearly right."""

from __future__ import annotations

from broadcaster.protocol.suggestion import did_you_mean

KNOWN = ("max_channels", "max_connections", "watchlist")


def test_a_name_that_is_nearly_right_gets_a_hint() -> None:
    assert did_you_mean("max_chanels", KNOWN) == " - did you mean 'max_channels'?"


def test_a_name_in_a_table_is_hinted_at_with_its_table() -> None:
    assert did_you_mean("watchlst", KNOWN, above="limits.") == " - did you mean 'limits.watchlist'?"


def test_a_name_unlike_any_gets_none() -> None:
    assert did_you_mean("colour", KNOWN) == ""
    assert did_you_mean("", ()) == ""
