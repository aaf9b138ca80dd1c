"""
The process of sync jobs with a timeout, one at a time.

It imports what jobs need and runs each order that the worker sends, until a job has left
something behind: then it says so and ends. Orders come over what was its stdin and reports
go to what was its stdout (`broadcaster.worker.orders`); jobs find an empty stdin, and what
they print goes to stderr. The lifeline is a pipe on which nothing is ever said. Its
end means that the worker is gone, and then this process ends too, because another worker is
about to run the job again.
"""

from __future__ import annotations

import contextlib
import contextvars
import faulthandler
import fcntl
import importlib
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

import msgspec

from broadcaster.contracts.settlements import cut_traceback
from broadcaster.errors import JobError
from broadcaster.jobs.execution import call
from broadcaster.jobs.outcome import code_of, described, text_of
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import CurrentJob, running
from broadcaster.protocol.payload import decode_payload
from broadcaster.worker.orders import (
    DUMP_SIGNAL,
    LENGTH,
    NONCE_BYTES,
    Order,
    Report,
    Said,
    begin_line,
    report_line,
)
from broadcaster.worker.remains import Remains

if TYPE_CHECKING:
    from collections.abc import Sequence

HIGH_DESCRIPTOR = 500


def main(lifeline: int, modules: Sequence[str]) -> NoReturn:
    """Run the jobs that are ordered on stdin, with `modules` imported, and report."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with_worker, args=(lifeline,), daemon=True).start()
    _be_killed_with_worker(lifeline)
    orders, results = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    failure = prepare(modules)
    remains = Remains((lifeline, orders, results, *_dump_when_asked(results)))
    outlet = os.fstat(results)[1:3]
    before, mine = contextvars.copy_context(), os.getpid()
    while True:
        nonce, order = _next_order(orders)
        if failure is None:
            _write(results, begin_line(nonce))
            report = before.copy().run(run, order)
            if os.getpid() != mine:  # a fork of the job, which has returned from it too
                os._exit(0)
        else:
            report = failure
        with contextlib.suppress(Exception):  # the job may have left anything there
            sys.stdout.flush()
            sys.stderr.flush()
        report.worn = remains.why_worn() or ("it raised" if report.error else "")
        if os.fstat(results)[1:3] != outlet:  # closed, and opened again as something else
            os._exit(1)
        _write(results, report_line(nonce, report))
        if report.worn:
            _end()  # threads that the job left behind are not waited for


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


def _dump_when_asked(results: int) -> Sequence[int]:
    """
    Have `DUMP_SIGNAL` write the stack of this thread; return the descriptor for that, if any.

    It is written whatever the job does, C code that holds the interpreter included. The
    descriptor has a high number: no job gets it by closing low ones and opening files.
    """
    try:
        dumps = fcntl.fcntl(results, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
        faulthandler.register(DUMP_SIGNAL, file=dumps, all_threads=False)
    except (OSError, ValueError, RuntimeError):  # so few descriptors; it hangs untold
        return ()
    return (dumps,)


def _next_order(orders: int) -> tuple[bytes, Order]:
    (length,) = LENGTH.unpack(_read(orders, LENGTH.size))
    frame = _read(orders, length)
    return frame[:NONCE_BYTES], msgspec.json.decode(frame[NONCE_BYTES:], type=Order)


def _read(orders: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = os.read(orders, length - len(data))
        if not piece:
            os._exit(1)  # the worker is gone, or has no more jobs
        data += piece
    return bytes(data)


def _write(results: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(results, line) :]
    except BrokenPipeError:
        os._exit(1)  # the worker was killed a moment ago: nobody is left to be told


def _be_killed_with_worker(lifeline: int) -> None:
    """
    Have the kernel kill this process, and what it has started, when the lifeline ends.

    The thread that waits for that end does not get to run while C code holds the interpreter
    (a regular expression, a large sum). Linux only.

    Source: ``fcntl(2)``, F_SETOWN and F_SETSIG; the end of a pipe is an event. So are data,
    and therefore orders take another way.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    owner = -os.getpgrp() if os.getpgrp() == os.getpid() else os.getpid()
    with contextlib.suppress(OSError):  # it may be something that has no events
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, owner)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def _end_with_worker(lifeline: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {DUMP_SIGNAL})  # it asks for the stack of the job
    while os.read(lifeline, 4096):
        pass
    _end()


def _end() -> NoReturn:
    """End with what jobs have started; the worker may be gone before it could do that."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
