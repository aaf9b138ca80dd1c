"""revoke() and arevoke()."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broadcaster import arevoke, revoke
from broadcaster.errors import DriverUnavailable, InvalidChannel, MalformedMessage

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


async def test_both_verbs_revoke_the_same(app: RecordingApplication) -> None:
    before = time.time()
    revoke(user=42, channel="private-orders.*")
    await arevoke(user="42", channel="private-orders.*")

    assert app.calls == ["revoke", "arevoke"]
    for app_id, item in app.revoked:
        assert (app_id, item.user, item.channel) == ("1", "42", "private-orders.*")
        assert before <= item.at <= time.time()


def test_without_a_channel_all_are_meant(app: RecordingApplication) -> None:
    revoke(user="42")

    assert app.revoked[0][1].channel == ""


def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    app: RecordingApplication,
) -> None:
    with pytest.raises(InvalidChannel, match="private- or presence-"):
        revoke(user="42", channel="orders.42")
    with pytest.raises(MalformedMessage):
        revoke(user="")

    assert app.calls == []


async def test_a_failure_is_raised(app: RecordingApplication) -> None:
    """A revocation that got lost must not look like one that holds."""
    app.failure = DriverUnavailable("no answer")

    with pytest.raises(DriverUnavailable):
        revoke(user="42")
    with pytest.raises(DriverUnavailable):
        await arevoke(user="42")
