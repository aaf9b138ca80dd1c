"""Who sends signed-in users away."""

from __future__ import annotations

from typing import Protocol


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
