"""Hints for names that are nearly right."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIKENESS = 0.6


def did_you_mean(name: str, known: Iterable[str], *, above: str = "") -> str:
    """
    Return `` - did you mean 'x'?`` or nothing.

    Args:
        name: what somebody wrote.
        known: what they may have meant.
        above: stands before the name in the hint, like ``limits.``.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=_LIKENESS)
    return f" - did you mean {above + close[0]!r}?" if close else ""
