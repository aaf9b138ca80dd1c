"""Showing something again and again, until Ctrl-C, on a terminal or into a pipe."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

from broadcaster.cli.table import Style, cut, plain
from broadcaster.errors import DriverError
from broadcaster.settings_sources import wants_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen, no cursor
_NOTE_LINES = 2  # below the picture: an empty one, and when it was drawn
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def style_of_output() -> Style:
    """Return what standard output can show; ``NO_COLOR`` and pipes get no colours."""
    if not sys.stdout.isatty():
        return Style()
    symbols = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    width = shutil.get_terminal_size().columns
    return Style(width=width, colour=wants_colours(), symbols=symbols)


def watched(look: Callable[[Style], Sequence[str]], every: float, *, lines: bool = False) -> None:
    """
    Show what `look` returns every few seconds, until Ctrl-C.

    On a terminal each picture replaces the one before it. While the store cannot be reached
    that is said, over the last picture.

    Args:
        look: returns lines; may raise `DriverError`.
        every: seconds from one look to the next.
        lines: what it returns is for programs: it is printed as it is.
    """
    drawn = sys.stdout.isatty() and not lines
    try:
        if drawn:
            click.echo(_ENTER, nl=False)
        _show_on(look, every, drawn=drawn, quiet=lines)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        if drawn:
            click.echo(_LEAVE, nl=False)


def _show_on(
    look: Callable[[Style], Sequence[str]], every: float, *, drawn: bool, quiet: bool
) -> None:
    last: Sequence[str] = ()
    while True:
        style = style_of_output()
        if drawn:
            style = style._replace(height=max(1, shutil.get_terminal_size().lines - _NOTE_LINES))
        note = f"every {every:g} s, Ctrl-C ends"
        try:
            last = look(style)
        except DriverError as error:
            note = cut(plain(f"{time.strftime('%H:%M:%S')} {error}; trying on"), style.width)
            note = style.paint(note, "red")
            if quiet:
                click.echo(note, err=True)
        else:
            if quiet:
                click.echo("\n".join(last))
            note = style.paint(f"{time.strftime('%H:%M:%S')} {note}", "dim")
        if drawn:
            click.echo(_picture([*last, "", note]), nl=False)
        elif not quiet:
            click.echo("\n".join([*last, note, ""]))
        time.sleep(every)


def _picture(lines: Sequence[str]) -> str:
    """Return what draws `lines` over the last picture; the last line always fits."""
    height = shutil.get_terminal_size().lines
    if len(lines) > height:
        left_out = len(lines) - height + 1
        lines = [*lines[: max(0, height - 2)], f"... {left_out} lines more", lines[-1]]
    ended = [line + _END_OF_LINE for line in lines]
    return _HOME + "\r\n".join(ended) + _BELOW
