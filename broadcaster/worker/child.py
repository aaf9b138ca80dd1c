"""
The process of one sync job with a timeout.

It reads the payload's length and the payload from stdin, runs the job, and writes one
JSON line to what was its stdout; what the job prints goes to stderr. Stdin stays open:
its end means that the worker is gone, and then this process ends too, because another
worker is about to run the job again.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import threading
import traceback
from typing import IO, TYPE_CHECKING

import msgspec

from broadcaster.errors import JobError
from broadcaster.jobs.outcome import described
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTH = struct.Struct(">Q")

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
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    (length,) = LENGTH.unpack(source.read(LENGTH.size))
    body = source.read(length)
    threading.Thread(target=_end_with_parent, args=(source,), daemon=True).start()
    report = run(body, modules)
    results.write(msgspec.json.encode(report) + b"\n")
    results.close()


def run(body: bytes, modules: Sequence[str]) -> Report:
    """Run the job in `body` and say how it ended; its traceback goes to stderr."""
    try:
        for module in modules:
            importlib.import_module(module)
        payload = decode_payload(body)
        registry.find(payload.job).decode_fields(payload.data).handle()
    except JobError as error:
        return Report(str(error), error.code)
    except BaseException as error:  # noqa: BLE001 - user code; the worker decides what it means
        traceback.print_exc()
        return Report(described(error))
    return Report()


def _end_with_parent(source: IO[bytes]) -> None:
    while source.read(4096):
        pass
    os._exit(1)
