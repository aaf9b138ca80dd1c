"""``broadcaster serve``: the gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.settings import Settings

_log = logging.getLogger("broadcaster.gateway")


@click.command()
@click.option("--host", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on. Default: 8080.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes; each is a node. Default: 1."
)
@click.option("--drain", type=float, help="Seconds over which connections close at a stop.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=None,
    help="Default: info, and debug with the setting `debug`.",
)
@click.option("--shared-port", is_flag=True, hidden=True)
def serve(
    host: str | None,
    port: int | None,
    workers: int | None,
    drain: float | None,
    log_level: str | None,
    *,
    shared_port: bool,
) -> None:
    """
    Serve WebSockets at /app/KEY and the HTTP API at /apps/ID on one port.

    Credentials come from BROADCASTER_APP_ID, BROADCASTER_APP_KEY and
    BROADCASTER_APP_SECRET (or their PUSHER_ and REVERB_ names), Redis from REDIS_URL.
    TERM or Ctrl-C closes connections in good order and exits 0; a second one does not wait.
    """
    from broadcaster.cli import logs
    from broadcaster.settings import load_settings

    settings = load_settings(
        {
            "gateway.host": host,
            "gateway.port": port,
            "gateway.workers": None if shared_port else workers,
            "gateway.drain_seconds": drain,
        }
    )
    settings.require_apps()
    settings.require_redis()
    level = log_level or logs.level_of(settings)
    logs.configure(settings.gateway.log_format, level.upper())
    if not shared_port:
        logs.warn_of_settings(_log, settings.warnings)
    raise_file_limit()
    if settings.gateway.workers > 1 and not shared_port:
        from broadcaster.cli.serve_workers import run_workers

        sys.exit(run_workers(settings, level))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, shared=shared_port))


async def _serve(settings: Settings, *, shared: bool) -> None:
    from broadcaster.gateway.server import GatewayServer, bind
    from broadcaster.wiring.gateway import open_gateway
    from broadcaster.wiring.startup import wait_for_redis

    listener = bind(settings.gateway.host, settings.gateway.port, shared=shared)
    gateway = open_gateway(settings)
    try:
        await wait_for_redis(gateway.clients)
        gateway.webhooks.start()
        server = GatewayServer(
            gateway.node, gateway.app, listener, drain_seconds=settings.gateway.drain_seconds
        )
        # What start-up made stays for good: no later collection needs to look at it again.
        gc.collect()
        gc.freeze()
        await server.run_until_stopped()
    finally:
        await gateway.webhooks.aclose()
        await gateway.clients.aclose()
        listener.close()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed, else None for asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets this user have, and say how many."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            _log.warning("at most %d connections: cannot raise the file limit (%s)", soft, error)
