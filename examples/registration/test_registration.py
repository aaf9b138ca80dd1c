"""How an application tests its events and jobs: the fixtures come with broadcaster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import registration
from registration import (
    AUDIT,
    OUTBOX,
    RemindToConfirm,
    SendWelcomeEmail,
    UserRegistered,
    register,
    write_audit,
)

from broadcaster import hours

if TYPE_CHECKING:
    from broadcaster.testing import EventFake, FakeClock, LiveQueue, QueueFake


@pytest.fixture(autouse=True)
def _empty() -> None:
    OUTBOX.clear()
    AUDIT.clear()


def test_a_user_who_registers_is_welcomed(queue_fake: QueueFake) -> None:
    user = register("Ada", "ada@example.com")

    queue_fake.assert_pushed(SendWelcomeEmail, lambda event: event.user_id == user.id)
    queue_fake.assert_pushed_on("mail", SendWelcomeEmail)
    assert [f"user {user.id} registered"] == AUDIT


def test_nobody_writes_to_addresses_that_cannot_be(queue_fake: QueueFake) -> None:
    register("Nobody", "nobody@example.invalid")

    queue_fake.assert_not_pushed(SendWelcomeEmail)


def test_a_reminder_is_queued_for_tomorrow(queue_fake: QueueFake) -> None:
    register("Ada", "ada@example.com")

    [reminder] = [one for one in queue_fake.records if isinstance(one.job, RemindToConfirm)]
    assert reminder.delay == hours(24)


def test_registering_tells_what_has_happened(event_fake: EventFake) -> None:
    user = register("Ada", "ada@example.com")

    event_fake.assert_emitted(UserRegistered, lambda event: event.user_id == user.id)
    event_fake.assert_listening(UserRegistered, SendWelcomeEmail)
    event_fake.assert_listening(UserRegistered, write_audit)
    assert AUDIT == []


def test_the_listener_sends_a_mail() -> None:
    SendWelcomeEmail().handle(UserRegistered(7, "ada@example.com"))

    assert OUTBOX == [("ada@example.com", "Welcome!")]


def test_the_mails_are_sent(live_queue: LiveQueue, fake_clock: FakeClock) -> None:
    register("Ada", "ada@example.com")

    assert live_queue.work_once() == 1
    assert OUTBOX == [("ada@example.com", "Welcome!")]

    fake_clock.advance(hours(24))
    live_queue.drain()
    assert OUTBOX[1:] == [("ada@example.com", "Please confirm your address")]
    live_queue.assert_nothing_failed()


def test_a_mail_that_fails_is_tried_again(
    live_queue: LiveQueue, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise ConnectionError("the provider is away")

    with monkeypatch.context() as patch:
        patch.setattr(registration.mailer, "send", refuse)
        register("Ada", "ada@example.com")
        live_queue.drain()
    assert OUTBOX == []

    fake_clock.advance(10)
    live_queue.drain()

    assert OUTBOX == [("ada@example.com", "Welcome!")]
