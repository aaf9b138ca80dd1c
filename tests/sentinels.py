"""A master, its replica and a sentinel that watches them, on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import redis

from broadcaster.drivers.redis.embedded import find_server_binary
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "mymaster"
DOWN_MS = 500


class Watched:
    """
    Two servers and one sentinel.

    Attributes:
        url: for `RedisClients`.
        ports: of the first master and of its replica.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = str(find_server_binary())
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._client: redis.Redis | None = None
        self.ports = (free_port(), free_port())
        self._sentinel = free_port()
        self.url = f"redis+sentinel://127.0.0.1:{self._sentinel}/{SERVICE}/0"

    def start(self) -> None:
        """Start all, and wait until the sentinel knows the replica."""
        first, second = self.ports
        self._serve(first)
        self._serve(second, "--replicaof", "127.0.0.1", str(first))
        self._watch()
        deadline = time.monotonic() + 30
        while not self._is_ready():
            assert time.monotonic() < deadline, "the sentinel does not see the replica"
            time.sleep(0.05)

    def kill_master(self) -> None:
        """Kill the first master as the kernel would."""
        process = self._running.pop(self.ports[0])
        process.kill()
        process.wait()

    def start_again(self) -> None:
        """Start the first master again; the sentinel makes a replica of it."""
        self._serve(self.ports[0])

    @property
    def master(self) -> int:
        """Port of the server that the sentinel calls the master."""
        address: Any = self._asked().sentinel_get_master_addr_by_name(SERVICE)
        return int(address[1])

    def stop(self) -> None:
        """End all."""
        if self._client is not None:
            self._client.close()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _serve(self, port: int, *more: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--appendonly", "no", "--save", "", "--repl-diskless-sync-delay", "0"]
        self._run(port, "--port", str(port), "--dir", str(folder), *options, *more)

    def _watch(self) -> None:
        folder = self._folder / "sentinel"
        folder.mkdir(parents=True)
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {self._sentinel}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.ports[0]} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n",
            encoding="utf-8",
        )
        self._run(self._sentinel, str(file), "--sentinel")

    def _run(self, port: int, *args: str) -> None:
        given = [self._binary, *args]
        if "--sentinel" not in args:
            given += ["--bind", "127.0.0.1"]
        self._running[port] = subprocess.Popen(
            given, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert time.monotonic() < deadline, f"nothing answers on port {port}"
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        replicas: Any = self._asked().sentinel_slaves(SERVICE)
        return any(not each["is_odown"] and each["flags"] == "slave" for each in replicas)

    def _asked(self) -> redis.Redis:
        if self._client is None:
            self._client = redis.Redis(port=self._sentinel, decode_responses=True)
        return self._client


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
