"""Frames both ways: exact bytes out, and a total parser in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.errors import MalformedMessage
from broadcaster.protocol import messages
from broadcaster.protocol.messages import (
    ClientEvent,
    Heartbeat,
    MemberData,
    SignIn,
    Subscribe,
    Unsubscribe,
    member_parts,
    parse_channel_data,
    parse_client_message,
)

# -- what the server writes -----------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (messages.PING, b'{"event":"pusher:ping","data":{}}'),
        (messages.PONG, b'{"event":"pusher:pong","data":{}}'),
        (
            messages.encode_established("1.2", 120),
            (
                rb'{"event":"pusher:connection_established",'
                rb'"data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}'
            ),
        ),
        (
            messages.encode_event("orders", "App\\Events\\Shipped", '{"id":1}'),
            rb'{"event":"App\\Events\\Shipped","channel":"orders","data":"{\"id\":1}"}',
        ),
        (
            messages.encode_error(4301, "no"),
            b'{"event":"pusher:error","data":{"code":4301,"message":"no"}}',
        ),
        (
            messages.encode_error(None, "no"),
            b'{"event":"pusher:error","data":{"code":null,"message":"no"}}',
        ),
        (
            messages.encode_succeeded("orders"),
            b'{"event":"pusher_internal:subscription_succeeded","channel":"orders","data":"{}"}',
        ),
        (
            messages.encode_presence_succeeded(
                "presence-a",
                {"7": '{"user_id":7,"user_info":{"n":"\u00dc"}}', "ada": '{"user_id":"ada"}'},
            ),
            b'{"event":"pusher_internal:subscription_succeeded","channel":"presence-a",'
            rb'"data":"{\"presence\":{\"count\":2,\"ids\":[\"7\",\"ada\"],'
            rb"\"hash\":{\"7\":{\"n\":\"" + "Ü".encode() + rb'\"},\"ada\":null}}}"}',
        ),
        (
            messages.encode_subscription_error("private-a", "AuthError", "no", 401),
            (
                b'{"event":"pusher:subscription_error","channel":"private-a",'
                b'"data":{"type":"AuthError","error":"no","status":401}}'
            ),
        ),
        (
            messages.encode_member_added("presence-a", '{"user_id":7,"user_info":1}'),
            (
                b'{"event":"pusher_internal:member_added","channel":"presence-a",'
                rb'"data":"{\"user_id\":7,\"user_info\":1}"}'
            ),
        ),
        (
            messages.encode_member_removed("presence-a", '{"user_id":7,"user_info":1}'),
            (
                b'{"event":"pusher_internal:member_removed","channel":"presence-a",'
                rb'"data":"{\"user_id\":7}"}'
            ),
        ),
        (
            messages.encode_member_removed("presence-a", '{"user_id":"7"}'),
            (
                b'{"event":"pusher_internal:member_removed","channel":"presence-a",'
                rb'"data":"{\"user_id\":\"7\"}"}'
            ),
        ),
        (
            messages.encode_subscription_count("orders", 12),
            (
                b'{"event":"pusher_internal:subscription_count","channel":"orders",'
                rb'"data":"{\"subscription_count\":12}"}'
            ),
        ),
        (
            messages.encode_signin_success('{"id":"a"}'),
            (
                b'{"event":"pusher:signin_success",'
                rb'"data":"{\"user_data\":\"{\\\"id\\\":\\\"a\\\"}\"}"}'
            ),
        ),
        (
            messages.encode_resync("orders", "history_trimmed"),
            (
                b'{"event":"pusher:resync","channel":"orders",'
                rb'"data":"{\"reason\":\"history_trimmed\"}"}'
            ),
        ),
        (
            messages.encode_client_event(ClientEvent("private-a", "client-x", b"[1, 2]")),
            b'{"event":"client-x","channel":"private-a","data":[1, 2]}',
        ),
        (
            messages.encode_client_event(ClientEvent("presence-a", "client-x", b'"t"'), rb'"a\"b"'),
            rb'{"event":"client-x","channel":"presence-a","data":"t","user_id":"a\"b"}',
        ),
    ],
)
def test_each_frame_has_exactly_these_bytes(frame: bytes, expected: bytes) -> None:
    assert frame == expected
    json.loads(frame)


def test_a_lone_surrogate_has_no_frame() -> None:
    with pytest.raises(MalformedMessage, match="lone surrogate"):
        messages.encode_event("orders", "e", "\ud800")


def test_an_empty_member_list_is_an_object() -> None:
    frame = json.loads(messages.encode_presence_succeeded("presence-a", {}))

    assert json.loads(frame["data"]) == {"presence": {"count": 0, "ids": [], "hash": {}}}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["__proto__", "constructor"])),
        values,
        max_size=4,
    )
)
def test_a_member_list_carries_any_user_info_unchanged(infos: dict[str, Any]) -> None:
    members = {
        user_id: parse_channel_data(json.dumps({"user_id": user_id, "user_info": info})).data
        for user_id, info in infos.items()
    }

    frame = json.loads(messages.encode_presence_succeeded("presence-a", members))

    assert json.loads(frame["data"])["presence"] == {
        "count": len(infos),
        "ids": list(infos),
        "hash": infos,
    }


@pytest.mark.parametrize("garbage", ["garbage{", "", "[]", '{"user_id":null}', "[" * 5_000])
def test_a_member_that_cannot_be_read_is_left_out_of_the_list(garbage: str) -> None:
    unreadable: list[str] = []
    members = {"evil": garbage, "ada": '{"user_id":"ada","user_info":1}'}

    frame = json.loads(messages.encode_presence_succeeded("presence-a", members, unreadable))

    assert json.loads(frame["data"])["presence"] == {
        "count": 1,
        "ids": ["ada"],
        "hash": {"ada": 1},
    }
    assert unreadable == ["evil"]


# -- what clients send ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"event":"pusher:subscribe","data":{"channel":"a"}}',
            Subscribe("a", "", None),
        ),
        (
            '{"event":"pusher:subscribe","data":{"channel":"a","auth":"k:s","channel_data":"{}"}}',
            Subscribe("a", "k:s", "{}"),
        ),
        (
            '{"event":"pusher:subscribe","data":{"channel":"a","auth":null,"channel_data":null}}',
            Subscribe("a", "", None),
        ),
        (
            r'{"event":"pusher:subscribe","data":"{\"channel\":\"a\",\"auth\":\"x\"}"}',
            Subscribe("a", "x", None),
        ),
        ('{"event":"pusher:unsubscribe","data":{"channel":"a"}}', Unsubscribe("a")),
        (
            '{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{}"}}',
            SignIn("k:s", "{}"),
        ),
        ('{"event":"pusher:signin","data":{}}', SignIn("", "")),
        ('{"event":"pusher:ping","data":{}}', Heartbeat(wants_answer=True)),
        ('{"event":"pusher:ping"}', Heartbeat(wants_answer=True)),
        ('{"event":"pusher:pong","data":null}', Heartbeat(wants_answer=False)),
        (
            '{"event":"client-a","channel":"private-a","data":{"x": [1]}}',
            ClientEvent("private-a", "client-a", b'{"x": [1]}'),
        ),
        (
            '{"event":"client-a","channel":"private-a","data":"text"}',
            ClientEvent("private-a", "client-a", b'"text"'),
        ),
        (
            '{"event":"client-a","channel":"private-a"}',
            ClientEvent("private-a", "client-a", b"null"),
        ),
        (
            '{"future":[{}],"event":"pusher:unsubscribe","data":{"channel":"a","new":1}}',
            Unsubscribe("a"),
        ),
    ],
)
def test_each_message_is_read_and_unknown_fields_are_ignored(
    text: str, message: messages.ClientMessage
) -> None:
    assert parse_client_message(text.encode()) == message


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "not a JSON object"),
        (b'{"event":', "not a JSON object"),
        (b"[" * 5_000, "Expected `object`, got `array`"),
        (b'{"x":' + b"[" * 5_000, "nested too deeply"),
        (b'{"event":NaN}', "not a JSON object"),
        (b'{"event":"\\ud800 and on"}', "JSON is malformed"),
        (b'{"event":7}', "Expected `str`"),
        (b'{"data":{}}', "missing required field `event`"),
        (b'{"event":"pusher:subscribe"}', "data of pusher:subscribe is not an object"),
        (b'{"event":"pusher:subscribe","data":[]}', "data of pusher:subscribe is not an object"),
        (b'{"event":"pusher:subscribe","data":"["}', "data of pusher:subscribe is not an object"),
        (b'{"event":"pusher:subscribe","data":{}}', "data.channel of pusher:subscribe is missing"),
        (b'{"event":"pusher:subscribe","data":{"channel":7}}', "Expected `str | null`"),
        (b'{"event":"pusher:unsubscribe","data":{}}', "data.channel of pusher:unsubscribe"),
        (b'{"event":"client-a","data":{}}', "client event 'client-a' has no 'channel'"),
        (b'{"event":"client-a","data":"\\ud800 and on","channel":"b"}', "JSON is malformed"),
        (b'{"event":"pusher:error"}', "'pusher:error' cannot be sent by a client"),
        (b'{"event":"pusher_internal:member_added"}', "cannot be sent by a client"),
        (b'{"event":"chat"}', "client events begin with 'client-'"),
    ],
)
def test_what_is_no_message_is_refused_with_its_cause(text: bytes, cause: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_client_message(text)

    assert cause in str(caught.value)


def test_a_cause_is_short_however_long_the_message_was() -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_client_message(json.dumps({"event": "x" * 60_000}).encode())

    assert len(str(caught.value)) < 300


def read(text: bytes) -> messages.ClientMessage | None:
    try:
        return parse_client_message(text)
    except MalformedMessage:
        return None


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    read(data)


pieces = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b'"',
            b"\\",
            b'"event"',
            b'"pusher:subscribe"',
            b'"client-a"',
            b'"data"',
            b'"channel"',
            b"null",
            b"NaN",
            b"1e999",
            b"\\ud800",
            b"\xff",
            b"9" * 400,
            b"-",
            b" ",
            b"\x00",
            b"true",
            b'"\\u0000"',
        ]
    ),
    max_size=20,
)


@given(pieces)
@settings(max_examples=500)
def test_any_pieces_of_json_are_a_message_or_malformed(parts: list[bytes]) -> None:
    read(b"".join(parts))


@given(st.binary(max_size=100))
@settings(max_examples=300)
def test_data_of_a_client_event_is_valid_json_or_malformed(data: bytes) -> None:
    message = read(b'{"event":"client-a","channel":"private-a","data":' + data + b"}")

    if isinstance(message, ClientEvent):
        relayed = messages.encode_client_event(message, b'"u"')
        assert json.loads(relayed)["user_id"] == "u"


# -- presence members -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ('{"user_id":"a"}', MemberData("a", '{"user_id":"a"}', 0)),
        ('{"user_id":10}', MemberData("10", '{"user_id":10}', 0)),
        ('{"user_id": "10"}', MemberData("10", '{"user_id":"10"}', 0)),
        ('{"user_id":-1}', MemberData("-1", '{"user_id":-1}', 0)),
        (
            '{"user_info":{"b":1, "a":2},"user_id":"a"}',
            MemberData("a", '{"user_id":"a","user_info":{"b":1, "a":2}}', 14),
        ),
        (
            '{"user_id":"a","user_info":null}',
            MemberData("a", '{"user_id":"a","user_info":null}', 4),
        ),
        (
            '{"user_id":"a","user_info":"é","more":1}',
            MemberData("a", '{"user_id":"a","user_info":"é"}', 4),
        ),
    ],
)
def test_a_member_keeps_the_id_s_type_and_the_info_s_text(text: str, member: MemberData) -> None:
    assert parse_channel_data(text) == member


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"user_id":null}',
        '{"user_id":1.5}',
        '{"user_id":true}',
        '{"user_id":["a"]}',
        '{"user_id":"\\ud800"}',
        '{"user_id":"a","user_info":"\\ud800"}',
        '{"user_id":"a","user_info":NaN}',
        '{"user_id":"a","user_info":' + "[" * 5_000 + "]" * 5_000 + "}",
        "\ud800",
    ],
)
def test_what_names_no_member_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_channel_data(text)


@given(st.text(max_size=100))
@settings(max_examples=300)
def test_any_text_is_a_member_or_malformed(text: str) -> None:
    for candidate in (text, '{"user_id":' + text + "}", '{"user_id":1,"user_info":' + text + "}"):
        try:
            member = parse_channel_data(candidate)
        except MalformedMessage:
            continue
        assert str(json.loads(member.data)["user_id"]) == member.user_id
        messages.encode_presence_succeeded("presence-a", {member.user_id: member.data})


def test_the_parts_of_a_member_are_their_json() -> None:
    assert member_parts('{"user_id":7,"user_info":{"a": 1}}') == (b"7", b'{"a": 1}')
    assert member_parts('{"user_id":"7"}') == (b'"7"', b"")
