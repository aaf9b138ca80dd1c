"""Where revocations are kept, and who makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from broadcaster.contracts.users import UserTerminator
from broadcaster.protocol.revocation import Revocation

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Revocation", "RevocationStore", "Revoker", "Stored"]


class Stored(NamedTuple):
    """
    What the store holds for one app.

    Attributes:
        version: changes whenever something was added; None when nothing was ever kept, or
            when the data is lost.
        items: every revocation that has not expired.
    """

    version: bytes | None
    items: list[Revocation]


class RevocationStore(UserTerminator, Protocol):
    """
    Keeps revocations until they expire, and tells every node of new ones.

    Of several for one user and channel the latest is kept. Adding is atomic, safe to repeat,
    and at once a control message to every node (`broadcaster.protocol.revocation`); a node
    that was cut off reads again. Raises `DriverUnavailable`, and `DriverError` with the code
    ``revocations_full`` when there is no room; nothing else.
    """

    async def add(self, app_id: str, items: Sequence[Revocation]) -> None:
        """Keep `items` and tell the nodes; those that have expired are passed over."""
        ...

    async def version(self, app_id: str) -> bytes | None:
        """Return the present `Stored.version`: cheap, to see whether to read again."""
        ...

    async def read(self, app_id: str) -> Stored:
        """Return everything that is kept."""
        ...

    async def moments(self, app_id: str, user_ids: Sequence[str]) -> list[float]:
        """
        Return the moment, by the store's clock, for each user who signs in now.

        A termination that was made before has no later one, one that is made after has.
        """
        ...


class Revoker(UserTerminator, Protocol):
    """The backend's side: one revocation, in one round trip."""

    def revoke(self, app_id: str, item: Revocation) -> None:
        """Keep `item` and tell the nodes; raises as `RevocationStore` does, within 2 s."""
        ...

    async def arevoke(self, app_id: str, item: Revocation) -> None:
        """Do what `revoke` does, from a coroutine."""
        ...
