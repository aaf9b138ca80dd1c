"""What the import of a user's modules raised, as it is shown to them."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return what follows the first import: before it is only how we came to import."""
    found = trace
    while found is not None and not _is_import(found):
        found = found.tb_next
    if found is None:
        return trace
    while found is not None and _is_import(found):
        found = found.tb_next
    return found


def explain(error: Exception) -> str:
    """Return an error of the user's code in one line, with the place of its origin."""
    said = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:  # it names its place itself
        return said
    real = [frame for frame in frames if not frame.filename.startswith("<")]
    place = (real or frames)[-1]
    return f"{said} ({place.filename}, line {place.lineno})"


def _is_import(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith("<frozen importlib")
