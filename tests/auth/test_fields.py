from __future__ import annotations

import pytest
from broadcaster_auth.fields import MAX_BODY, Ask, parse_fields, read_ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.errors import MalformedMessage, MessageTooLarge, ProtocolError

fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FORM = "application/x-www-form-urlencoded"


def read(
    body: bytes = b"", content_type: str = FORM, method: str = "POST", query: bytes = b""
) -> Ask:
    fields = parse_fields(method=method, content_type=content_type, query=query, body=body)
    return read_ask(fields, sign_in=False)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"socket_id=1.2&channel_name=private-x", FORM),
        (b"socket_id=1.2&channel_name=private-x", f"{FORM}; charset=UTF-8"),
        (b"socket_id=1.2&channel_name=private-x", "APPLICATION/X-WWW-FORM-URLENCODED"),
        (b"socket_id=1.2&channel_name=private-x", ""),
        (b"token=t%20t&socket_id=1%2E2&channel_name=private%2Dx&flag", FORM),
        (b'{"socket_id":"1.2","channel_name":"private-x"}', "application/json"),
        (
            b'{"socket_id":"1.2","channel_name":"private-x","more":[1]}',
            "application/json; charset=utf-8",
        ),
        (b'{"socket_id":"1.2","channel_name":"private-x"}', "application/vnd.api+json"),
    ],
)
def test_forms_and_json_ask_the_same(body: bytes, content_type: str) -> None:
    assert read(body, content_type) == Ask("1.2", "private-x")


def test_a_get_asks_by_its_query() -> None:
    assert read(method="GET", query=b"socket_id=1.2&channel_name=presence-x") == Ask(
        "1.2", "presence-x"
    )


def test_a_sign_in_needs_no_channel() -> None:
    assert read_ask({"socket_id": "1.2", "channel_name": ":::"}, sign_in=True) == Ask("1.2", None)


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"", FORM, "'socket_id' is missing"),
        (b"socket_id=1.2", FORM, "'channel_name' is missing"),
        (b"channel_name=private-x", FORM, "'socket_id' is missing"),
        (b"socket_id=1.2&socket_id=3.4&channel_name=x", FORM, "'socket_id' more than once"),
        (b"socket_id=1.2&channel_name=a&channel_name=b", FORM, "'channel_name' more than once"),
        (b"socket_id=%FF&channel_name=x", FORM, "cannot be read"),
        (b"socket_id=\xff&channel_name=x", FORM, "cannot be read"),
        (b"&".join(b"a=1" for _ in range(101)), FORM, "cannot be read"),
        (b'{"socket_id":1.2,"channel_name":"x"}', "application/json", "must be a string"),
        (b'{"socket_id":["1.2"],"channel_name":"x"}', "application/json", "must be a string"),
        (b"[]", "application/json", "not a JSON object"),
        (b"{", "application/json", "not JSON"),
        (b"[" * 60_000, "application/json", "not JSON"),
        (b"\xff", "application/json", "not JSON"),
        (b"x", "multipart/form-data; boundary=x", "neither"),
        (b"x", "text/plain", "neither"),
    ],
)
def test_a_request_that_asks_for_nothing_clear_is_refused(
    body: bytes, content_type: str, said: str
) -> None:
    with pytest.raises(MalformedMessage, match=said):
        read(body, content_type)


def test_a_large_body_is_refused() -> None:
    with pytest.raises(MessageTooLarge):
        read(b"x" * (MAX_BODY + 1))


@fuzzed
@given(
    st.binary(max_size=80),
    st.sampled_from([FORM, "application/json", "", "x"]) | st.text(max_size=10),
    st.sampled_from(["GET", "POST"]),
)
def test_any_body_asks_for_something_or_is_refused_as_ours(
    body: bytes, content_type: str, method: str
) -> None:
    try:
        ask = read(body, content_type, method, query=body)
    except ProtocolError:
        return
    assert isinstance(ask, Ask)


@fuzzed
@given(st.dictionaries(st.sampled_from(["socket_id", "channel_name"]), st.text() | st.none()))
def test_any_fields_ask_for_something_or_are_refused_as_ours(fields: dict[str, object]) -> None:
    for sign_in in (True, False):
        try:
            read_ask(fields, sign_in=sign_in)
        except ProtocolError:
            continue
