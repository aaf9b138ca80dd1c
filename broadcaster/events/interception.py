"""
Where the fakes of `broadcaster.testing` step in; empty in every other process.

What is intercepted goes no further: no listener is called, nothing is queued or published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.events.shaping import Draft


class Interception:
    """
    Who takes events.

    Attributes:
        emitted: takes an event that is about to reach its listeners; False lets it pass.
        broadcast: takes what an event said and its publications; False lets them pass.
    """

    __slots__ = ("broadcast", "emitted")

    def __init__(self) -> None:
        self.emitted: Callable[[object], bool] | None = None
        self.broadcast: Callable[[Draft, Sequence[Publication]], bool] | None = None


interception = Interception()
"""The one of this process."""
