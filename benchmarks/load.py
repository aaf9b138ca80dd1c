"""
The load generator of ``c/load.c`` as Python values: connect once, run many times.

A figure counts only when `Run.valid`: nothing missing, nobody thrown out, nothing refused.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
BIN = HERE / "bin"
CONNECT_SECONDS = 70.0
MARGIN_SECONDS = 20.0
SETTLE_SECONDS = 0.2


class BenchmarkError(Exception):
    """The benchmark cannot be run, or a run is no measurement."""


def build() -> None:
    """
    Compile the relay and the load generator into ``bin``, where they are out of date.

    Raises:
        BenchmarkError: there is no C compiler, or it failed.
    """
    BIN.mkdir(exist_ok=True)
    for name in ("relay", "load"):
        source, binary = HERE / "c" / f"{name}.c", BIN / name
        if binary.exists() and binary.stat().st_mtime > source.stat().st_mtime:
            continue
        fresh = binary.with_name(f"{name}.{os.getpid()}")
        command = [os.environ.get("CC", "cc"), "-O2", "-o", str(fresh), str(source)]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError as error:
            raise BenchmarkError(
                f"no C compiler ({command[0]}): apt-get install -y gcc libc6-dev, or set CC"
            ) from error
        except subprocess.CalledProcessError as error:
            raise BenchmarkError(f"{name}.c does not compile") from error
        fresh.replace(binary)


@dataclass(frozen=True, slots=True)
class Ready:
    """
    All connections are there.

    Attributes:
        connections: how many.
        seconds: from the first connect to the last acknowledgement.
        cpu_us: CPU time of the server in it, microseconds.
        kib_before: resident memory of the server before, KiB.
        kib_after: the same after.
        socket_id: of the first connection, empty without the Pusher protocol.
    """

    connections: int
    seconds: float
    cpu_us: float
    kib_before: float
    kib_after: float
    socket_id: str

    @property
    def cpu_us_each(self) -> float:
        """CPU time per connection, microseconds."""
        return self.cpu_us / self.connections

    @property
    def kib_each(self) -> float:
        """Resident memory per connection, KiB."""
        return (self.kib_after - self.kib_before) / self.connections


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run, from silence to silence.

    Attributes:
        published: publications sent (each of one or more messages).
        received: messages received by all connections together.
        missing: messages that did not arrive.
        closed: connections that the server ended meanwhile.
        refused: publications that Redis answered with an error.
        seconds: wall time.
        cpu_us: CPU time of the server, microseconds.
        user_share: part of it spent outside the kernel, 0 to 1 (by clock ticks: rough).
        client_idle: part of the wall time in which the load generator had nothing to do.
        bytes: received by all connections together.
        p50_us: median time from publish to receipt, microseconds.
        p99_us: 99th percentile of it.
    """

    published: int
    received: int
    missing: int
    closed: int
    refused: int
    seconds: float
    cpu_us: float
    user_share: float
    client_idle: float
    bytes: int
    p50_us: float
    p99_us: float

    @property
    def valid(self) -> bool:
        """Whether this is a measurement at all."""
        return self.received > 0 and not (self.missing or self.closed or self.refused)

    @property
    def cpu_us_each(self) -> float:
        """CPU time of the server per delivery, microseconds."""
        return self.cpu_us / max(self.received, 1)

    @property
    def per_second(self) -> float:
        """Deliveries in a second of wall time."""
        return self.received / self.seconds


class Load:
    """
    A load generator with its connections open.

    Args:
        port: of a server on this machine.
        pids: the server's processes.
        path: of the WebSocket.
        channel: subscribed to in the Pusher protocol; empty for none.
        connections: how many.
        slow: how many of these never read.
        sleep: wait in the kernel, instead of asking it all the time.
    """

    def __init__(
        self,
        port: int,
        pids: Sequence[int],
        *,
        path: str = "/",
        channel: str = "",
        connections: int = 1,
        slow: int = 0,
        sleep: bool = False,
    ) -> None:
        command = [str(BIN / "load"), "--port", str(port), "--path", path, "--channel", channel]
        command += ["--connections", str(connections), "--slow", str(slow)]
        command += [word for pid in pids for word in ("--pid", str(pid))]
        command += ["--sleep"] if sleep else []
        self._receivers = connections - slow
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.ready = Ready(**self._answer("ready", CONNECT_SECONDS))
        except BaseException:
            self.close()
            raise

    def run(
        self, seconds: float, template: bytes, target: str, *, in_flight: int = 1, spared: int = 0
    ) -> Run:
        """
        Publish for `seconds` and wait until all has arrived.

        Args:
            seconds: how long.
            template: one publication; see ``c/load.c`` for what is replaced in it.
            target: ``socket`` or ``unix:PATH``.
            in_flight: publications on their way at any time.
            spared: connections that do not receive what is published.
        """
        with tempfile.NamedTemporaryFile() as file:
            file.write(template)
            file.flush()
            receivers = self._receivers - spared
            self.begin(f"run {seconds} {in_flight} {receivers} {target} {file.name}")
            return self.end(seconds)

    def listen(self, seconds: float) -> None:
        """Begin to count what others publish, for `seconds`; `end` returns the result."""
        self.begin(f"run {seconds} 1 {self._receivers} none -")

    def begin(self, command: str) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def end(self, seconds: float) -> Run:
        """Return the result of the run under way."""
        return Run(**self._answer("run", seconds + MARGIN_SECONDS))

    def close(self) -> None:
        """Close all connections, and give the server time to notice before others measure it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        time.sleep(SETTLE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, word: str, seconds: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise BenchmarkError(f"the load generator said nothing for {seconds:g} s")
        line = out.readline()
        if not line.startswith(word.encode() + b" "):
            raise BenchmarkError("the load generator ended; what it said is above")
        answer: dict[str, Any] = json.loads(line[len(word) + 1 :])
        return answer
