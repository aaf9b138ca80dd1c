"""
The process of one sync job with a timeout.

It reads the payload's length and the payload from stdin, imports what it needs, says that
it is ready, runs the job, and writes one JSON line to what was its stdout; what the job
prints goes to stderr. Stdin stays open:
its end means that the worker is gone, and then this process ends too, because another
worker is about to run the job again.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Literal

import msgspec

from broadcaster.contracts.settlements import cut_traceback
from broadcaster.errors import JobError
from broadcaster.jobs.execution import call
from broadcaster.jobs.outcome import (
    Deleted,
    Failed,
    Limits,
    Past,
    Released,
    Verdict,
    code_of,
    described,
    text_of,
)
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTH = struct.Struct(">Q")

READY = b"ready\n"

BOOTSTRAP = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from broadcaster.worker.child import main
main(sys.argv[2:])
"""


class Order(msgspec.Struct):
    """
    The job that is to be run, and what it may ask; see `broadcaster.jobs.running.CurrentJob`.

    Attributes:
        body: its payload.
    """

    body: bytes
    queue: str = ""
    limits: Limits = msgspec.field(default_factory=Limits)
    past: Past = msgspec.field(default_factory=Past)
    token: int = 0
    lease: float = 0.0


class Said(msgspec.Struct):
    """
    What the job has said about itself.

    Attributes:
        kind: which verdict.
        delay, counts: of ``released``.
        error: of ``failed``.
    """

    kind: Literal["released", "failed", "deleted"]
    delay: float = 0.0
    counts: bool = True
    error: str = ""

    @classmethod
    def of(cls, verdict: Verdict | None) -> Said | None:
        """Return `verdict` in a form that travels."""
        match verdict:
            case Released(delay, counts):
                return cls("released", delay=delay, counts=counts)
            case Failed(error):
                return cls("failed", error=error)
            case Deleted():
                return cls("deleted")
            case None:
                return None

    @property
    def verdict(self) -> Verdict:
        """The verdict again."""
        if self.kind == "released":
            return Released(self.delay, self.counts)
        return Failed(self.error) if self.kind == "failed" else Deleted()


class Report(msgspec.Struct):
    """
    How the job ended.

    Attributes:
        error: its exception as one line, or empty.
        code: the stable word of a `JobError`, or empty.
        traceback: text.
        said: what it has said about itself.
    """

    error: str = ""
    code: str = ""
    traceback: str = ""
    said: Said | None = None


def main(modules: Sequence[str]) -> None:
    """Run the job that stdin holds, with `modules` imported, and report."""
    results = os.dup(1)
    os.dup2(2, 1)
    (length,) = LENGTH.unpack(_read(LENGTH.size))
    order = msgspec.json.decode(_read(length), type=Order)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _be_killed_with_parent()
    report = prepare(modules)
    if report is None:
        os.write(results, READY)
        report = run(order)
    os.write(results, msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the job left behind are not waited for


def prepare(modules: Sequence[str]) -> Report | None:
    """Import `modules`; return a report if that fails."""
    try:
        for module in modules:
            importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 - user code; the worker decides what it means
        traceback.print_exc()
        return Report(described(error))
    return None


def run(order: Order) -> Report:
    """Run the job of `order` and say how it ended; its traceback goes to stderr."""
    current: CurrentJob | None = None
    report = Report()
    try:
        payload = decode_payload(order.body)
        job = registry.find(payload.job).decode_fields(payload.data)
        current = CurrentJob(
            payload=payload,
            queue=order.queue,
            limits=order.limits,
            past=order.past,
            token=order.token,
            lease=order.lease,
        )
        with running(current):
            call(job)
    except BaseException as error:  # noqa: BLE001 - user code; the worker decides what it means
        known = isinstance(error, JobError)
        line = text_of(error) if known else described(error)
        text = traceback.format_exc().encode("utf-8", "backslashreplace").decode()
        code = code_of(error) if isinstance(error, JobError) else ""
        report = Report(line, code, cut_traceback(text))
        if not known:
            traceback.print_exc()
    if current is not None:
        report.said = Said.of(current.verdict)
    return report


def _read(length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(0, length - len(data))
        if not piece:
            os._exit(1)  # the worker is gone
        data += piece
    return data


def _be_killed_with_parent() -> None:
    """
    Have the kernel kill this process, and what it has started, when stdin ends.

    The thread that waits for that end does not get to run while C code holds the interpreter
    (a regular expression, a large sum). Linux only.

    Source: ``fcntl(2)``, F_SETOWN and F_SETSIG; the end of a pipe or socket is an event.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    owner = -os.getpgrp() if os.getpgrp() == os.getpid() else os.getpid()
    with contextlib.suppress(OSError):  # stdin may be something that has no events
        fcntl.fcntl(0, fcntl.F_SETOWN, owner)
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getpid():  # with what the job has started
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
