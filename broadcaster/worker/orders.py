"""
What a worker and the processes of its sync jobs say to each other.

The worker sends orders, one after another: the length of what follows, a nonce, and an
`Order` as JSON. The process answers each with two lines that begin with its nonce: the
nonce alone when the job begins, and the nonce, a space and a `Report` when it has ended.
Lines that begin with anything else are noise of the job, or of one before it; behind a
`DUMP_SIGNAL` they are the stack of the job.
"""

from __future__ import annotations

import signal
import struct
from typing import Literal

import msgspec

from broadcaster.jobs.outcome import Deleted, Failed, Limits, Past, Released, Verdict

DUMP_SIGNAL = getattr(signal, "SIGRTMAX", signal.SIGUSR2)
"""Has the process write the stack of its main thread among its lines, as `faulthandler` does."""

LENGTH = struct.Struct(">Q")

NONCE_BYTES = 32
"""Length of a nonce; whoever does not know it cannot say how a job ended."""


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
        worn: why its process must not run another job, or empty.
    """

    error: str = ""
    code: str = ""
    traceback: str = ""
    said: Said | None = None
    worn: str = ""


def order_frame(nonce: bytes, order: Order) -> bytes:
    """Return what is sent for `order`."""
    body = msgspec.json.encode(order)
    return LENGTH.pack(NONCE_BYTES + len(body)) + nonce + body


def begin_line(nonce: bytes) -> bytes:
    """Return what says that the job of `nonce` begins; what was said before it ends there."""
    return b"\n" + nonce + b"\n"


def report_line(nonce: bytes, report: Report) -> bytes:
    """Return what says how the job of `nonce` has ended."""
    return b"\n" + nonce + b" " + msgspec.json.encode(report) + b"\n"
