"""What is relayed, what is refused, and what is told of it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import MalformedMessage
from broadcaster.protocol.app import AppLimits
from broadcaster.protocol.client_events import fact_of, refusal_of, relay_of, said
from broadcaster.protocol.messages import ClientEvent, parse_client_message
from broadcaster.protocol.subscription import Subscription
from broadcaster.protocol.subscription_auth import Verified

MEMBER = Verified(member_data='{"user_id":7,"user_info":{"name":"Ada"}}', user_id="7")


def subscribed(verified: Verified = MEMBER, *, active: bool = True) -> Subscription:
    subscription = Subscription(1, verified)
    subscription.active = active
    return subscription


def sent(data: object, channel: str = "private-a", name: str = "client-x") -> ClientEvent:
    return ClientEvent(channel, name, msgspec.json.encode(data))


@pytest.mark.parametrize(
    "channel",
    [
        *("private-a", "private-cache-a", "presence-a", "presence-cache-a"),
        *("private-encrypted-a", "private-encrypted-cache-a"),
    ],
)
def test_channels_that_check_who_is_in_them_take_client_events(channel: str) -> None:
    assert refusal_of(sent({}, channel), subscribed(), AppLimits()) is None


@pytest.mark.parametrize(
    "channel", ["orders", "cache-a", "privateer", "presences", "#server-to-user-ada"]
)
def test_others_do_not(channel: str) -> None:
    refusal = refusal_of(sent({}, channel), subscribed(), AppLimits())

    assert refusal == "only private and presence channels take client events"


@pytest.mark.parametrize("subscription", [None, subscribed(active=False)])
def test_only_who_was_told_of_success_may_send(subscription: Subscription | None) -> None:
    refusal = refusal_of(sent({}), subscription, AppLimits())

    assert refusal == "not subscribed to channel 'private-a'"


def test_an_app_may_have_none() -> None:
    refusal = refusal_of(sent({}), subscribed(), AppLimits(client_events=False))

    assert refusal == "The app does not have client messaging enabled"


def test_text_is_measured_as_it_is_received_and_not_as_it_is_escaped() -> None:
    limits = AppLimits(max_data_bytes=10)

    assert refusal_of(sent('"' * 10), subscribed(), limits) is None
    assert refusal_of(sent("é" * 6), subscribed(), limits) == "data has 12 bytes; 10 are allowed"
    assert refusal_of(sent([1] * 6), subscribed(), limits) == "data has 13 bytes; 10 are allowed"


def test_a_name_may_have_two_hundred_characters() -> None:
    assert refusal_of(sent({}, name="client-" + "x" * 193), subscribed(), AppLimits()) is None
    assert "201 characters; 200 are allowed" in str(
        refusal_of(sent({}, name="client-" + "x" * 194), subscribed(), AppLimits())
    )


@pytest.mark.parametrize(("signed", "shown"), [("7", 7), ('"7"', "7"), ('"é\\n"', "é\n")])
def test_the_member_is_named_in_the_json_type_of_its_id(signed: str, shown: object) -> None:
    member = Verified(member_data=f'{{"user_id":{signed}}}', user_id=str(shown))

    relay = relay_of(sent({}, "presence-a"), subscribed(member))

    assert json.loads(relay.frame)["user_id"] == shown
    assert relay.user_id == str(shown)


def test_elsewhere_nobody_is_named() -> None:
    """On private channels a signed user id is for revoking; others are not told of it."""
    relay = relay_of(sent({}), subscribed(Verified(user_id="7")))

    assert json.loads(relay.frame) == {"event": "client-x", "channel": "private-a", "data": {}}
    assert relay.user_id is None


def test_a_fact_tells_what_was_sent() -> None:
    relay = relay_of(sent({"b": [1]}, "presence-a"), subscribed())

    fact = fact_of(relay, app_id="1", socket_id="3.4", event_id=b"i" * 16, time_ms=5)

    assert (fact.name, fact.channel, fact.event) == ("client_event", "presence-a", "client-x")
    assert (fact.data, fact.socket_id, fact.user_id) == ('{"b":[1]}', "3.4", "7")
    again = fact_of(relay, app_id="1", socket_id="3.4", event_id=b"i" * 16, time_ms=6)
    assert again.id == fact.id


@given(st.text() | st.integers() | st.lists(st.text()))
def test_a_fact_has_text_as_it_was_meant_and_the_rest_as_json(data: object) -> None:
    text = said(json.dumps(data).encode())

    assert (text if isinstance(data, str) else json.loads(text)) == data


@given(st.binary(max_size=60))
def test_any_data_that_is_taken_can_be_relayed_and_told(data: bytes) -> None:
    text = b'{"event":"client-x","channel":"presence-a","data":' + data + b',"user_id":"liar"}'
    try:
        event = parse_client_message(text)
    except MalformedMessage:
        return

    assert isinstance(event, ClientEvent)
    relay = relay_of(event, subscribed())
    assert json.loads(relay.frame)["user_id"] == 7
    assert said(event.data).encode()
