"""Sync jobs with a timeout, as the tests of their processes run them; each prints or writes what it saw."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from broadcaster import Job, TrackedJob, current_job
from broadcaster.errors import JobFailed


class Asks(Job, name="process.Asks", timeout=20, tries=3, backoff=[7]):
    """Writes down what it knows about itself."""

    path: str

    def handle(self) -> None:
        running = current_job()
        assert running is not None
        said = (running.id, running.queue, running.attempts, running.limits.tries)
        Path(self.path).write_text(
            repr((*said, self.attempts, self.next_backoff())), encoding="utf-8"
        )


class Ends(Job, name="process.Ends", timeout=20):
    """Ends its process in one of several ways."""

    how: str

    def handle(self) -> None:
        match self.how:
            case "_exit":
                os._exit(3)
            case "exit":
                sys.exit(4)
            case "long text":
                raise JobFailed("x" * 3_000_000)
            case "odd text":
                raise ValueError("\ud800" + "😀" * 20_000)
            case "no text":
                raise Unspeakable
            case "fork":
                _fork()
            case "children":
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
                threading.Thread(target=time.sleep, args=(60,)).start()
            case "closed":
                os.close(1)
                sys.stdout.close()
            case "much output":
                print("y" * 3_000_000, file=sys.stderr)  # noqa: T201
            case _:
                raise AssertionError(self.how)


class Unspeakable(Exception):
    """Cannot be pickled, and has no text."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _fork() -> None:
    """Both go on; the child ends first, or hangs."""
    if os.fork() == 0:
        time.sleep(60)


class Says(Job, name="process.Says", timeout=20, tries=3):
    """Says something about itself."""

    how: str

    def handle(self) -> None:
        if self.how == "fail":
            self.fail("no room")
        elif self.how == "release":
            self.release(30, count=False)
        else:
            self.delete()


class Slow(Job, name="process.Slow", timeout=0.3, tries=2, backoff=0.3):
    """Takes too long, each time."""

    path: str

    def handle(self) -> None:
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(f"{self.attempts} {time.monotonic()}\n")
        time.sleep(60)


class Reports(TrackedJob, name="process.Reports", timeout=20):
    """Says how far it is."""

    def handle(self) -> None:
        self.progress(40, "half way")
        raise JobFailed("it was enough")
