"""Events without a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster import context
from broadcaster.errors import InvalidChannel, PublicationError
from broadcaster.events.anonymous import on, presence, private
from broadcaster.events.channels import PrivateChannel

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


def test_nothing_is_sent_before_the_last_verb(app: RecordingApplication) -> None:
    event = on("orders.1").as_("shipped").with_({"id": 7})
    assert app.calls == []

    event.send()

    assert app.payloads()[0].data == {
        "app": "1",
        "channels": ["orders.1"],
        "name": "shipped",
        "data": '{"id":7}',
        "socket_id": None,
    }


def test_each_step_leaves_the_one_before_it_as_it_was(app: RecordingApplication) -> None:
    event = on("orders.1")

    event.as_("shipped").with_([1]).send()
    event.send()

    first, second = (payload.data for payload in app.payloads())
    assert (first["name"], first["data"]) == ("shipped", "[1]")
    assert (second["name"], second["data"]) == ("AnonymousEvent", "{}")


async def test_the_last_verb_says_when_and_how(app: RecordingApplication) -> None:
    event = private("orders.1").via("log").on_queue("low")

    event.send()
    await event.asend()
    event.send_now()
    await event.asend_now()

    assert app.calls == ["push", "apush", "publish", "apublish"]
    assert app.jobs[0].queue == "low"
    assert app.payloads()[0].data["connection"] == "log"
    assert app.published[0].connection == "log"


def test_channels_are_named_by_kind(app: RecordingApplication) -> None:
    on("a", PrivateChannel("b")).send()
    private("c", "d").send()
    presence("e").send()

    assert [payload.data["channels"] for payload in app.payloads()] == [
        ["a", "private-b"],
        ["private-c", "private-d"],
        ["presence-e"],
    ]


def test_to_others_leaves_out_the_connection_of_the_request(app: RecordingApplication) -> None:
    token = context.socket_id.set("1.2")
    try:
        on("a").to_others().send()
    finally:
        context.socket_id.reset(token)

    assert app.payloads()[0].data["socket_id"] == "1.2"


def test_mistakes_are_found_where_they_are_made(app: RecordingApplication) -> None:
    with pytest.raises(InvalidChannel):
        on("a b")
    with pytest.raises(PublicationError, match="begins with a dot"):
        on("a").as_(".shipped").send()
