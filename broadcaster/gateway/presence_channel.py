"""One presence channel of this node: who of ours is in it, and what is to be done there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.contracts.presence import Joining
from broadcaster.gateway.presence_queue import PresenceQueue
from broadcaster.protocol.channels import shown
from broadcaster.protocol.messages import encode_member_added, encode_presence_succeeded

if TYPE_CHECKING:
    from broadcaster.contracts.presence import Member, Snapshot
    from broadcaster.errors import DriverRefused

_log = logging.getLogger("broadcaster.gateway")


class PresenceChannel:
    """
    See the module.

    Attributes:
        members: by socket id; what is registered again after an outage.
        indexed: epoch under which the node's index names the channel.
        facts: whether the app wants to know who comes and goes.
        registrations: how often its members were registered again, or began to be.
    """

    __slots__ = (
        "_registering",
        "_said",
        "_unreadable",
        "app_id",
        "busy",
        "facts",
        "indexed",
        "members",
        "name",
        "ops",
        "registrations",
        "topic",
    )

    def __init__(self, topic: bytes, app_id: str, name: str) -> None:
        self.topic = topic
        self.app_id = app_id
        self.name = name
        self.ops = PresenceQueue()
        self.members: dict[str, Member] = {}
        self.indexed: int | None = None
        self.busy = False
        self.facts = False
        self.registrations = 0
        self._registering = 0
        self._said = ""  # refusal that was complained of
        self._unreadable: list[str] = []  # user ids that were complained of

    @property
    def is_held(self) -> bool:
        """Whether it has members, or what registers them again has yet to see who is left."""
        return bool(self.members or self._registering)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is in the store, nor about to come there."""
        return not self.is_held and self.indexed is None

    def begin_registration(self) -> None:
        """Its members of this moment are registered again, beside its operations."""
        self.registrations += 1
        self._registering += 1

    def end_registration(self) -> None:
        """They are, or it failed."""
        self._registering -= 1

    def registered_since(self, registrations: int) -> bool:
        """Whether any registration was under way since there had been so many."""
        return self._registering > 0 or self.registrations != registrations

    def joining(self, socket_id: str, member: Member, *, limit: int) -> Joining:
        """Return what adds a member to the list in the store."""
        added = encode_member_added(self.name, member.data)
        return Joining(self.app_id, self.name, socket_id, member, added, limit, facts=self.facts)

    def member_list(self, snapshot: Snapshot) -> bytes:
        """Return the frame with the member list; what is wrong in Redis is said once."""
        unreadable: list[str] = []
        frame = encode_presence_succeeded(self.name, snapshot.members, unreadable)
        if unreadable and unreadable != self._unreadable:
            _log.warning(
                "%s: %d members in Redis cannot be read and are left out, first %s",
                self.name,
                len(unreadable),
                shown(unreadable[0]),
                extra={"event": "unreadable", "app": self.app_id, "channel": self.name},
            )
        self._unreadable = unreadable
        return frame

    def refused(self, error: DriverRefused) -> None:
        """Say once that the list in the store cannot be used."""
        level = logging.DEBUG if self._said == error.message else logging.WARNING
        fields = {"event": "refused", "app": self.app_id, "channel": self.name}
        _log.log(level, "presence of %s waits: %s", self.name, error, extra=fields)
        self._said = error.message

    def complain(self, error: Exception) -> None:
        """Say that something failed that cannot."""
        _log.error(
            "an operation in %s failed; the next one follows",
            self.name,
            exc_info=error,
            extra={"event": "bug", "app": self.app_id, "channel": self.name},
        )


def is_outdated(version: int, before: int | None, now: int | None) -> bool:
    """
    Whether subscribers were told something newer while a list was on its way here. Pure.

    A list that is older than what they knew `before` it was asked for is none of these: then
    the store has forgotten something.

    Args:
        version: of the list.
        before: what they knew when it was asked for, None for nothing.
        now: what they know.
    """
    return now is not None and version < now and before != now
