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
import re
import signal
import sys
import webbrowser
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broadcaster.cli import logs
from broadcaster.cli.dev_children import explain_exit
from broadcaster.cli.dev_folder import DevFolder
from broadcaster.cli.dev_plan import DEMO_APP, Plan, make_plan
from broadcaster.cli.dev_ports import PortHolds
from broadcaster.drivers.redis.embedded import EmbeddedServer
from broadcaster.errors import ConfigurationError
from broadcaster.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.cli.dev_children import Child
    from broadcaster.cli.dev_panel import Panel

START_SECONDS = 20.0
# How long the panel waits for the worker, which says what is scheduled.
WORKER_SECONDS = 3.0
# How often ports are chosen anew because somebody was faster.
PLANS = 5
# What a child says that cannot have its port.
IN_USE = re.compile(
    rf"cannot listen on \S+ port \d+: {os.strerror(errno.EADDRINUSE)}", re.IGNORECASE
)
# What a healthy client or job does is logged as debug, for production's sake; not here.
WATCHED = frozenset(
    {"connected", "disconnected", "subscribed", "unsubscribed", "delivered", "published"}
    | {"client_event", "job_started", "job_done", "job_retry", "job_failed"}
)
# Where settings are; what changes there concerns the gateway too.
SETTINGS_FILES = ("broadcaster.toml", "pyproject.toml", ".env")
# Lines that come before the panel are shown after it.
EARLY_LINES = 500
RETRY = "then: broadcaster failed retry all"
WELL = explain_exit(0, ())
REMEDY = (
    'put imports = ["tasks"] with the name of its module into broadcaster.toml '
    "(or pass the module to `broadcaster work`)"
)
START_AGAIN = "start broadcaster dev again"


@dataclass
class Display:
    """
    Shows what children say, one line for each event, once the panel was shown.

    Attributes:
        reloads: whether a change of code or settings starts children again.
        stop: set when everything is to end.
        refusal: why the application cannot be started, when that ends everything.
        listening: the children that have said so.
        listened: set when one more has.
        told: what was said of settings; each child would say it.
        outrun: whether somebody took one of our ports before we listened.
        scheduled: jobs that the worker queues when they are due.
    """

    as_json: bool
    debug: bool
    colour: bool
    reloads: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: str = ""
    listening: set[str] = field(default_factory=set[str])
    listened: asyncio.Event = field(default_factory=asyncio.Event)
    outrun: bool = False
    scheduled: int = 0
    told: set[str] = field(default_factory=set[str])
    early: deque[str] | None = field(default_factory=lambda: deque[str](maxlen=EARLY_LINES))

    def heard(self, child: str, fields: Mapping[str, object]) -> None:
        """See `Listener`."""
        if fields.get("event") in ("listening", "worker_started"):
            self.listening.add(child)
            self.listened.set()
        if fields.get("event") == "schedule_on":
            self.scheduled = int(str(fields.get("count", 0)))
        is_watched = self.debug or fields.get("event") in WATCHED
        if fields.get("level") == "debug" and not is_watched:
            return
        if fields.get("event") == logs.SETTINGS_EVENT and not self._is_new(str(fields["msg"])):
            return
        if fields.get("event") == "job_failed" and fields.get("code") == "unknown_job":
            fields = {**fields, "remedy": self._remedy()}
        if self.as_json:
            self._show(json.dumps({"source": child, **fields}, default=str))
        else:
            self._show(logs.render(fields, colour=self.colour, source=child))

    def died(self, child: str, reason: str, pause: float) -> None:
        """See `Listener`."""
        if self._is_outrun(reason):
            return
        fine = reason == WELL  # `queue restart`, say
        event, level = ("ended", "info") if fine else ("died", "error")
        self.say(event, f"{reason}; starting again in {pause:g} s", child=child, level=level)

    def waits(self, child: str, reason: str) -> None:
        """See `Listener`."""
        if self._is_outrun(reason):
            return
        if child == "app" and self.early is not None and not self.stop.is_set():
            self.refusal = reason
            self.stop.set()
            return
        then = "waiting for a change" if self.reloads else f"mend it and {START_AGAIN}"
        self.say("waiting", f"{reason}; {then}", child=child, level="error")

    def say(self, event: str, message: str, *, child: str = "dev", level: str = "info") -> None:
        """Show one event of our own."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.heard(child, {"ts": stamp, "level": level, "event": event, "msg": message})

    def open(self, panel: Panel) -> None:
        """Show the panel, then what was said before it; once."""
        if self.early is None:
            return
        text = json.dumps(panel.fields()) if self.as_json else panel.text(colour=self.colour)
        early, self.early = self.early, None
        for line in (text, *early):
            self._show(line)

    def close(self, plan: Plan) -> None:
        """Say that everything stops; not after a refusal, or to start elsewhere."""
        if self.refusal or self.outrun:
            return
        self.open(plan.panel(scheduled=self.scheduled))
        self.say("stopping", "stopping; Ctrl-C again does not wait")

    def _is_new(self, text: str) -> bool:
        before = len(self.told)
        self.told.add(text)
        return len(self.told) > before

    def _is_outrun(self, reason: str) -> bool:
        """Whether nothing was promised yet, nobody stops it, and other ports may be taken."""
        if self.early is not None and not self.stop.is_set() and IN_USE.search(reason):
            self.outrun = True
            self.stop.set()
        return self.outrun

    def _remedy(self) -> str:
        return ", ".join([REMEDY, *([] if self.reloads else [START_AGAIN]), RETRY])

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
@click.option("--no-schedule", is_flag=True, help="Leave alone what @schedule has scheduled.")
def dev(
    *,
    application: str | None,
    as_json: bool,
    debug: bool,
    open_page: bool,
    no_demo: bool,
    no_schedule: bool,
) -> None:
    """
    Start everything for development, with one Ctrl-C.

    Given MODULE:APP, runs that application (ASGI, or WSGI like Flask's and Django's) instead
    of the demo, and starts it again when its code changes. Its worker serves every queue that
    the jobs name, unless `[worker] queue` lists queues, and runs what is scheduled.
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
        for _ in range(PLANS):
            with PortHolds() as ports:
                plan = make_plan(settings, folder, target, server, ports, schedules=not no_schedule)
                folder.announce(plan.state(folder))
                refuse_other_app(load_settings())
                code = asyncio.run(supervise(plan, display, server, open_page=open_page))
            if not display.outrun or code:
                break
            display = Display(as_json, debug, colour=display.colour)
        else:
            raise ConfigurationError(
                f"ports were taken {PLANS} times while dev started; see who starts what there"
            )
    if display.refusal:
        raise ConfigurationError(display.refusal)
    sys.exit(code)


