"""
The processes that are measured, each pinned to the server's core.

The harness, the load generator, the publisher and Redis share another core, so that what
the server's core does is the server's work alone. With a single core nothing is pinned.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import BIN, BenchmarkError
from benchmarks.templates import APP_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEY, SECRET = "bench-key", "bench-secret"
SOCKET_PATH = f"/app/{KEY}?protocol=7&client=bench&version=1.0"
START_SECONDS = 30.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose; None where there is only one."""

    server: int | None
    client: int | None


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on a port of this machine."""

    pid: int
    port: int


def share_out_cores() -> Cores:
    """Choose two cores and move this process, and what it will start, to the second."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(None, None)
    os.sched_setaffinity(0, {allowed[1]})
    return Cores(allowed[0], allowed[1])


@contextlib.contextmanager
def relay(cores: Cores) -> Iterator[Server]:
    """Run the relay in C."""
    port = _free_port()
    with _started([str(BIN / "relay"), str(port)], port, cores) as server:
        yield server


@contextlib.contextmanager
def gateway(cores: Cores, redis_url: str, prefix: str) -> Iterator[Server]:
    """Run ``broadcaster serve`` as a user would, with its defaults."""
    port = _free_port()
    environment = {
        "REDIS_URL": redis_url,
        "BROADCASTER_PREFIX": prefix,
        "BROADCASTER_APP_ID": APP_ID,
        "BROADCASTER_APP_KEY": KEY,
        "BROADCASTER_APP_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "broadcaster", "serve", "--port", str(port), "--drain", "0"]
    with _started(command, port, cores, environment) as server:
        _wait_until_ready(port)
        yield server


@contextlib.contextmanager
def starlette(cores: Cores) -> Iterator[Server]:
    """Run an application that accepts WebSockets and does nothing else."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.plain_starlette", str(port)]
    with _started(command, port, cores) as server:
        yield server


@contextlib.contextmanager
def _started(
    command: list[str], port: int, cores: Cores, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    inherited = {name: value for name, value in os.environ.items() if "BROADCASTER_" not in name}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**inherited, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        with _ended(process):
            if cores.server is not None:
                os.sched_setaffinity(process.pid, {cores.server})
            try:
                _wait_until_open(port, process)
            except BenchmarkError as error:
                said.seek(0)
                told = said.read()[-2_000:].decode(errors="replace")
                raise BenchmarkError(f"{' '.join(command)} {error}\n{told}") from error
            yield Server(process.pid, port)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise BenchmarkError(f"did not open port {port}")


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise BenchmarkError("the gateway did not become ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
