"""
The ports of ``broadcaster dev``: each is held from when it is chosen until ``dev`` ends.

Choosing and listening lie seconds apart, and the listening is done by children that come
and go, so a look at the port excludes nobody. A lock per port does, among the ``dev`` of one
user: in a folder of theirs, held by the kernel for as long as the process lives.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"
PORTS_TRIED = 50


class PortHolds:
    """
    Chooses ports and holds them until the end of its ``with`` block.

    Args:
        folder: where the locks are. One that cannot be used is done without: then only ports
            that somebody listens on are passed over.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = lock_folder() if folder is None else folder
        self._held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of every port."""
        while self._held:
            os.close(self._held.pop())

    def take(self, wanted: int, problems: list[str], warning: str = "") -> int:
        """
        Hold `wanted` or the next port that is nobody's; note a change in `problems`.

        Args:
            warning: ends that note.

        Raises:
            ConfigurationError: there is none.
        """
        for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
            if self._hold(port):
                if port != wanted:
                    problems.append(f"port {wanted} is taken, {port} is used instead{warning}")
                return port
        raise ConfigurationError(f"no free port from {wanted} to {wanted + PORTS_TRIED - 1}")

    def _hold(self, port: int) -> bool:
        lock = -1
        with suppress(OSError):
            lock = os.open(
                self._folder / f"port-{port}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
        if lock >= 0:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            if not is_free(port):
                os.close(lock)
                return False
            self._held.append(lock)
            return True
        return is_free(port)


def lock_folder() -> Path:
    """Return where this user's locks are; it is made if need be and need not be usable."""
    folder = Path(tempfile.gettempdir()) / f"broadcaster-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return Path(os.devnull)  # somebody else's: no lock can be made below it
    return folder


def is_free(port: int) -> bool:
    """
    Whether nobody listens on `port`.

    Probed without SO_REUSEPORT: with it, a second bind of a gateway's port would succeed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Closed connections may linger on the port; a listener still refuses it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
