"""What fakes of the queue and of the bus have in common: which jobs they take, and what they took."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

from broadcaster.testing.application import recording
from broadcaster.testing.records import PushedJob, is_of, listed, place_of, title_of
from broadcaster.testing.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.batches import NewBatch

    Predicate = Callable[[Any], object]


class Pushes(Selection[object]):
    """
    Takes jobs before they reach the queue.

    Use it as a fixture, as a context manager, or with `unittest`'s `enterContext`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: list[PushedJob] = []
        self._kept: list[NewBatch] = []
        self._stack = ExitStack()

    def __repr__(self) -> str:
        """Say how much it has taken."""
        return f"<{type(self).__name__} with {len(self._taken)} pushed>"

    def __enter__(self) -> Self:
        self._stack.enter_context(recording(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Forget what was taken."""
        self._taken.clear()
        self._kept.clear()

    def wants(self, pushed: PushedJob) -> bool:
        """See `broadcaster.testing.application.Recorder`."""
        return self._selects(partial(is_of, pushed))

    def take(self, pushed: PushedJob) -> None:
        """See `broadcaster.testing.application.Recorder`."""
        self._taken.append(pushed)

    def take_batch(self, batch: NewBatch) -> bool:
        """See `broadcaster.testing.application.Recorder`."""
        if self._only:
            return False
        self._kept.append(batch)
        return True


def missing(
    verb: str,
    target: object,
    taken: Sequence[object],
    *,
    refused: Sequence[object] = (),
    where: str = "",
) -> NoReturn:
    """
    Fail because what was asked for is not among `taken`.

    Args:
        verb: what was to be done: ``pushed``.
        refused: what is of `target`, and for which the predicate does not hold.
        where: what else was asked for, behind the name: `` on 'mail'``.

    Raises:
        AssertionError: always; it says what there is instead.
    """
    __tracebackhide__ = True
    title = title_of(target)
    if refused:
        text = f"no {title} that was {verb} fulfils the predicate:"
        raise AssertionError(listed(text, refused, ""))
    there = listed(f"{verb} were:", taken, f"nothing was {verb}")
    places = [place_of(one, target) for one in taken if isinstance(one, PushedJob)]
    sits = next((f"it is {place}; " for place in places if place), "")
    raise AssertionError(f"{title} was not {verb}{where}; {sits}{there}")


def counted(verb: str, title: str, times: int, found: Sequence[object]) -> None:
    """
    Fail unless there are `times` of `found`.

    Raises:
        AssertionError: it lists them.
    """
    __tracebackhide__ = True
    if len(found) != times:
        text = f"{title} was to be {verb} {_times(times)}, not {_times(len(found))}:"
        raise AssertionError(listed(text, found, text.rstrip(":")))


def unwanted(text: str, found: Sequence[object]) -> None:
    """
    Fail if there is anything in `found`.

    Raises:
        AssertionError: it says `text`, and lists them.
    """
    __tracebackhide__ = True
    if found:
        raise AssertionError(listed(f"{text}:", found, ""))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