def refuse_if_above(settings: Settings) -> None:
    """Raise `ConfigurationError` if a ``dev`` of a folder above answers for this one."""
    if "dev.json" in (settings.sources.get("redis_url"), settings.sources.get("app.id")):
        raise ConfigurationError(
            "broadcaster dev runs already in a folder above this one; stop it, or use it as it is"
        )


def refuse_other_app(settings: Settings) -> None:
    """Raise `ConfigurationError` if what children are told, now that a dev runs, is no app."""
    if settings.app is None and not settings.listed:
        raise ConfigurationError(settings.app_problem)


async def supervise(
    plan: Plan, display: Display, server: EmbeddedServer | None, *, open_page: bool
) -> int:
    """Run all children until a signal comes; return the exit code."""
    children = plan.children()
    stop, force = display.stop, asyncio.Event()
    display.reloads = plan.reloads and find_spec("watchfiles") is not None
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
    if plan.reloads:
        work["reload"] = _reload(children, display)
    tasks = [loop.create_task(coroutine, name=name) for name, coroutine in work.items()]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        await stop.wait()
        display.close(plan)
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
        ports[plan.page] = plan.app_port
    await _all_listen(display, set(ports))
    await _all_listen(display, {"worker"}, WORKER_SECONDS)
    problems = [
        f"the {name} does not answer on port {port} yet; see below"
        for name, port in ports.items()
        if name not in display.listening
    ]
    display.open(plan.panel(problems, scheduled=display.scheduled))
    if open_page and plan.app_url:
        await asyncio.to_thread(webbrowser.open, plan.app_url)


async def _all_listen(display: Display, names: set[str], seconds: float = START_SECONDS) -> None:
    """
    Wait until all children of these names listen, or work; at most so many `seconds`.

    That a port answers says nothing: it may be somebody else who does.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not names <= display.listening:
                display.listened.clear()
                await display.listened.wait()


async def _keep_server(server: EmbeddedServer | None, display: Display) -> None:
    """Start the embedded server anew should its keeper give up."""
    while server is not None:
        await asyncio.sleep(1.0)
        if not server.running:
            display.say("redis_died", "the embedded server ended; starting it", level="error")
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)


async def _reload(children: Sequence[Child], display: Display) -> None:
    """Start application and worker again when Python code here changes, all when settings do."""
    try:
        from watchfiles import PythonFilter, awatch
    except ImportError:
        display.say("reload_off", "no reload on changes: pip install watchfiles", level="warning")
        return
    watched = PythonFilter(extra_extensions=SETTINGS_FILES)
    async for changes in awatch(Path.cwd(), watch_filter=watched):
        names = sorted({Path(path).name for _, path in changes})
        settings = not set(SETTINGS_FILES).isdisjoint(names)
        again = [child for child in children if child.reloaded or settings]
        which = ", ".join(child.name for child in again)
        display.say("reloading", f"{', '.join(names)} changed; starting {which} again")
        await asyncio.gather(*(child.restart() for child in again))
