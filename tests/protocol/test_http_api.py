"""Bodies of the HTTP API: typed results or refusals with a stable code, nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.errors import (
    InvalidChannel,
    InvalidSignature,
    InvalidSocketId,
    MalformedMessage,
    ProtocolError,
    RequestRefused,
)
from broadcaster.protocol.channels import ChannelKind, parse_channel
from broadcaster.protocol.http_api import (
    Attributes,
    EventRequest,
    body_limit,
    check_attributes,
    describe_cache,
    describe_channel,
    encode_batch,
    encode_channel,
    encode_channels,
    encode_error,
    encode_users,
    parse_attributes,
    parse_batch,
    parse_event,
    parse_raw_event,
    status_of,
)

LIMIT = 10_240
EVENT = {"name": "greeting", "data": '{"a":1}', "channels": ["orders"]}


def event(body: bytes | dict[str, Any]) -> EventRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    [parsed] = parse_event(raw, max_data_bytes=LIMIT, max_event_name=200).events
    return parsed


def batch(*events: dict[str, Any]) -> tuple[EventRequest, ...]:
    body = json.dumps({"batch": events}).encode()
    return parse_batch(body, max_data_bytes=LIMIT, max_event_name=200).events


def refusal(body: bytes | dict[str, Any]) -> tuple[int, str, str]:
    with pytest.raises(ProtocolError) as caught:
        event(body)
    return status_of(caught.value), caught.value.code, caught.value.message


def test_an_event_keeps_its_data_verbatim() -> None:
    data = '{"html":"</script>", "n":1.0}'

    parsed = event({**EVENT, "data": data})

    assert parsed == EventRequest("greeting", data, (parse_channel("orders"),), "", Attributes())


def test_one_channel_may_be_named_alone() -> None:
    parsed = event({"name": "n", "data": "", "channel": "private-a", "socket_id": "1.2"})

    assert parsed.channels == (parse_channel("private-a"),)
    assert parsed.socket_id == "1.2"


def test_a_channel_named_twice_gets_the_event_once() -> None:
    assert len(event({**EVENT, "channels": ["b", "a", "b"]}).channels) == 2


def test_backends_may_publish_to_a_user_channel() -> None:
    [channel] = event({**EVENT, "channels": ["#server-to-user-42"]}).channels

    assert channel.kind is ChannelKind.USER


def test_unknown_fields_are_ignored() -> None:
    assert event({**EVENT, "tags": {"a": [1]}, "__proto__": None}) == event(EVENT)


def test_null_optional_fields_are_absent_ones() -> None:
    assert event({**EVENT, "channel": None, "socket_id": None, "info": None}) == event(EVENT)


def test_laravel_names_with_backslashes_are_accepted() -> None:
    assert event({**EVENT, "name": "App\\Events\\OrderShipped"}).name == "App\\Events\\OrderShipped"


def test_info_is_read_per_attribute() -> None:
    parsed = event(
        {**EVENT, "channels": ["a", "presence-a"], "info": "user_count,subscription_count"}
    )

    assert parsed.info == Attributes(user_count=True, subscription_count=True)


@pytest.mark.parametrize("size", [LIMIT, LIMIT - 1])
def test_data_up_to_the_limit_is_accepted(size: int) -> None:
    assert len(event({**EVENT, "data": "x" * size}).data) == size


def test_a_hundred_channels_are_accepted() -> None:
    assert len(event({**EVENT, "channels": [f"c{n}" for n in range(100)]}).channels) == 100


REFUSALS = [
    (b"", "malformed_body", "body is not JSON: Input data was truncated"),
    (b"not json", "malformed_body", "body is not JSON: invalid character"),
    (b"[]", "malformed_body", "does not have the documented shape: Expected `object`, got `array`"),
    (b"[" * 5_000, "malformed_body", "does not have the documented shape"),
    (b'{"x":' + b"[" * 5_000, "malformed_body", "body is nested too deeply"),
    (b'{"name":"\xff","data":"","channel":"a"}', "malformed_body", "body is not JSON: it is not"),
    (
        b'{"name":"\\ud800","data":"","channel":"a"}',
        "malformed_body",
        "body is not JSON: unexpected end of escaped utf-16 surrogate pair",
    ),
    (
        b'{"name":"a","data":"\\udc00","channel":"a"}',
        "malformed_body",
        "body is not JSON: ",
    ),
    (b'{"name":"a","data":NaN}', "malformed_body", "body is not JSON: "),
    (b'{"name":"a","data":Infinity}', "malformed_body", "body is not JSON: "),
    (b'{"data":"","channel":"a"}', "malformed_body", "Object missing required field `name`"),
    (b'{"name":"a","channel":"a"}', "malformed_body", "Object missing required field `data`"),
    (
        {**EVENT, "data": {"a": 1}},
        "malformed_body",
        "Expected `str`, got `object` - at `$.data`; encode it as JSON text first",
    ),
    ({**EVENT, "data": 10**400}, "malformed_body", "at `$.data`"),
    ({**EVENT, "data": None}, "malformed_body", "Expected `str`, got `null` - at `$.data`"),
    ({**EVENT, "name": 7}, "malformed_body", "Expected `str`, got `int` - at `$.name`"),
    ({**EVENT, "channels": "orders"}, "malformed_body", "at `$.channels`"),
    ({**EVENT, "channels": [1]}, "malformed_body", "at `$.channels[0]`"),
    ({**EVENT, "name": ""}, "invalid_event_name", "event name '' has 0 characters; 1 to 200"),
    ({**EVENT, "name": "n" * 201}, "invalid_event_name", "has 201 characters; 1 to 200 are"),
    (
        {**EVENT, "name": "pusher:error"},
        "reserved_event_name",
        "event name 'pusher:error' is reserved",
    ),
    (
        {**EVENT, "name": "pusher_internal:subscription_succeeded"},
        "reserved_event_name",
        "is reserved",
    ),
    ({"name": "n", "data": ""}, "channel_missing", "'channels' is missing"),
    ({**EVENT, "channels": []}, "channel_missing", "channels is empty; name 1 to 100 channels"),
    ({**EVENT, "channel": "a"}, "channel_ambiguous", "body has both 'channel' and 'channels'"),
    (
        {**EVENT, "channels": [f"c{n}" for n in range(101)]},
        "too_many_channels",
        "channels has 101 entries; 100 are allowed",
    ),
    ({**EVENT, "channels": ["a", ""]}, "invalid_channel", "channel name is empty"),
    ({**EVENT, "channels": ["a b"]}, "invalid_channel", "channel name 'a b' contains ' '"),
    ({**EVENT, "channels": ["c" * 201]}, "invalid_channel", "has 201 characters; 200 are"),
    ({**EVENT, "channels": ["private-a:b"]}, "invalid_channel", "contains ':'"),
    ({**EVENT, "channels": ["#x"]}, "invalid_channel", "channel name '#x' is reserved"),
    (
        {**EVENT, "channels": ["private-encrypted-a", "b"]},
        "encrypted_channel_not_alone",
        "an event on an encrypted channel cannot go to other channels too",
    ),
    ({**EVENT, "socket_id": "1.2:private-y"}, "invalid_socket_id", "is not two runs of digits"),
    ({**EVENT, "socket_id": "1.\u0662"}, "invalid_socket_id", "is not two runs of digits"),
    ({**EVENT, "socket_id": ""}, "invalid_socket_id", "socket_id '' is not two runs of digits"),
    ({**EVENT, "socket_id": 1.2}, "malformed_body", "at `$.socket_id`"),
    ({**EVENT, "info": "cache"}, "unknown_attribute", "info attribute 'cache' is unknown here"),
    ({**EVENT, "info": "user_count,"}, "unknown_attribute", "info attribute '' is unknown here"),
    (
        {**EVENT, "info": "user_count"},
        "inapplicable_attribute",
        "user_count is counted on presence channels only, and 'orders' is none",
    ),
]


@pytest.mark.parametrize(("body", "code", "words"), REFUSALS)
def test_a_bad_event_is_refused_with_its_cause(
    body: bytes | dict[str, Any], code: str, words: str
) -> None:
    status, found, message = refusal(body)

    assert (status, found) == (400, code)
    assert words in message


@pytest.mark.parametrize(("data", "size"), [("x" * 10_241, 10_241), ("\u20ac" * 3_414, 10_242)])
def test_too_much_data_is_refused_with_its_size_in_bytes(data: str, size: int) -> None:
    status, code, message = refusal({**EVENT, "data": data})

    assert (status, code) == (413, "payload_too_large")
    assert message.startswith(f"the data content of this event has {size} bytes; 10240 are allowed")


def test_a_batch_holds_events_of_one_channel_each() -> None:
    parsed = batch(
        {"name": "a", "data": "1", "channel": "x"},
        {"name": "b", "data": "2", "channel": "presence-y", "info": "user_count"},
    )

    assert [(one.name, one.channels[0].name) for one in parsed] == [("a", "x"), ("b", "presence-y")]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (0, "Batch is empty: it has 0 events; 1 to 10 are allowed"),
        (11, "Batch too large: it has 11 events; 1 to 10 are allowed"),
    ],
)
def test_a_batch_holds_one_to_ten_events(events: int, words: str) -> None:
    with pytest.raises(RequestRefused, match=words) as caught:
        batch(*[{"name": "a", "data": "", "channel": "x"}] * events)

    assert caught.value.code == "batch_size"


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"name": "a", "data": "x" * 10_241, "channel": "x"}, 413, "payload_too_large"),
        ({"name": "a", "data": "", "channel": "x y"}, 400, "invalid_channel"),
        ({"name": "a", "data": "", "channels": ["x"]}, 400, "channel_missing"),
        ({"name": "a", "data": "", "channel": "x", "socket_id": "1"}, 400, "invalid_socket_id"),
    ],
)
def test_one_bad_event_refuses_the_batch_and_is_named(
    bad: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(RequestRefused, match=r"^batch\[1\]: ") as caught:
        batch({"name": "a", "data": "", "channel": "x"}, bad)

    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize("body", [b"{}", b'{"batch":{}}', b'{"batch":[1]}', b"[]", b'{"batch":['])
def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_batch(body, max_data_bytes=LIMIT, max_event_name=200)

    assert caught.value.code == "malformed_body"


def test_the_body_cap_admits_every_valid_event() -> None:
    longest = {
        "name": "\u00e9" * 200,
        "data": "\u0001" * LIMIT,
        "channels": [f"{n:0200d}" for n in range(100)],
    }
    body = json.dumps(longest).encode()

    assert len(body) <= body_limit(LIMIT)
    assert event(body).data == longest["data"]


def test_a_batch_may_be_ten_times_as_long() -> None:
    assert body_limit(LIMIT, events=10) - body_limit(LIMIT) == 9 * 6 * LIMIT


@pytest.mark.parametrize("info", [None, ""])
def test_no_info_asks_for_nothing(info: str | None) -> None:
    assert parse_attributes(info, ("user_count",)) == Attributes()


def test_one_presence_channel_is_enough_for_user_count() -> None:
    check_attributes(Attributes(user_count=True), [parse_channel("a"), parse_channel("presence-a")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("presence-a", {"user_count": 2, "subscription_count": 3}),
        ("a", {"subscription_count": 3}),
    ],
)
def test_a_channel_is_described_by_the_attributes_it_has(
    name: str, expected: dict[str, int]
) -> None:
    info = Attributes(user_count=True, subscription_count=True)

    assert describe_channel(parse_channel(name), info, connections=3, users=2) == expected


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestRefused("x", status=413), 413),
        (InvalidSignature("x"), 401),
        (InvalidChannel("x"), 400),
        (InvalidSocketId("x"), 400),
        (MalformedMessage("x"), 400),
    ],
)
def test_every_protocol_error_has_a_status(error: ProtocolError, status: int) -> None:
    assert status_of(error) == status


def test_answers_have_the_documented_bytes() -> None:
    assert encode_channels({"a": {}}) == b'{"channels":{"a":{}}}'
    assert encode_batch([{}, {"user_count": 1}]) == b'{"batch":[{},{"user_count":1}]}'
    assert encode_channel({"user_count": 1}, occupied=True) == b'{"occupied":true,"user_count":1}'
    assert encode_users({"1": "", "b": ""}) == b'{"users":[{"id":"1"},{"id":"b"}]}'


def test_an_error_survives_a_lone_surrogate() -> None:
    assert encode_error("c", "\ud800") == b'{"error":{"code":"c","message":"?"}}'


def raw_event(body: bytes, **change: Any) -> EventRequest:
    options = {"name": "n", "channel": "orders", "socket_id": None, **change}
    [parsed] = parse_raw_event(body, max_data_bytes=LIMIT, max_event_name=200, **options).events
    return parsed


def test_a_raw_event_is_its_body() -> None:
    parsed = raw_event(b'{"a": 1}', socket_id="1.2")

    assert parsed == EventRequest("n", '{"a": 1}', (parse_channel("orders"),), "1.2", Attributes())


@pytest.mark.parametrize(
    ("body", "change", "code"),
    [
        (b"\xff", {}, "malformed_body"),
        (b"x" * (LIMIT + 1), {}, "payload_too_large"),
        (b"", {"name": ""}, "invalid_event_name"),
        (b"", {"name": "pusher:ping"}, "reserved_event_name"),
        (b"", {"channel": "a b"}, "invalid_channel"),
        (b"", {"socket_id": "1"}, "invalid_socket_id"),
    ],
)
def test_a_raw_event_has_the_rules_of_others(
    body: bytes, change: dict[str, str], code: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        raw_event(body, **change)

    assert caught.value.code == code


def test_messages_count_each_event_once_per_channel() -> None:
    item = {"name": "n", "data": "", "channel": "a"}
    wide = json.dumps({**EVENT, "channels": ["a", "b", "a"]}).encode()
    several = json.dumps({"batch": [item, item, item]}).encode()

    assert parse_event(wide, max_data_bytes=LIMIT, max_event_name=200).messages == 2
    assert parse_batch(several, max_data_bytes=LIMIT, max_event_name=200).messages == 3


def test_a_cached_event_is_told_without_its_frame() -> None:
    frame = b'{"event":"n","channel":"cache-a","data":"{\\"a\\":1}"}'

    assert describe_cache(frame, 60) == {"data": '{"a":1}', "ttl": 60}


# A loaded machine is no finding.
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzzed
@given(st.binary(max_size=60), st.text(max_size=210), st.text(max_size=210), st.text(max_size=9))
def test_any_raw_event_is_served_or_refused(
    body: bytes, name: str, channel: str, socket_id: str
) -> None:
    with suppress(ProtocolError):
        assert raw_event(body, name=name, channel=channel, socket_id=socket_id).channels


def outcomes(body: bytes) -> list[EventRequest | ProtocolError]:
    """What both parsers make of `body`; anything but a `ProtocolError` fails the test."""
    found: list[EventRequest | ProtocolError] = []
    try:
        found.extend(parse_event(body, max_data_bytes=LIMIT, max_event_name=200).events)
    except ProtocolError as error:
        found.append(error)
    try:
        found.extend(parse_batch(body, max_data_bytes=LIMIT, max_event_name=200).events)
    except ProtocolError as error:
        found.append(error)
    return found


def is_served_or_refused(outcome: EventRequest | ProtocolError) -> bool:
    if isinstance(outcome, EventRequest):
        return bool(outcome.channels)
    return 400 <= status_of(outcome) < 500 and b"error" in encode_error(
        outcome.code, outcome.message
    )


@fuzzed
@given(st.binary(max_size=300))
def test_any_body_is_an_event_or_a_protocol_error(body: bytes) -> None:
    assert all(is_served_or_refused(outcome) for outcome in outcomes(body))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(max_size=5), LEAVES)
FIELDS = st.sampled_from(["name", "data", "channel", "channels", "socket_id", "info", "batch", "x"])
EVENTS = st.dictionaries(FIELDS, JSON, max_size=6)


@fuzzed
@given(EVENTS | st.fixed_dictionaries({"batch": st.lists(EVENTS, max_size=3)}))
def test_any_json_is_an_event_or_a_protocol_error(body: dict[str, Any]) -> None:
    assert all(is_served_or_refused(outcome) for outcome in outcomes(json.dumps(body).encode()))
