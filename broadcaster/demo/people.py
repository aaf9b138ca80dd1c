"""
Who is who in the demo, and which channels they may enter.

A bearer token is simply a name: there are no passwords, and none are checked. Never do
this outside a demo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broadcaster_auth import Authorizer, bearer, broadcasting_auth

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from broadcaster.contracts.apps import App

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who said their name."""

    id: str

    @property
    def name(self) -> str:
        """The name as shown: ``ada-king`` is Ada King."""
        return " ".join(word.capitalize() for word in self.id.split("-") if word)

    def as_member(self) -> dict[str, str]:
        """Return what others in a room see; Echo passes on nothing but this."""
        return {"id": self.id, "name": self.name}


def person_named(name: str) -> Person | None:
    """Return who has this name, which is anybody if it is a name."""
    return Person(name) if NAME.fullmatch(name) else None


# The demo's own rules, so that they never mix with those of an application beside it.
rules = Authorizer()
who = bearer(person_named)


@rules.channel("orders.{user_id}")
def own_orders(user: Person, user_id: str) -> bool:
    """Let everybody listen to their own orders."""
    return user.id == user_id


@rules.channel("chat.{room}")
def chat(user: Person, room: str) -> dict[str, str]:
    """Let everybody into every room, as a member with a name."""
    del room
    return user.as_member()


def auth_endpoint(app: App, *, debug: bool) -> ASGIApp:
    """Return what answers ``/broadcasting/auth``: it signs for `app` what the rules allow."""
    return broadcasting_auth(app, user=who, authorizer=rules, debug=debug)
