"""What a fake takes: everything, unless somebody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Target = TypeVar("Target")


class Selection(Generic[Target]):
    """A fake that can be told which targets it is for."""

    def __init__(self) -> None:
        self._only: tuple[Target, ...] = ()
        self._except: tuple[Target, ...] = ()

    def only(self, *targets: Target) -> Self:
        """Take these and nothing else; the rest goes where it would have gone."""
        self._only = (*self._only, *targets)
        return self

    def except_(self, *targets: Target) -> Self:
        """Let these go where they would have gone."""
        self._except = (*self._except, *targets)
        return self

    def _selects(self, is_of: Callable[[Target], bool]) -> bool:
        """Whether what is of the targets for which `is_of` holds is to be taken."""
        meant = not self._only or any(is_of(target) for target in self._only)
        return meant and not any(is_of(target) for target in self._except)
