"""What a backend asks about signed-in users: who is online, and that they be sent away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class UserTerminator(Protocol):
    """
    Closes the connections that are signed in as a user, on every node.

    Those that had signed in before the call are closed (4009), those that sign in after it
    never are. It is kept for a day, so that nodes that are cut off when it is called obey it
    once they are back.
    """

    def terminate(self, app_id: str, user_id: str) -> None:
        """
        Close a user's connections; returns when it is kept and the nodes are told.

        Raises:
            MalformedMessage: not an id that users can sign in with.
            DriverUnavailable: Redis did not answer; it is unknown whether it holds, and
                repeating it closes those too who have signed in meanwhile.
            DriverError: no room for it (code ``revocations_full``).
        """
        ...

    async def aterminate(self, app_id: str, user_id: str) -> None:
        """Do what `terminate` does, from a coroutine."""
        ...


class OnlineReader(Protocol):
    """
    Says who is online: signed in on at least one connection of any gateway.

    The answer is what watchers are told, so a user who has just gone is online for the rest of
    their grace, and one of a gateway that was killed until it is swept.
    """

    def online(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        """
        Return for each user whether they are online, in one round trip.

        Raises:
            MalformedMessage: not an id that users can sign in with.
            DriverUnavailable: Redis did not answer within 2 s.
        """
        ...

    async def aonline(self, app_id: str, user_ids: Sequence[str]) -> list[bool]:
        """Do what `online` does, from a coroutine."""
        ...
