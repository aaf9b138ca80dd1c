"""
Who is who in the demo, and which channels they may enter.

A bearer token is simply a name: there are no passwords, and none are checked. Never do
this outside a demo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


def person_of(authorization: str | None) -> Person | None:
    """Return who an ``Authorization: Bearer <name>`` header says they are."""
    scheme, _, token = (authorization or "").partition(" ")
    name = token.strip()
    if scheme.lower() != "bearer" or NAME.fullmatch(name) is None:
        return None
    return Person(name)
