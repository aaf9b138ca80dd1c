"""The verbs about signed-in users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster import (
    aonline,
    aonline_many,
    aterminate_connections,
    online,
    online_many,
    terminate_connections,
)
from broadcaster.errors import DriverUnavailable, MalformedMessage

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


async def test_both_verbs_end_the_same_connections(app: RecordingApplication) -> None:
    terminate_connections(42)
    await aterminate_connections("42")

    assert app.calls == ["terminate", "aterminate"]
    assert app.terminated == [("1", "42")] * 2


@pytest.mark.parametrize("user_id", [None, True, 4.2, ["42"]])
async def test_what_is_no_id_is_refused_before_anything_is_sent(
    app: RecordingApplication, user_id: Any
) -> None:
    with pytest.raises(MalformedMessage, match="a string or an integer"):
        terminate_connections(user_id)
    with pytest.raises(MalformedMessage):
        await aterminate_connections(user_id)

    assert app.calls == []


async def test_a_failure_is_raised(app: RecordingApplication) -> None:
    """Connections that were not ended must not look like ended ones."""
    app.failure = DriverUnavailable("no answer")

    with pytest.raises(DriverUnavailable):
        terminate_connections("42")
    with pytest.raises(DriverUnavailable):
        await aterminate_connections("42")


# -- who is online --------------------------------------------------------------------


async def test_both_verbs_say_the_same_of_one_user(app: RecordingApplication) -> None:
    app.signed_in = {"42"}

    assert online(42)
    assert await aonline("42")
    assert not online("7")
    assert not await aonline(7)


async def test_of_many_those_who_are_online_are_answered_as_they_were_asked_for(
    app: RecordingApplication,
) -> None:
    app.signed_in = {"42", "ada"}

    assert online_many([42, 7]) == {42}
    assert await aonline_many(user for user in ("ada", "bob")) == {"ada"}
    assert online_many([]) == set()
    assert app.calls == ["online", "aonline", "online"]
