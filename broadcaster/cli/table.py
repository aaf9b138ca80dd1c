"""Tables for terminals: columns that line up, give way in narrow ones, and carry colours."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ALWAYS = 9
"""`Column.keep` of a column that is never left out."""
_GAP = "  "
_LEAST = 3  # lines of a part that was cut: a head, one of its lines, and what is left out
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: controls, formats (directions, joiners), surrogates, breaks of lines."""
_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1", "cyan": "36"}


class Style(NamedTuple):
    """
    What a terminal can show.

    Attributes:
        width: characters in a line; 0 is any number.
        height: lines of the picture; 0 is any number.
        colour: whether it obeys colours.
        symbols: whether it shows more than ASCII.
    """

    width: int = 0
    colour: bool = False
    symbols: bool = False
    height: int = 0

    def paint(self, text: str, colour: str) -> str:
        """Return `text` in a colour (``red``, ``dim``, ...), or as it is without one."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour else text


class Cell(NamedTuple):
    """One value of a table; the colour is "" or a word of `Style.paint`."""

    text: str
    colour: str = ""


class Column(NamedTuple):
    """
    One column of a table.

    Attributes:
        title: its first line.
        cells: the others.
        keep: which columns stay in a narrow terminal: those with more of it.
        right: numbers, which end in line.
    """

    title: str
    cells: Sequence[Cell]
    keep: int = ALWAYS
    right: bool = False

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        return max(len(self.title), *(len(cell.text) for cell in self.cells), 0)

    def lines(self, style: Style) -> list[str]:
        """Return title and cells, all of one width."""
        return [self._line(cell, style) for cell in (Cell(self.title, "dim"), *self.cells)]

    def _line(self, cell: Cell, style: Style) -> str:
        space = " " * (self.width - len(cell.text))
        text = style.paint(cell.text, cell.colour)
        return space + text if self.right else text + space


def table(columns: Sequence[Column], style: Style) -> list[str]:
    """Return title line and rows; columns of little weight are left out where they do not fit."""
    shown = [column for column in columns if column.title or any(c.text for c in column.cells)]
    while style.width and _width(shown) > style.width:
        least = min(column.keep for column in shown)
        if least == ALWAYS:
            break
        shown.remove(next(column for column in reversed(shown) if column.keep == least))
    rows = zip(*(column.lines(style) for column in shown), strict=True)
    return [_GAP.join(row).rstrip() for row in rows]


def share(parts: Sequence[Sequence[str]], height: int, first: Sequence[int]) -> list[list[str]]:
    """
    Return `parts` of a picture in at most `height` lines together; 0 is any number.

    Parts that are cut end with how many lines are not shown, and keep their head and one more.

    Args:
        first: indexes of parts, in the order in which they are cut.
    """
    shown = [list(part) for part in parts]
    for index in first:
        over = sum(map(len, shown)) - height
        if not height or over <= 0:
            break
        part = shown[index]
        left = max(min(len(part), _LEAST), len(part) - over)
        if left < len(part):
            hidden = len(part) - left + 1
            shown[index] = [*part[: left - 1], f"... {hidden} lines more"]
    return shown


def cut(line: str, width: int) -> str:
    """Return `line`, without colours, in at most `width` characters; 0 is any number."""
    return line if not width or len(line) <= width else line[: max(0, width - 1)] + "~"


def plain(text: str) -> str:
    """Return `text` without characters that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join("?" if unicodedata.category(each) in _OBEYED else each for each in text)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)
