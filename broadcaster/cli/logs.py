"""
Log lines: one readable line each on a terminal, one JSON object each elsewhere.

Library code logs a readable message with ``extra={"event": ..., ...}``; the fields that
may come are in `FIELDS`. Payloads, tokens and secrets are never among them. Both forms
are made from the same mapping, so ``broadcaster dev`` reads its children's JSON lines
and shows them with `render`.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broadcaster.settings import Settings

SETTINGS_EVENT = "settings"
Format = Literal["auto", "human", "json"]

# In the order in which they are written.
FIELDS = (
    *("event", "app", "channel", "socket_id", "user_id", "cause", "code", "close_code"),
    *("job", "job_id", "queue", "attempt", "delay", "error", "trace_id"),
    *("node", "sockets", "bytes", "count", "dur_ms"),
)
_ALWAYS = ("ts", "level", "event", "msg")
# What every record carries; anything else came through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName", "color_message", "websocket"),
}

_RESET, _DIM = "\x1b[0m", "\x1b[2m"
_RED, _GREEN, _YELLOW, _BLUE, _CYAN = (f"\x1b[{code}m" for code in (31, 32, 33, 34, 36))
_LEVEL_COLOURS = {"warning": _YELLOW, "error": _RED, "critical": _RED}
# First part of an event's name -> colour of its tag.
_EVENT_COLOURS = {
    "connected": _CYAN,
    "disconnected": _DIM,
    "subscribed": _GREEN,
    "unsubscribed": _DIM,
    "denied": _RED,
    "refused": _RED,
    "published": _BLUE,
    "delivered": _BLUE,
    "job_done": _GREEN,
    "job_started": _DIM,
    "job_retry": _YELLOW,
    "job_failed": _RED,
}
_TAG_WIDTH = 14


def configure(format: Format = "auto", level: int | str = logging.INFO) -> None:  # noqa: A002
    """
    Send this process's log records to stdout, and what is printed there by whole lines.

    Args:
        format: ``auto`` is ``human`` when stdout is a terminal and ``json`` otherwise.
        level: of broadcaster's own loggers; other libraries are heard from warnings on.
    """
    is_terminal = sys.stdout.isatty()
    _keep_lines_whole(sys.stdout)
    human = format == "human" or (format == "auto" and is_terminal)
    handler = _QuietHandler(sys.stdout)
    handler.setFormatter(HumanFormatter(colour=is_terminal) if human else JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("broadcaster").setLevel(level)
    logging.getLogger("broadcaster_auth").setLevel(level)
    logging.captureWarnings(capture=True)


def level_of(settings: Settings) -> str:
    """
    Return the level to log at: ``debug`` with the setting `debug`, else ``info``.

    That a ``broadcaster dev`` runs beside counts at a terminal only, where somebody looks on.
    """
    beside = settings.sources.get("debug") == "dev.json"
    return "debug" if settings.debug and (not beside or sys.stdout.isatty()) else "info"


def warn_of_settings(logger: logging.Logger, warnings: Iterable[str]) -> None:
    """Say at a start what was set and does not count."""
    for text in warnings:
        logger.warning("%s", text, extra={"event": SETTINGS_EVENT})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``ts, level, event, msg`` and the fields that apply."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        return json.dumps(fields_of(record), ensure_ascii=True, default=str)


class HumanFormatter(logging.Formatter):
    """One line for a reader; a traceback follows its record."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        return render(fields_of(record), colour=self._colour)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record says as the mapping that both forms are made from."""
    moment = datetime.fromtimestamp(record.created, UTC)
    extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    found: dict[str, object] = {
        "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": extras.pop("event", record.name),
        "msg": record.getMessage().rstrip(),
    }
    found |= {name: extras.pop(name) for name in FIELDS if name in extras}
    found |= extras
    if record.exc_info and record.exc_info[0] is not None:
        found["traceback"] = logging.Formatter().formatException(record.exc_info)
    return found


def render(fields: Mapping[str, object], *, colour: bool, source: str = "") -> str:
    """
    Return a line for a reader.

    Args:
        fields: as from `fields_of`, or a parsed JSON line of another process.
        source: who said it, when several processes share the terminal.

    Control characters are shown escaped: a client's text must not steer the terminal.
    """
    level, event = str(fields.get("level", "info")), str(fields.get("event", ""))
    message = printable(str(fields.get("msg", "")))
    tag = printable(event.replace("_", " "))[: _TAG_WIDTH * 2].ljust(_TAG_WIDTH)
    details = _details(fields, message)
    parts = [_clock(str(fields.get("ts", "")))]
    if source:
        parts.append(source.ljust(8))
    parts = [_paint(" ".join(parts), _DIM, colour=colour)]
    parts.append(_paint(tag, _EVENT_COLOURS.get(event, ""), colour=colour))
    rest = _after(event.replace("_", " "), message)
    if rest:
        parts.append(_paint(rest, _LEVEL_COLOURS.get(level, ""), colour=colour))
    if details:
        parts.append(_paint(details, _DIM, colour=colour))
    line = " ".join(parts)
    traceback = fields.get("traceback")
    if isinstance(traceback, str):
        line += "\n" + "\n".join(f"    {printable(part)}" for part in traceback.splitlines())
    return line


def printable(text: str) -> str:
    """Return `text` with control characters, separators and lone surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _keep_lines_whole(stream: TextIO) -> None:
    """
    Write a line at once, its end included.

    With `PYTHONUNBUFFERED` `print` writes the end apart, and a record of another thread may
    come between the two.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(line_buffering=True, write_through=False)


class _QuietHandler(logging.StreamHandler[TextIO]):
    """Writes to stdout and gives up silently when nobody reads it any more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by logging
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def _details(fields: Mapping[str, object], message: str) -> str:
    """Return the fields that the message does not say already."""
    skipped = {*_ALWAYS, "app", "node", "traceback", "dur_ms", "moment"}
    if fields.get("level") in ("debug", "info"):
        skipped.add("job_id")
    found = [
        f"{name}={printable(str(value))}"
        for name, value in fields.items()
        # A trailing underscore marks a name that logging itself uses.
        if name not in skipped
        and not name.endswith("_")
        and value is not None
        and not _says(message, f"{value:g}" if isinstance(value, float) else str(value))
    ]
    duration = fields.get("dur_ms")
    if isinstance(duration, int | float) and f" {duration:g} ms" not in message:
        # A job's message may end with another time: "next try in 1 s".
        is_job = str(fields.get("event", "")).startswith("job_")
        found.insert(0, f"({duration:g} ms)" if is_job else f"in {duration:g} ms")
    return " ".join(found)


def _says(message: str, value: str) -> bool:
    """Whether `value` stands in `message`, and not only inside of a word or number of it."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.]*\w)", message) is not None


def _after(tag: str, message: str) -> str:
    """Return what `message` says beyond the tag in front of it."""
    rest = message.removeprefix(tag)
    return rest.lstrip(" :") if rest[:1] in ("", " ", ":") else message


def _clock(stamp: str) -> str:
    """Return the time of day here, of an ISO time in UTC."""
    try:
        moment = datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        moment = time.time()
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"{code}{text}{_RESET}" if colour and code else text
