"""How who is online is named and told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broadcaster.errors import InvalidChannel
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.watchlist import (
    CAME,
    LEFT,
    encode_watchlist_events,
    is_online_list,
    last_said,
    online_list,
)
from broadcaster.protocol.websocket import encode_text


def events_of(frame: bytes) -> list[dict[str, Any]]:
    decoded = json.loads(frame)
    assert set(decoded) == {"event", "data"}
    assert decoded["event"] == "pusher_internal:watchlist_events"
    events: list[dict[str, Any]] = json.loads(decoded["data"])["events"]
    return events


def test_both_kinds_of_change_are_told_in_one_frame_without_a_channel() -> None:
    assert events_of(encode_watchlist_events(["a", "b"], ["c"])) == [
        {"name": "online", "user_ids": ["a", "b"]},
        {"name": "offline", "user_ids": ["c"]},
    ]


def test_what_did_not_happen_is_not_told() -> None:
    assert [event["name"] for event in events_of(encode_watchlist_events([], ["c"]))] == ["offline"]
    assert [event["name"] for event in events_of(encode_watchlist_events(["c"], []))] == ["online"]


@pytest.mark.parametrize("user_id", ["1", "online", "offline", "x" * 128])
def test_a_list_is_named_after_its_user_and_is_no_channel(user_id: str) -> None:
    name = online_list(user_id)

    assert is_online_list(name)
    assert not is_online_list(f"#server-to-user-{user_id}")
    with pytest.raises(InvalidChannel, match="reserved"):
        parse_channel(name)


def test_the_last_of_what_is_joined_counts() -> None:
    came, left = encode_text(CAME), encode_text(LEFT)

    assert last_said(came) is last_said(left + came) is True
    assert last_said(left) is last_said(came + left) is False
    assert last_said(came + encode_text(b"{}")) is None
