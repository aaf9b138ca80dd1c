"""Servers that fail on demand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry

from broadcaster.drivers.redis.embedded import EmbeddedServer, find_server_binary
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


ONCE = Retry(NoBackoff(), 0)


class FaultyServer:
    """An embedded server of one test, to be frozen, killed and restarted."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server = EmbeddedServer(data_dir, appendonly=True)
        self.url = self._server.start()

    @property
    def pid(self) -> int:
        """Process id of the server now."""
        return self._server.pid

    def freeze(self) -> None:
        """Stop it from running, with its connections open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, keep_data: bool) -> None:
        """End it and start it again at the same URL, with its append-only file or empty."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self._data_dir)
        self.start()

    def start(self) -> None:
        """Start it again after `stop`."""
        self._server.start()

    def stop(self) -> None:
        """End it."""
        self._server.stop()


class BareServer:
    """
    A server on a port of loopback that nobody starts again when it is killed.

    Args:
        options: of its command line, as name and value.
    """

    def __init__(self, data_dir: Path, **options: str) -> None:
        self._data_dir = data_dir
        self._options = {"appendonly": "yes", "save": "", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it; it may still be loading its file when this returns."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        named = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self._data_dir)}
        given = named | self._options
        flags = [f"--{name.replace('_', '-')}" for name in given]
        words = [word for pair in zip(flags, given.values(), strict=True) for word in pair]
        command = [str(find_server_binary()), *words]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 20
        while not _listens(self.port):
            assert time.monotonic() < deadline, f"nothing listens on port {self.port}"
            time.sleep(0.01)

    def burden(self, keys: int) -> None:
        """Have it load so many keys from its file at every start, one after the other."""
        with redis.Redis(port=self.port) as client:
            client.mset({f"burden:{number}": "x" * 100 for number in range(keys)})
            client.bgrewriteaof()
            deadline = time.monotonic() + 20
            while client.info("persistence")["aof_rewrite_in_progress"]:  # type: ignore[index]  # of the sync client
                assert time.monotonic() < deadline, "the file is not written anew"
                time.sleep(0.01)

    @property
    def is_loading(self) -> bool:
        """Whether it answers that it cannot answer yet."""
        try:
            with redis.Redis(port=self.port, socket_timeout=1.0, retry=ONCE) as client:
                client.get("burden:0")
        except BusyLoadingError:
            return True
        return False

    def kill(self) -> None:
        """Kill it as the kernel would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def empty(self) -> None:
        """Remove what it has written."""
        shutil.rmtree(self._data_dir)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
