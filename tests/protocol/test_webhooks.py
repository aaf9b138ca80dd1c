"""What an endpoint is, what it is sent, and when again."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import App, Webhook
from broadcaster.protocol.facts import FACT_NAMES, Fact
from broadcaster.protocol.webhooks import (
    GIVE_UP_SECONDS,
    find_webhook,
    is_accepted,
    next_try,
    parse_webhook,
    receivers,
    shown_url,
    time_left,
    wants,
    webhook_body,
    webhook_event,
    webhook_headers,
)

URL = "https://example.com/hooks"
NOW = 1_700_000_000.0


def fact(name: str = "channel_occupied", channel: str = "orders", **more: Any) -> Fact:
    given: dict[str, Any] = {"id": "a" * 32, "app_id": "1", "time_ms": int(NOW * 1000)}
    return Fact(name=name, channel=channel, **(given | more))  # type: ignore[arg-type]  # any name


# -- endpoints


def test_an_endpoint_is_read_with_everything_it_may_have() -> None:
    said = {
        "url": URL,
        "events": ["cache_miss", "cache_miss", "member_added"],
        "channel_prefix": "presence-",
        "channel_suffix": ".eu",
        "batch": True,
        "headers": {"Authorization": "Bearer x"},
    }

    assert parse_webhook(said) == Webhook(
        url=URL,
        events=("cache_miss", "member_added"),
        channel_prefix="presence-",
        channel_suffix=".eu",
        batch=True,
        headers=(("Authorization", "Bearer x"),),
    )
    assert parse_webhook({"url": URL}) == Webhook(url=URL)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({}, "needs a url"),
        ({"url": ""}, "needs a url"),
        ({"url": 5}, "needs a url"),
        ({"url": "example.com/x"}, "must begin with https://"),
        ({"url": "ftp://example.com/x"}, "must begin with https://"),
        ({"url": "file:///etc/passwd"}, "must begin with https://"),
        ({"url": "https://"}, "must begin with https://"),
        ({"url": "https:///path"}, "must begin with https://"),
        ({"url": "https://ada:secret@example.com/"}, "must not contain credentials"),
        ({"url": "https://@example.com/"}, "must not contain credentials"),
        ({"url": "https://example.com:0/"}, "belongs to another protocol"),
        ({"url": "http://example.com:25/"}, "belongs to another protocol"),
        ({"url": "http://example.com:6379/"}, "belongs to another protocol"),
        ({"url": "https://example.com:99999/"}, "is no URL"),
        ({"url": "https://[::1/"}, "is no URL"),
        ({"url": "https://example.com/a b"}, "printable ASCII"),
        ({"url": "https://example.com/\r\nX: y"}, "printable ASCII"),
        ({"url": "https://example.com\\@evil.com/"}, "credentials|printable ASCII"),
        ({"url": "https://example.com/#part"}, "no #fragment"),
        ({"url": "https://example.com/" + "a" * 2000}, "2000 characters"),
        ({"url": URL, "events": "cache_miss"}, "must be a list"),
        ({"url": URL, "events": [1]}, "must be a list"),
        ({"url": URL, "events": ["cache_mis"]}, "no webhook event 'cache_mis'"),
        ({"url": URL, "batch": "yes"}, "batch of a webhook must be true or false"),
        ({"url": URL, "channel_prefix": 5}, "channel_prefix of a webhook must be text"),
        ({"url": URL, "prefix": "a"}, "no setting 'prefix'"),
        ({"url": URL, "headers": ["X: y"]}, "must be a table"),
        ({"url": URL, "headers": {"X Y": "a"}}, "no name of an HTTP header"),
        ({"url": URL, "headers": {"X\r\nY": "a"}}, "no name of an HTTP header"),
        ({"url": URL, "headers": {"X-A": "secret\r\nX-Pusher-Key: a"}}, "header X-A .* printable"),
        ({"url": URL, "headers": {"X-A": 5}}, "printable ASCII"),
        ({"url": URL, "headers": {"X-A": " padded"}}, "printable ASCII"),
        ({"url": URL, "headers": {"X-A": "a" * 5000}}, "longer than"),
        ({"url": URL, "headers": {"X-A": "a", "x-a": "b"}}, "set twice"),
        ({"url": URL, "headers": {f"X-{n}": "a" for n in range(21)}}, "20 headers"),
    ],
)
def test_an_endpoint_that_cannot_work_is_refused(said: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as raised:
        parse_webhook(said)
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "name",
    [
        *("content-type", "Content-Length", "Host", "Transfer-Encoding", "X-Pusher-Key"),
        *("x-pusher-signature", "X-Broadcaster-Webhook-Id", "Connection", "Proxy-Authorization"),
    ],
)
def test_no_header_of_ours_can_be_set(name: str) -> None:
    with pytest.raises(ConfigurationError, match="set by the server"):
        parse_webhook({"url": URL, "headers": {name: "mine"}})


@given(
    st.dictionaries(st.sampled_from(["url", "events", "batch", "headers"]), st.from_type(object))
)
def test_whatever_a_file_says_is_read_or_refused(said: dict[str, object]) -> None:
    with suppress(ConfigurationError):
        assert isinstance(parse_webhook(said), Webhook)


@given(st.text())
def test_any_text_is_a_url_or_refused_in_ascii(url: str) -> None:
    try:
        parse_webhook({"url": url})
        message = ""
    except ConfigurationError as error:
        message = error.message
    assert message.isascii()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a.b:9/c?token=secret#d", "https://a.b:9/c"),
        ("https://ada:secret@a.b/c", "https://a.b/c"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, said: str) -> None:
    assert shown_url(url).startswith(said)
    assert "secret" not in shown_url(url)


# -- who wants what


@pytest.mark.parametrize(
    ("hook", "wanted"),
    [
        (Webhook(url=URL), True),
        (Webhook(url=URL, events=("channel_occupied",)), True),
        (Webhook(url=URL, events=("channel_vacated",)), False),
        (Webhook(url=URL, channel_prefix="ord"), True),
        (Webhook(url=URL, channel_prefix="private-"), False),
        (Webhook(url=URL, channel_suffix="ers"), True),
        (Webhook(url=URL, channel_suffix="ord"), False),
    ],
)
def test_an_endpoint_wants_what_passes_all_its_filters(hook: Webhook, *, wanted: bool) -> None:
    assert wants(hook, fact()) is wanted


def test_a_url_is_told_once_though_two_endpoints_have_it() -> None:
    hooks = (Webhook(url=URL, events=("cache_miss",)), Webhook(url=URL), Webhook(url=URL + "2"))
    app = App(id="1", key="k", secret="s", webhooks=hooks)

    assert receivers(app, fact()) == [URL, URL + "2"]
    assert find_webhook(app, URL, fact()) is hooks[1]
    assert find_webhook(app, URL, fact("cache_miss")) is hooks[0]
    assert find_webhook(app, "https://gone.example", fact()) is None


# -- requests


def test_events_have_the_documented_keys_and_no_more() -> None:
    everything: dict[str, Any] = {
        "user_id": "7",
        "event": "client-x",
        "data": "{}",
        "socket_id": "1.2",
        "subscription_count": 3,
    }
    keys = {name: set(webhook_event(fact(name, **everything))) for name in FACT_NAMES}

    plain = {"name", "channel"}
    assert keys == {
        "channel_occupied": plain,
        "channel_vacated": plain,
        "member_added": plain | {"user_id"},
        "member_removed": plain | {"user_id"},
        "client_event": plain | {"event", "data", "socket_id", "user_id"},
        "cache_miss": plain,
        "subscription_count": plain | {"subscription_count"},
    }


def test_the_signature_covers_the_body_byte_for_byte() -> None:
    app = App(id="1", key="app-key", secret="app-secret")
    told = [fact("client_event", event="client-é", data='{"a":"\u2028"}', socket_id="1.2")]
    body = webhook_body(told, now=NOW)

    headers = dict(webhook_headers(app, Webhook(url=URL), told, body))

    expected = hmac.new(b"app-secret", body, hashlib.sha256).hexdigest()
    assert headers == {
        "Content-Type": "application/json",
        "X-Pusher-Key": "app-key",
        "X-Pusher-Signature": expected,
        "X-Broadcaster-Webhook-Id": "a" * 32,
    }
    assert json.loads(body)["events"][0]["event"] == "client-é"


@pytest.mark.parametrize(
    ("ages", "age"), [([0], 0), ([5, 3], 3), ([100], 100), ([250], 240), ([4000], 240), ([-9], 0)]
)
def test_a_request_is_dated_by_its_latest_fact_but_never_too_old(
    ages: list[float], age: float
) -> None:
    told = [fact(time_ms=int((NOW - seconds) * 1000)) for seconds in ages]

    assert json.loads(webhook_body(told, now=NOW))["time_ms"] == int((NOW - age) * 1000)


# -- again


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (204, True), (299, True), (199, False), (302, False)]
)
def test_only_2xx_is_an_acceptance(status: int, *, accepted: bool) -> None:
    assert is_accepted(status) is accepted


def test_pauses_grow_until_the_end_of_five_minutes() -> None:
    now, attempt, pauses = NOW, 0, list[float]()
    while True:
        attempt += 1
        pause = next_try(fact(), attempt=attempt, now=now, chance=0.5)
        if pause is None:
            break
        pauses.append(pause)
        now += pause

    assert pauses[:6] == [1, 2, 4, 8, 16, 32]
    assert sum(pauses) == GIVE_UP_SECONDS
    assert max(pauses) == 60


@given(st.integers(1, 10_000), st.floats(0, 1e4), st.floats(0, 0.999))
def test_no_try_is_planned_past_the_end(attempt: int, age: float, chance: float) -> None:
    pause = next_try(fact(), attempt=attempt, now=NOW + age, chance=chance)

    assert (pause is None) == (age >= GIVE_UP_SECONDS)
    assert pause is None or 0 < pause <= GIVE_UP_SECONDS - age + 0.001


def test_a_fact_from_the_far_future_is_tried_as_often_as_any_other() -> None:
    """Whoever writes to the queue says when a fact was; nothing is retried until that day."""
    late, attempt, pauses = fact(time_ms=10**15), 0, list[float]()
    while True:
        attempt += 1
        pause = next_try(late, attempt=attempt, now=NOW, chance=0.5)
        if pause is None:
            break
        pauses.append(pause)

    assert sum(pauses) == GIVE_UP_SECONDS


def test_a_fact_of_a_clock_that_is_a_little_fast_is_tried_until_its_own_end() -> None:
    assert time_left(fact(), tries=40, now=NOW - 2) == GIVE_UP_SECONDS + 2
