"""
The folder ``.broadcaster/`` of a project: what ``broadcaster dev`` keeps between runs.

::

    .broadcaster/            0700, ignored by git
      credentials.json       0600: app id, key, secret, further keys; made once, then kept
      redis/                 the append-only file of the embedded server
      dev.lock               locked while a dev runs; holds its pid
      dev.json               0600: what other commands need to find the running dev

`dev.json` is read by `broadcaster.settings_sources`; it is removed at the end, and void
anyway once its process or socket is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple, Self

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class Credentials(NamedTuple):
    """
    Who this project is, towards its gateway.

    Attributes:
        id: six digits.
        key: public, part of the page.
        secret: 40 characters; signs.
        grant_key: 64 characters; signs grants, and nothing else.
        encryption_key: 32 bytes in Base64; master key of encrypted channels.
    """

    id: str
    key: str
    secret: str
    grant_key: str
    encryption_key: str


class DevFolder:
    """One project's folder, held by at most one running ``dev``."""

    def __init__(self, project: Path) -> None:
        self.path = project / ".broadcaster"
        self.state = self.path / "dev.json"
        self.lock = self.path / "dev.lock"
        self.data = self.path / "redis"
        self._descriptor = -1

    def __enter__(self) -> Self:
        """
        Make the folder and lock it.

        Raises:
            ConfigurationError: another ``dev`` runs here, or the folder cannot be made or is
                not ours.
        """
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(
                f"cannot use {self.path}: {error.strerror}; run dev in a folder that you may "
                "write to, or remove what is there"
            ) from error
        try:
            # The kernel lets go of it when this process ends, kill -9 included.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 20).decode().strip() or "unknown"
            os.close(self._descriptor)
            raise ConfigurationError(
                f"broadcaster dev runs in {self.path.parent} already, as process {pid}; "
                f"stop it with Ctrl-C there, or kill {pid}"
            ) from None
        os.truncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())
        self.state.unlink(missing_ok=True)
        return self

    def _open(self) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        if self.path.is_symlink() or self.path.stat().st_uid != os.getuid():
            raise ConfigurationError(f"{self.path} must be a folder of this user; remove it")
        self.path.chmod(0o700)
        (self.path / ".gitignore").write_text("*\n")
        self._descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what says that a dev runs, and let go of the lock."""
        self.state.unlink(missing_ok=True)
        os.truncate(self._descriptor, 0)
        os.close(self._descriptor)

    def credentials(self) -> Credentials:
        """
        Return this project's credentials, making them at the first call.

        Raises:
            ConfigurationError: the file is not as we wrote it.
        """
        path = self.path / "credentials.json"
        made = new_credentials()
        if not path.exists():
            _write_private(path, made._asdict())
            return made
        try:
            found = json.loads(path.read_text())
        except ValueError:
            found = None
        match found:
            case {"id": str(id_), "key": str(key), "secret": str(s), "grant_key": str(grant)}:
                pass
            case _:
                raise ConfigurationError(
                    f"{path} is damaged; remove it and new credentials will be made"
                )
        kept = found.get("encryption_key")
        if isinstance(kept, str):
            return Credentials(id_, key, s, grant, kept)
        whole = Credentials(id_, key, s, grant, made.encryption_key)
        _write_private(path, whole._asdict())
        return whole

    def announce(self, state: Mapping[str, object]) -> None:
        """Write `dev.json`, in one step, for other commands to find."""
        _write_private(self.state, state)


def new_credentials() -> Credentials:
    """Return credentials nobody else has."""
    return Credentials(
        id=str(100_000 + secrets.randbelow(900_000)),
        key=secrets.token_hex(10),
        secret=secrets.token_hex(20),
        grant_key=secrets.token_hex(32),
        encryption_key=b64encode(secrets.token_bytes(32)).decode(),
    )


def _write_private(path: Path, content: Mapping[str, object]) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    fresh.rename(path)
