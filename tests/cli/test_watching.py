"""`queue status --watch`, in a process with a terminal, and into a pipe (row 44)."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from broadcaster.cli.watching import style_of_output, watched
from tests.cli.worker_process import environment
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.redis, pytest.mark.process]

ENTER, LEAVE, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"


class Watched:
    """A process, and what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self.text = ""
        self._output = output
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._reader.join(20)
        return code

    def _read(self) -> None:
        try:
            while data := os.read(self._output, 65_536):
                self.text += data.decode()
        except OSError:  # the last one has left the terminal
            return


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    opened: list[int] = []
    processes: list[subprocess.Popen[bytes]] = []

    def start(url: str, prefix: str, *args: str, terminal: bool) -> Watched:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 60, 0, 0))
        command = [sys.executable, "-m", "broadcaster", "queue", "status", "--watch"]
        env = environment(url, prefix, TERM="xterm", PYTHONIOENCODING="utf-8", PYTHONUNBUFFERED="1")
        process = subprocess.Popen(
            [*command, "--every", "0.2", *args], cwd=tmp_path, env=env, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        opened.append(ours)
        processes.append(process)
        return Watched(process, ours)

    yield start
    for process in processes:
        process.kill()
        process.wait()
    for file in opened:
        os.close(file)


async def test_row_44_each_picture_replaces_the_one_before_and_ctrl_c_ends_it(
    watch: Callable[..., Watched], redis_url: str, prefix: str
) -> None:
    watched = watch(redis_url, prefix, terminal=True)

    await eventually(lambda: watched.text.count(HOME) >= 3, within=30)

    assert watched.end() == 0
    assert watched.text.startswith(ENTER)
    assert LEAVE in watched.text
    assert "no queues yet" in watched.text
    assert "Ctrl-C ends" in watched.text
    picture = watched.text.split(HOME)[1]
    assert picture.count("\n") < 8, "no more lines than the terminal has"


async def test_row_44_a_server_that_is_away_is_said_and_tried_on(
    watch: Callable[..., Watched], prefix: str
) -> None:
    watched = watch("redis://127.0.0.1:1/0", prefix, terminal=True)

    await eventually(lambda: watched.text.count("cannot be reached") >= 2, within=30)

    assert watched.end() == 0


async def test_row_44_programs_read_one_json_object_per_line(
    watch: Callable[..., Watched], redis_url: str, prefix: str
) -> None:
    watched = watch(redis_url, prefix, "--json", terminal=False)

    await eventually(lambda: watched.text.count("\n") >= 2, within=30)

    assert watched.end() == 0
    assert json.loads(watched.text.splitlines()[0])["queues"] == []
    assert "\x1b" not in watched.text


def test_a_terminal_is_left_as_it_was_whenever_ctrl_c_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def echo(text: str, **_: object) -> None:
        said.append(text)
        if len(said) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("broadcaster.cli.watching.click.echo", echo)

    watched(lambda _: pytest.fail("nobody looks any more"), every=1.0)

    assert (said[0].startswith(ENTER), said[-1].endswith(LEAVE)) == (True, True)


def test_what_is_no_terminal_gets_no_colours() -> None:
    style = style_of_output()

    assert (style.colour, style.symbols, style.width) == (False, False, 0)
