"""Paths and queries of the HTTP API."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.errors import InvalidChannel, ProtocolError, RequestRefused
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.http_api import Attributes
from broadcaster.protocol.http_query import (
    ChannelQuery,
    ChannelsQuery,
    Resource,
    Target,
    parse_channel_query,
    parse_channels_query,
    parse_event_query,
    parse_path,
    parse_query,
    parse_user,
    parse_users_query,
    refuse_parameters,
)

SIGNED = {
    "auth_key": "k",
    "auth_timestamp": "1",
    "auth_version": "1.0",
    "auth_signature": "s",
    "body_md5": "m",
}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/apps/7/events", Target("7", Resource.EVENTS)),
        ("/apps/7/batch_events", Target("7", Resource.BATCH)),
        ("/apps/7/channels", Target("7", Resource.CHANNELS)),
        ("/apps/7/channels/a@b", Target("7", Resource.CHANNEL, "a@b")),
        ("/apps/7/channels/a%40b", Target("7", Resource.CHANNEL, "a@b")),
        ("/apps/7/channels/a+b", Target("7", Resource.CHANNEL, "a+b")),
        ("/apps/7/channels/a%2Fusers", Target("7", Resource.CHANNEL, "a/users")),
        ("/apps/7/channels/presence-a/users", Target("7", Resource.USERS, "presence-a")),
        ("/apps/7/channels/a%2Fb/events", Target("7", Resource.CHANNEL_EVENTS, "a/b")),
        ("/apps/7/channels/events/events", Target("7", Resource.CHANNEL_EVENTS, "events")),
        ("/apps/7/connections", Target("7", Resource.CONNECTIONS)),
        (
            "/apps/7/users/a%40b/terminate_connections",
            Target("7", Resource.TERMINATE, user="a@b"),
        ),
        ("/users/ada/terminate_connections", Target("", Resource.TERMINATE_ALIAS, user="ada")),
    ],
)
def test_a_path_names_a_resource(path: str, target: Target) -> None:
    assert parse_path(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/apps",
        "/apps/7",
        "/apps//events",
        "/apps/7/events/",
        "/apps/7%2fevents",
        "/apps/7/Events",
        "/apps/7/channels/",
        "/apps/7/channels/a/users/",
        "/apps/7/channels/a/b",
        "/apps/7/channels//events",
        "/apps/7/users",
        "/apps/7/users/ada",
        "/apps/7/users//terminate_connections",
        "/apps/7/users/a/b/terminate_connections",
        "/apps/7/terminate_connections",
        "/users//terminate_connections",
        "/users/ada",
        "/users/a/b/terminate_connections",
        "/apps/7/../8/events",
        "//apps/7/events",
    ],
)
def test_other_paths_name_nothing(path: str) -> None:
    assert parse_path(path) is None


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_path("/apps/7/channels/%ff")

    assert caught.value.code == "malformed_path"


def test_resources_know_their_method() -> None:
    assert {resource.method for resource in Resource} == {"GET", "POST"}
    assert Resource.EVENTS.method == "POST"
    assert Resource.CHANNELS.method == "GET"


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=1&B=x%2Cy", {"a": "1", "b": "x,y"}),
        (b"a=x,y", {"a": "x,y"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a", {"a": ""}),
        (b"a=x+y%20z", {"a": "x y z"}),
        (b"a=%C3%A9", {"a": "\u00e9"}),
        (b"a=\xc3\xa9", {"a": "\u00e9"}),
        (b"a=%zz", {"a": "%zz"}),
        (b"%61=1", {"a": "1"}),
    ],
)
def test_a_query_has_one_unescaped_value_per_name(raw: bytes, params: dict[str, str]) -> None:
    assert parse_query(raw) == params


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"a=1&a=1", 400, "duplicate_parameter"),
        (b"auth_key=1&AUTH_KEY=2", 400, "duplicate_parameter"),
        (b"a=1&%61=2", 400, "duplicate_parameter"),
        (b"info[]=user_count", 400, "array_parameter"),
        (b"info%5B0%5D=user_count", 400, "array_parameter"),
        (b"a=%ff", 400, "malformed_query"),
        (b"\xff=1", 400, "malformed_query"),
        (b"&".join(b"p%d=1" % n for n in range(33)), 400, "malformed_query"),
        (b"a=" + b"x" * 8_191, 414, "uri_too_long"),
    ],
)
def test_an_ambiguous_query_is_refused(raw: bytes, status: int, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_query(raw)

    assert (caught.value.status, caught.value.code) == (status, code)


def test_channels_are_all_listed_without_a_query() -> None:
    assert parse_channels_query(SIGNED) == ChannelsQuery("", Attributes())


def test_channels_are_filtered_and_counted() -> None:
    query = parse_channels_query({"filter_by_prefix": "presence-r", "info": "user_count"})

    assert query == ChannelsQuery("presence-r", Attributes(user_count=True))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"info": "user_count"}, "inapplicable_attribute"),
        ({"info": "user_count", "filter_by_prefix": "presence"}, "inapplicable_attribute"),
        ({"info": "user_count", "filter_by_prefix": "private-"}, "inapplicable_attribute"),
        ({"info": "subscription_count"}, "unknown_attribute"),
        ({"filter_by_prefix": "a*"}, "invalid_channel"),
        ({"filter_by_prefix": "#server-to-user-"}, "invalid_channel"),
        ({"filter": "a"}, "extraneous_parameter"),
    ],
)
def test_a_channels_query_that_would_mislead_is_refused(params: dict[str, str], code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_channels_query(params)

    assert caught.value.code == code


def test_a_channel_is_described_with_what_it_has() -> None:
    info = {"info": "user_count,subscription_count", **SIGNED}

    assert parse_channel_query("presence-a", info) == ChannelQuery(
        parse_channel("presence-a"), Attributes(user_count=True, subscription_count=True)
    )


@pytest.mark.parametrize(
    ("channel", "params", "code"),
    [
        ("a", {"info": "user_count"}, "inapplicable_attribute"),
        ("a", {"info": "cache"}, "inapplicable_attribute"),
        ("a", {"info": "members"}, "unknown_attribute"),
        ("a", {"filter_by_prefix": "a"}, "extraneous_parameter"),
        ("a/users", {}, "invalid_channel"),
        ("", {}, "invalid_channel"),
    ],
)
def test_a_channel_query_that_would_mislead_is_refused(
    channel: str, params: dict[str, str], code: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_channel_query(channel, params)

    assert caught.value.code == code


def test_users_of_a_presence_channel_can_be_asked_for() -> None:
    assert parse_users_query("presence-a", SIGNED) == parse_channel("presence-a")


def test_users_take_no_parameters() -> None:
    words = "^The following query string parameters are extraneous: info, x$"

    with pytest.raises(RequestRefused, match=words) as caught:
        parse_users_query("presence-a", {**SIGNED, "x": "1", "info": "user_count"})

    assert caught.value.code == "extraneous_parameter"


def test_other_channels_have_no_users() -> None:
    with pytest.raises(RequestRefused, match="only presence channels keep a member list"):
        parse_users_query("private-a", {})
    with pytest.raises(InvalidChannel):
        parse_users_query("presence a", {})


def test_the_old_way_to_publish_says_name_and_socket_in_its_query() -> None:
    assert parse_event_query({**SIGNED, "name": "a", "socket_id": "1.2"}) == ("a", "1.2")
    assert parse_event_query({**SIGNED, "name": ""}) == ("", None)


@pytest.mark.parametrize(
    ("params", "code"),
    [({}, "invalid_event_name"), ({"name": "a", "info": "user_count"}, "extraneous_parameter")],
)
def test_an_old_query_that_would_mislead_is_refused(params: dict[str, str], code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_event_query({**SIGNED, **params})

    assert caught.value.code == code


@pytest.mark.parametrize("user", ["", "a b", "a/b", "#a", "\u0661", "u" * 129, "a\n"])
def test_what_is_no_user_id_is_refused(user: str) -> None:
    with pytest.raises(RequestRefused, match="1 to 128 letters") as caught:
        parse_user(user)

    assert caught.value.code == "invalid_user_id"


def test_a_user_id_is_taken_as_it_is() -> None:
    assert parse_user("ada@example.com") == "ada@example.com"


def test_the_signature_s_own_parameters_are_none() -> None:
    refuse_parameters(SIGNED)
    with pytest.raises(RequestRefused, match="extraneous: info"):
        refuse_parameters({**SIGNED, "info": ""})


# A loaded machine is no finding.
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzzed
@given(st.binary(max_size=200))
def test_any_query_is_a_mapping_or_a_refusal(raw: bytes) -> None:
    with suppress(RequestRefused):
        assert all(name == name.lower() for name in parse_query(raw))


@fuzzed
@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_any_path_is_a_target_or_nothing(path: str) -> None:
    for tried in (path, f"/apps/1/channels/{path}", f"/users/{path}/terminate_connections"):
        with suppress(RequestRefused):
            target = parse_path(tried)
            assert target is None or target.app_id or target.user
