"""
The process of one sync job with a timeout.

It reads the payload's length and the payload from stdin, imports what it needs, says that
it is ready, runs the job, and writes one JSON line to what was its stdout; what the job
prints goes to stderr. Stdin stays open:
its end means that the worker is gone, and then this process ends too, because another
worker is about to run the job again.
"""

from __future__ import annotations

import importlib
import os
import signal
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING

import msgspec

from broadcaster.errors import JobError
from broadcaster.jobs.outcome import described
from broadcaster.jobs.registry import registry
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


class Report(msgspec.Struct):
    """
    How the job ended.

    Attributes:
        error: its exception as one line, or empty.
        code: the stable word of a `JobError`, or empty.
    """

    error: str = ""
    code: str = ""


def main(modules: Sequence[str]) -> None:
    """Run the job that stdin holds, with `modules` imported, and report."""
    results = os.dup(1)
    os.dup2(2, 1)
    (length,) = LENGTH.unpack(_read(LENGTH.size))
    body = _read(length)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report = prepare(modules)
    if report is None:
        os.write(results, READY)
        report = run(body)
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


def run(body: bytes) -> Report:
    """Run the job in `body` and say how it ended; its traceback goes to stderr."""
    try:
        payload = decode_payload(body)
        registry.find(payload.job).decode_fields(payload.data).handle()
    except JobError as error:
        return Report(str(error), error.code)
    except BaseException as error:  # noqa: BLE001 - user code; the worker decides what it means
        traceback.print_exc()
        return Report(described(error))
    return Report()


def _read(length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = os.read(0, length - len(data))
        if not piece:
            os._exit(1)  # the worker is gone
        data += piece
    return data


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgrp() == os.getpid():  # with what the job has started
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
