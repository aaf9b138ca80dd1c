"""
uvicorn around a node: one port, a graceful stop that sends clients away in good order.

Stop: ``/ready`` turns false, connections are closed with 4200 spread over `drain_seconds`
while the listener still answers (a refused connection costs stock clients 15 seconds; an
accepted one is told 4100 and comes back after one), then uvicorn finishes the requests
under way. Exit code 0. A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from broadcaster.errors import ConfigurationError
from broadcaster.gateway.sniff import LateUpgrade, Sniffer

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.applications import Starlette

    from broadcaster.gateway.node import Node

_log = logging.getLogger("broadcaster.gateway")

BACKLOG = 4_096
# The kernel takes this much unsent data per connection before it says "full": without it
# a reader that never reads would hide megabytes in kernel memory from our policy.
NOT_SENT_BYTES = 16_384
SEND_BUFFER_BYTES = 262_144
TCP_NOTSENT_LOWAT = 25


class GatewayServer(uvicorn.Server):
    """
    Serves one node.

    Args:
        node: whose sockets these are.
        app: answers everything that is no WebSocket.
        listener: a bound socket.
        drain_seconds: over how long connections are closed at a graceful stop.
    """

    def __init__(
        self, node: Node, app: Starlette, listener: socket.socket, *, drain_seconds: float
    ) -> None:
        config = uvicorn.Config(
            app,
            http=functools.partial(Sniffer, node),  # type: ignore[arg-type] # any factory will do
            ws=functools.partial(LateUpgrade, node),  # type: ignore[arg-type] # the same
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._node = node
        self._listener = listener
        self._drain_seconds = drain_seconds
        self._hurry = asyncio.Event()

    async def run_until_stopped(self) -> None:
        """
        Serve until a signal, then drain and stop.

        Raises:
            ConfigurationError: another process has begun to listen since `bind`.
        """
        host, port = self._listener.getsockname()[:2]
        try:
            # Two may bind and one may listen; uvloop would be silent about having failed.
            self._listener.listen(BACKLOG)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        self._node.start()
        _log.info(
            "gateway listens on %s port %d",
            host,
            port,
            extra={"event": "listening", "node": self._node.options.name},
        )
        try:
            await self.serve(sockets=[self._listener])
        finally:
            await self._node.aclose()
        _log.info("gateway stopped", extra={"event": "stopped", "node": self._node.options.name})

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle TERM and INT here, without raising them again afterwards (exit code 0)."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
            self._hurry.set()
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then let uvicorn finish its requests."""
        drain = asyncio.ensure_future(self._node.drain(self._drain_seconds))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurry):
            task.cancel()
        for outcome in await asyncio.gather(drain, hurry, return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.error("draining failed", exc_info=outcome, extra={"event": "bug"})
        await super().shutdown(sockets)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """
    Return a bound TCP socket whose connections report a slow reader early.

    Args:
        host: name or address to listen on.
        port: 0 picks a free one.
        shared: whether other processes of ours listen on the same port.

    Raises:
        ConfigurationError: the address cannot be used; the message says what to do.
    """
    listener: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        with contextlib.suppress(OSError):  # not on every system
            listener.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise _cannot_listen(host, port, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot listen on {host} port {port}: {error.strerror or error}; "
        "stop what uses it, or choose another with --port"
    )
