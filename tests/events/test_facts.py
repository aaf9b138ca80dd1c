"""Facts of the protocol as events of Python."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.events.facts import (
    FACT_EVENTS,
    ChannelOccupied,
    ClientEventReceived,
    MemberAdded,
    decode_event,
    event_data,
)
from broadcaster.protocol.facts import FACT_NAMES, Fact

FIELDS: dict[str, Any] = {"id": "0" * 32, "app_id": "1", "channel": "presence-a", "time_ms": 5}


def test_every_fact_has_its_event() -> None:
    assert set(FACT_EVENTS) == set(FACT_NAMES)


@pytest.mark.parametrize("name", FACT_NAMES)
def test_a_fact_becomes_its_event_and_back(name: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "member_added": {"user_id": "7"},
        "member_removed": {"user_id": "7"},
        "client_event": {"event": "client-x", "data": "{}", "socket_id": "1.2", "user_id": "7"},
        "subscription_count": {"subscription_count": 3},
    }
    own = fields.get(name, {})
    fact = Fact(name=name, **FIELDS, **own)  # type: ignore[arg-type]  # a name of the list

    event = decode_event(name, event_data(fact))

    assert dataclasses.asdict(event) == FIELDS | own


def test_a_client_event_without_a_user_says_so() -> None:
    fact = Fact(name="client_event", **FIELDS, event="client-x", data="a", socket_id="1.2")

    event = decode_event("client_event", event_data(fact))

    assert isinstance(event, ClientEventReceived)
    assert event.user_id is None


@pytest.mark.parametrize("data", [{}, FIELDS, FIELDS | {"user_id": 7}])
def test_what_does_not_fit_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="MemberAdded does not fit"):
        decode_event("member_added", data)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(InvalidJob, match="no event is called 'x'"):
        decode_event("x", FIELDS)


def test_events_cannot_be_changed() -> None:
    event = MemberAdded(**FIELDS, user_id="7")

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.user_id = "8"  # type: ignore[misc]  # what is tested
    assert not hasattr(ChannelOccupied(**FIELDS), "__dict__")
