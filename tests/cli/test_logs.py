from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.cli import logs
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize(
    ("source", "at_terminal", "level"),
    [
        ("dev.json", True, "debug"),
        ("dev.json", False, "info"),
        ("environment BROADCASTER_DEBUG", False, "debug"),
    ],
)
def test_a_dev_beside_has_only_terminals_show_debug_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, level: str, *, at_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: at_terminal)
    settings = load_settings({"debug": True}, cwd=tmp_path, environ={})

    assert logs.level_of(replace(settings, sources={"debug": source})) == level
    assert logs.level_of(replace(settings, debug=False)) == "info"


def record(message: str = "one joined", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(
        "broadcaster.gateway", logging.INFO, "f.py", 1, message, None, None, "f"
    )
    made.created = 1_700_000_000.25
    vars(made).update(extra)
    return made


def test_a_json_line_has_the_fields_in_their_order() -> None:
    line = logs.JsonFormatter().format(
        record(sockets=2, event="subscribed", channel="private-a", dur_ms=1.5)
    )

    assert list(json.loads(line)) == ["ts", "level", "event", "msg", "channel", "sockets", "dur_ms"]
    assert json.loads(line)["ts"] == "2023-11-14T22:13:20.250Z"


def test_a_record_without_event_is_named_by_its_logger() -> None:
    assert logs.fields_of(record())["event"] == "broadcaster.gateway"


def test_a_json_line_is_one_line_whatever_a_client_sends() -> None:
    line = logs.JsonFormatter().format(record("a\nb\u2028c\ud800", event="denied"))

    assert line.isascii()
    assert len(line.splitlines()) == 1


def test_unusual_extras_do_not_stop_a_line() -> None:
    line = logs.JsonFormatter().format(record(cause=ValueError("x"), other={1, 2}))

    assert json.loads(line)["cause"] == "x"


def test_a_traceback_follows_the_line() -> None:
    failed = record(event="job_failed")
    try:
        raise ValueError("no")  # noqa: TRY301 - the traceback is what is tested
    except ValueError:
        failed.exc_info = sys.exc_info()

    text = logs.HumanFormatter(colour=False).format(failed)

    assert text.splitlines()[-1].strip() == "ValueError: no"


def test_a_human_line_says_what_the_message_does_not() -> None:
    line = logs.HumanFormatter(colour=False).format(
        record("private-a joined", event="subscribed", channel="private-a", socket_id="1.2")
    )

    assert line.endswith("subscribed     private-a joined socket_id=1.2")


def test_a_duration_is_read_as_one() -> None:
    line = logs.render({"event": "delivered", "msg": "a -> 2 sockets", "dur_ms": 1.5}, colour=False)

    assert line.endswith("a -> 2 sockets in 1.5 ms")


def test_a_duration_beside_another_time_stands_apart() -> None:
    fields = {"event": "job_retry", "msg": "A failed, next try in 1 s", "dur_ms": 0.2, "delay": 1.0}

    assert logs.render(fields, colour=False).endswith("A failed, next try in 1 s (0.2 ms)")


def test_a_field_is_told_if_only_a_digit_of_it_stands_elsewhere() -> None:
    fields = {"event": "job_done", "msg": "A done in 310 ms", "dur_ms": 310.0, "attempt": 1}

    assert logs.render(fields, colour=False).endswith("A done in 310 ms attempt=1")


def test_a_message_that_only_repeats_the_event_is_left_out() -> None:
    line = logs.render({"event": "connected", "msg": "connected", "socket_id": "1.2"}, colour=False)

    assert line.endswith(" connected      socket_id=1.2")


@pytest.mark.parametrize(
    ("event", "message", "shown"),
    [
        ("worker_started", "worker started on default", "worker started on default"),
        ("worker_stopped", "worker stopped: interrupted", "worker stopped interrupted"),
        ("disconnected", "disconnected: closed with 4201", "disconnected   closed with 4201"),
        ("redis", "redistribution", "redis          redistribution"),
    ],
)
def test_a_message_that_begins_like_the_event_says_it_once(
    event: str, message: str, shown: str
) -> None:
    line = logs.render({"event": event, "msg": message}, colour=False)

    assert line.partition(" ")[2] == shown


def test_a_client_cannot_steer_the_terminal() -> None:
    line = logs.render({"event": "x\x1b[2J", "msg": "\x1b]0;gotcha\x07", "user": "\r"}, colour=True)

    plain = line.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain.isprintable()


def test_colour_is_only_used_when_asked_for() -> None:
    fields = {"event": "denied", "msg": "no", "level": "warning"}

    assert "\x1b[31m" in logs.render(fields, colour=True)
    assert "\x1b" not in logs.render(fields, colour=False)


def test_auto_means_json_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)

    logs.configure()
    logging.getLogger("broadcaster.gateway").info("up", extra={"event": "ready"})
    logging.getLogger("elsewhere").info("not heard")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["ready"]


def test_no_record_comes_between_a_printed_line_and_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pipe(io.BytesIO):
        def write(self, data: Any) -> int:
            writes.append(bytes(data))
            return len(data)

    writes: list[bytes] = []
    unbuffered = io.TextIOWrapper(Pipe(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", unbuffered)

    logs.configure()
    print("mail for 7")  # noqa: T201 - as jobs do
    logging.getLogger("broadcaster.x").info("done")

    assert [line[-1:] for line in writes] == [b"\n", b"\n"]
    assert writes[0] == b"mail for 7\n"


def test_configuring_twice_does_not_double_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)

    logs.configure("human")
    logs.configure("human", logging.DEBUG)
    logging.getLogger("broadcaster.x").debug("once")

    assert out.getvalue().count("once") == 1


def test_a_reader_that_went_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    monkeypatch.setattr(sys, "stdout", Gone())
    logs.configure()
    logging.getLogger("broadcaster.x").warning("anyone?")

    assert capsys.readouterr().err == ""
