"""
Registration: an event, a map of its listeners, and a mail that a worker sends.

`test_registration.py` shows how an application tests all of it. See README.md.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass

from broadcaster import Job, emit, listeners, queued

log = logging.getLogger("registration")
log.setLevel(logging.INFO)


@dataclass(frozen=True)
class User:
    id: int
    name: str
    email: str


USERS: dict[int, User] = {}  # your database in earnest
_ids = itertools.count(1)
OUTBOX: list[tuple[str, str]] = []
AUDIT: list[str] = []


class Mailer:
    """Stands for a client of a mail provider."""

    def send(self, to: str, subject: str) -> None:
        OUTBOX.append((to, subject))
        log.info("mail to %s: %s", to, subject)


mailer = Mailer()


@dataclass(frozen=True)
class UserRegistered:
    """What has happened. It travels to the worker as JSON, so it carries what is needed there."""

    user_id: int
    email: str


@queued(queue="mail", tries=3, timeout=120, backoff=[10, 60])
class SendWelcomeEmail:
    """A worker calls it; if it fails it is tried again, without the other listeners."""

    def handle(self, event: UserRegistered) -> None:
        mailer.send(event.email, "Welcome!")

    def should_queue(self, event: UserRegistered) -> bool:
        return not event.email.endswith("@example.invalid")

    def failed(self, event: UserRegistered, error: BaseException) -> None:
        log.error("no welcome for user %d: %s", event.user_id, error)


def write_audit(event: UserRegistered) -> None:
    """Called where the event is emitted: the caller waits for it."""
    AUDIT.append(f"user {event.user_id} registered")


class RemindToConfirm(Job, queue="mail", tries=3):
    """A job of its own: it is dispatched with a delay."""

    user_id: int

    def handle(self) -> None:
        user = USERS[self.user_id]
        mailer.send(user.email, "Please confirm your address")


def remind_tomorrow(event: UserRegistered) -> None:
    RemindToConfirm(user_id=event.user_id).dispatch(delay=86_400)


listeners({UserRegistered: [write_audit, SendWelcomeEmail, remind_tomorrow]})


def register(name: str, email: str) -> User:
    """Store a user and tell who wants to know; what the web framework's view calls."""
    user = User(next(_ids), name, email)
    USERS[user.id] = user
    emit(UserRegistered(user.id, user.email))
    return user
