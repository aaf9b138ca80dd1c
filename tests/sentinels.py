"""A master, its replica and the sentinels that watch them, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import redis

from broadcaster.drivers.redis.embedded import find_server_binary
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "mymaster"
DOWN_MS = 500


class Watched:
    """
    Two servers, and sentinels that agree when most of them do.

    Args:
        sentinels: how many.
        password: of the servers; "" is none.
        sentinel_password: of the sentinels; "" is none.

    Attributes:
        url: for `RedisClients`.
        ports: of the first master and of its replica.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sentinels: int = 1,
        password: str = "",
        sentinel_password: str = "",
        database: int = 0,
    ) -> None:
        self._folder = folder
        self._binary = str(find_server_binary())
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: list[redis.Redis] = []
        self._password = password
        self._sentinel_password = sentinel_password
        self.ports = (free_port(), free_port())
        self._sentinels = [free_port() for _ in range(sentinels)]
        login = f":{quote(password)}@" if password else ""
        more = f"?sentinel_password={quote(sentinel_password)}" if sentinel_password else ""
        # What is named first does not answer.
        hosts = ",".join(f"127.0.0.1:{port}" for port in [free_port(), *self._sentinels])
        self.url = f"redis+sentinel://{login}{hosts}/{SERVICE}/{database}{more}"

    def start(self) -> None:
        """Start all, and wait until each sentinel knows the replica and the others."""
        first, second = self.ports
        self._serve(first)
        self._serve(second, "--replicaof", "127.0.0.1", str(first))
        for port in self._sentinels:
            self._watch(port)
        deadline = time.monotonic() + 30
        while not all(map(self._is_ready, self._clients)):
            assert time.monotonic() < deadline, "a sentinel does not see the replica"
            time.sleep(0.02)

    def kill_master(self) -> None:
        """Kill the first master as the kernel would."""
        process = self._running.pop(self.ports[0])
        process.kill()
        process.wait()

    def freeze_master(self) -> None:
        """Stop the first master from running, with its connections open."""
        os.kill(self._running[self.ports[0]].pid, signal.SIGSTOP)

    def thaw_master(self) -> None:
        """Let it run on: for a while it takes itself for the master."""
        os.kill(self._running[self.ports[0]].pid, signal.SIGCONT)

    def freeze_replica(self) -> None:
        """Stop the replica from running; its master still counts it as connected."""
        os.kill(self._running[self.ports[1]].pid, signal.SIGSTOP)

    def start_again(self) -> None:
        """Start the first master again; the sentinels make a replica of it."""
        self._serve(self.ports[0])

    def copy(self) -> None:
        """Wait until the replica has got what its master was told before."""
        with self._client(self.ports[0], self._password) as client:
            client.set("copied", "1")  # WAIT is for what its own connection has written
            assert client.wait(1, 20_000) == 1

    def cut_replica(self) -> None:
        """Let the replica get nothing more from its master; the sentinels still know it."""
        with self._client(self.ports[1], self._password) as client:
            client.config_set("masterauth", "wrong")
            client.client_kill_filter(_type="master")

    @property
    def master(self) -> int:
        """Port of the server that the first sentinel calls the master."""
        address: Any = self._clients[0].sentinel_get_master_addr_by_name(SERVICE)
        return int(address[1])

    @property
    def moved(self) -> bool:
        """Whether the replica has become the master."""
        return self.master == self.ports[1]

    def stop(self) -> None:
        """End all."""
        for client in self._clients:
            client.close()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _serve(self, port: int, *more: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--appendonly", "no", "--save", "", "--repl-diskless-sync-delay", "0"]
        if self._password:
            options += ["--requirepass", self._password, "--masterauth", self._password]
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._run(port, self._password, *where, *options, *more)

    def _watch(self, port: int) -> None:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir(parents=True)
        file = folder / "sentinel.conf"
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.ports[0]} {len(self._sentinels) // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if self._password:
            lines.append(f"sentinel auth-pass {SERVICE} {json.dumps(self._password)}")
        if self._sentinel_password:
            said = json.dumps(self._sentinel_password)
            lines += [f"requirepass {said}", f"sentinel sentinel-pass {said}"]
        file.write_text("\n".join(lines), encoding="utf-8")
        self._run(port, self._sentinel_password, str(file), "--sentinel")
        self._clients.append(self._client(port, self._sentinel_password))

    def _run(self, port: int, password: str, *args: str) -> None:
        self._running[port] = subprocess.Popen(
            [self._binary, *args], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not self._answers(port, password):
            assert time.monotonic() < deadline, f"nothing answers on port {port}"
            time.sleep(0.02)

    def _answers(self, port: int, password: str) -> bool:
        try:
            with self._client(port, password) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def _client(self, port: int, password: str = "") -> redis.Redis:
        return redis.Redis(port=port, password=password or None, decode_responses=True)

    def _is_ready(self, sentinel: redis.Redis) -> bool:
        state: Any = sentinel.sentinel_master(SERVICE)
        replicas: Any = sentinel.sentinel_slaves(SERVICE)
        known = state["num-other-sentinels"] == len(self._sentinels) - 1
        linked = any(
            each["flags"] == "slave" and each["master-link-status"] == "ok" for each in replicas
        )
        return bool(known and linked)
