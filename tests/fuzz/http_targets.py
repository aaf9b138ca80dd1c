"""What comes over HTTP: paths, queries, bodies, forms."""

from __future__ import annotations

import re

from broadcaster_auth.fields import parse_fields, read_ask
from hypothesis import strategies as st

from broadcaster.errors import (
    ProtocolError,
    RequestRefused,
)
from broadcaster.protocol.http_api import parse_batch, parse_event
from broadcaster.protocol.http_query import (
    parse_channel_query,
    parse_channels_query,
    parse_path,
    parse_query,
    parse_users_query,
)
from tests.fuzz.json_inputs import encoded, objects, one_of_or_anything, scalars, values
from tests.fuzz.target import Target, fields_of, refused, text_of
from tests.fuzz.text_targets import NAME

# -- the HTTP API ----------------------------------------------------------------------


def read_request(data: bytes) -> object:
    path, query = fields_of(data, 2)
    outcomes: list[str] = []
    channel = "presence-a"
    try:
        target = parse_path(text_of(path))
        outcomes.append(str(target and target.resource.name))
        channel = (target and target.channel) or channel
    except ProtocolError as error:
        outcomes.append(refused(error))
    try:
        params = parse_query(query)
    except ProtocolError as error:
        return [*outcomes, refused(error)]
    assert len(params) <= 32
    for read in (
        lambda: parse_channels_query(params),
        lambda: parse_channel_query(channel, params),
        lambda: parse_users_query(channel, params),
    ):
        try:
            read()
            outcomes.append("good")
        except ProtocolError as error:
            outcomes.append(refused(error))
    return outcomes


http_request = Target(
    name="http_request",
    check=read_request,
    inputs=st.builds(
        lambda path, query: path + b"\0" + query,
        st.lists(
            st.sampled_from(
                [b"apps", b"1", b"channels", b"a", b"presence-a", b"users", b"events", b"%ff", b""]
            ),
            max_size=6,
        ).map(lambda parts: b"/" + b"/".join(parts)),
        st.lists(
            st.sampled_from(
                [
                    b"info=user_count",
                    b"info=subscription_count,cache",
                    b"filter_by_prefix=presence-",
                    b"auth_key=k",
                    b"info[]=x",
                    b"INFO=x",
                    b"x",
                    b"=",
                    b"a=%ff",
                    b"a=%00",
                ]
            ),
            max_size=5,
        ).map(b"&".join),
    ),
    seeds=(
        b"/apps/1/events\0auth_key=k&auth_timestamp=1&auth_version=1.0&auth_signature=x",
        b"/apps/1/channels/presence-a/users\0",
        b"/apps/1/channels\0filter_by_prefix=presence-&info=user_count",
        b"/users/1/terminate_connections\0",
    ),
)


def read_body(data: bytes) -> object:
    outcomes: list[str] = []
    for parse in (parse_event, parse_batch):
        try:
            request = parse(data, max_data_bytes=50, max_event_name=20)
        except (RequestRefused, ProtocolError) as error:
            outcomes.append(refused(error))
            continue
        text = repr(request)
        text.encode()
        outcomes.append("good")
    return outcomes


event_bodies = objects(
    name=one_of_or_anything("e", "pusher:error", "App\\Events\\X"),
    data=one_of_or_anything("{}", "x" * 51),
    channel=one_of_or_anything("a", "private-encrypted-a"),
    channels=st.lists(one_of_or_anything("a", "b", "private-encrypted-a"), max_size=3) | scalars,
    socket_id=one_of_or_anything("1.2"),
    info=one_of_or_anything("user_count", "user_count,subscription_count"),
    idempotency_key=one_of_or_anything("k"),
)
http_body = Target(
    name="http_body",
    check=read_body,
    inputs=encoded(event_bodies | objects(batch=st.lists(event_bodies, max_size=3) | values)),
    seeds=(
        b'{"name":"e","data":"{}","channels":["a","b"],"socket_id":"1.2","info":"user_count"}',
        b'{"batch":[{"name":"e","data":"{}","channel":"a"}]}',
    ),
)


def read_auth_request(data: bytes) -> object:
    outcomes: list[str] = []
    for kind in ("application/x-www-form-urlencoded", "application/json"):
        try:
            fields = parse_fields(method="POST", content_type=kind, query=b"", body=data)
            ask = read_ask(fields, sign_in=False)
        except ProtocolError as error:
            outcomes.append(refused(error))
            continue
        assert re.fullmatch(r"[0-9]+\.[0-9]+", ask.socket_id)
        assert ask.channel is not None
        assert NAME.fullmatch(ask.channel)
        outcomes.append("good")
    return outcomes


auth_request = Target(
    name="auth_request",
    check=read_auth_request,
    inputs=encoded(
        objects(
            socket_id=one_of_or_anything("1.2", "1.2:private-a"),
            channel_name=one_of_or_anything("private-a", ":user::{}"),
        )
    )
    | st.lists(
        st.sampled_from(
            [b"socket_id=1.2", b"channel_name=private-a", b"channel_name=%ff", b"socket_id=", b"a"]
        ),
        max_size=4,
    ).map(b"&".join),
    seeds=(
        b"socket_id=1.2&channel_name=private-a",
        b'{"socket_id":"1.2","channel_name":"presence-a"}',
    ),
)

TARGETS = (http_request, http_body, auth_request)
