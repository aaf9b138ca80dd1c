"""Public keys that verify grants, by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class KeyDocument(NamedTuple):
    """
    A JWK Set as it was read.

    Attributes:
        body: JSON of the documented shape.
        read_at: Unix seconds at which the request began.
    """

    body: bytes
    read_at: float


class PublicKeys(Protocol):
    """
    Reads key documents in the background; what is asked for is answered from memory.

    The last good document stays until a new one was read, however long that takes.
    """

    def find(self, url: str) -> KeyDocument | None:
        """Return the last good document, or None before the first; and keep it up to date."""
        ...

    def refresh(self, url: str) -> None:
        """Read it again soon, because a key is missing in it."""
        ...

    def on_read(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each document that was read."""
        ...

    async def run(self) -> None:
        """Read until cancelled."""
        ...
