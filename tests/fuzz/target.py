"""What a fuzz target is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from broadcaster.errors import BroadcasterError

# A refusal tells what was wrong, and is no echo of a megabyte.
LONGEST_MESSAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    One parser and what must hold of it for every input.

    Attributes:
        name: on the command line, and of its folder in the corpus.
        check: takes one input; returns what became of it, raises for a broken promise.
        inputs: near-valid inputs.
        seeds: valid ones, and what is known to be nasty.
    """

    name: str
    check: Callable[[bytes], object]
    inputs: SearchStrategy[bytes]
    seeds: tuple[bytes, ...]


def refused(error: BroadcasterError) -> str:
    """Return the outcome of a refusal, which is short and has a code."""
    assert error.code
    assert len(str(error)) <= LONGEST_MESSAGE, f"{len(str(error))} characters: {str(error)[:300]}"
    return f"{type(error).__name__}: {error.code}"


def text_of(data: bytes) -> str:
    """Return text for any bytes: lone surrogates stand for what is no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def fields_of(data: bytes, count: int) -> list[bytes]:
    """Cut one input into `count` fields, at NUL bytes."""
    fields = data.split(b"\0", count - 1)
    return fields + [b""] * (count - len(fields))
