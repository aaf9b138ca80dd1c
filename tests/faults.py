"""Servers that fail on demand."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

from broadcaster.drivers.redis.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path


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
