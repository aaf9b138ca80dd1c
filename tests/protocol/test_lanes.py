"""Which lane something belongs to: the same everywhere, for ever."""

from __future__ import annotations

import pytest

from broadcaster.protocol.lanes import (
    by_lane,
    is_queue,
    lane_name,
    lane_names,
    lane_of,
    ordered_queue,
    parts_of,
    split_lane,
)


@pytest.mark.parametrize(
    ("key", "lane"), [("", 0), ("orders.1", 5), ("private-orders.7", 14), ("ü", 5), ("\ud800", 8)]
)
def test_a_key_has_the_same_lane_in_every_version(key: str, lane: int) -> None:
    assert lane_of(key) == lane
    assert ordered_queue("b", key) == f"b#{lane}"


def test_keys_spread_over_all_lanes() -> None:
    used = [lane_of(f"orders.{number}") for number in range(1_600)]

    assert {used.count(lane) > 60 for lane in range(16)} == {True}


def test_names_of_lanes_can_be_read_back() -> None:
    assert lane_names("b", 3) == ["b#0", "b#1", "b#2"]
    assert split_lane(lane_name("b", 15)) == ("b", 15)


def test_all_of_a_queue_is_itself_and_the_lanes_that_it_has_or_had() -> None:
    known = ["a#1", "b", "b#9", "b#0", "bb#1"]
    assert parts_of("b", 2, known) == ["b", "b#0", "b#1", "b#9"]
    assert parts_of("b#9", 2, known) == ["b#9"]
    assert parts_of("new", 0, known) == ["new"]


@pytest.mark.parametrize("name", ["b", "b#", "b#01", "b#-1", "b#256", "#1", "b#1#2", "b#x"])
def test_other_names_are_no_lanes(name: str) -> None:
    assert split_lane(name) == (name, None)


@pytest.mark.parametrize("name", ["mail", "a.b-c_d@e", "q#0", "q#255", "q" * 128])
def test_queues_and_lanes_may_have_these_names(name: str) -> None:
    assert is_queue(name)


@pytest.mark.parametrize("name", ["", "a}b", "a b", "a\n", "q#256", "q#01", "q#", "é", "q" * 129])
def test_queues_may_not_have_these_names(name: str) -> None:
    assert not is_queue(name)


def test_channels_keep_their_order_within_a_lane() -> None:
    channels = [f"c{number}" for number in range(40)]

    lanes = by_lane(channels, 4)

    assert sorted(channel for mine in lanes.values() for channel in mine) == sorted(channels)
    for lane, mine in lanes.items():
        assert list(mine) == [channel for channel in channels if lane_of(channel, 4) == lane]
