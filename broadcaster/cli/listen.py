"""
``broadcaster listen``: a Pusher client in the terminal.

It knows the app's secret, so it signs its own subscriptions: private and presence
channels open without an auth endpoint. What arrives goes to stdout, one line per event;
what happens to the connection goes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from broadcaster.errors import DriverUnavailable
from broadcaster.protocol.channels import ChannelKind, parse_channel
from broadcaster.protocol.close_codes import Reaction, reaction_to
from broadcaster.protocol.signing import sign_channel
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.asyncio.client import ClientConnection

    from broadcaster.contracts.apps import App
    from broadcaster.settings import EndpointSettings

_OPEN_SECONDS = 5.0
_MAX_DELAY = 10.0
_MAX_FRAME = 1_048_576


class Frame(msgspec.Struct, frozen=True):
    """One frame from a server; unknown fields are ignored."""

    event: str
    channel: str | None = None
    data: Any = None
    user_id: str | None = None


@click.command()
@click.argument("channels", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
@click.option("--as", "user_id", default="broadcaster-listen", help="User id on presence channels.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after this many events.")
@click.option("--host", help="Server instead of the configured one.")
@click.option("--port", type=int, help="Port instead of the configured one.")
def listen(
    channels: Sequence[str],
    *,
    as_json: bool,
    user_id: str,
    count: int | None,
    host: str | None,
    port: int | None,
) -> None:
    """
    Show the events of CHANNELS (full names) as they come, until Ctrl-C.

    A lost connection is made again; what was sent in between is not shown.
    """
    settings = load_settings({"endpoint.host": host, "endpoint.port": port})
    app = settings.require_app()
    for channel in channels:
        parse_channel(channel)
    listener = Listener(
        app,
        settings.endpoint,
        channels=tuple(channels),
        user_id=user_id,
        as_json=as_json,
        count=count,
    )
    asyncio.run(_until_stopped(listener))


class Listener:
    """
    Keeps one connection to a server and prints what it brings.

    Args:
        count: events to print before `run` returns, or None for no end.
    """

    def __init__(
        self,
        app: App,
        endpoint: EndpointSettings,
        *,
        channels: tuple[str, ...],
        user_id: str = "broadcaster-listen",
        as_json: bool = False,
        count: int | None = None,
    ) -> None:
        self._app = app
        self._url = socket_url(endpoint, app.key)
        self._where = endpoint.authority
        self._channels = channels
        self._user_id = user_id
        self._as_json = as_json
        self._left = count
        self._refused: set[str] = set()
        self._failures = 0

    async def run(self) -> None:
        """
        Print events until there were enough of them.

        Raises:
            DriverUnavailable: the first connection could not be made.
            ClickException: the server said that trying again is useless, or refused
                every channel.
        """
        connected = False
        while self._left is None or self._left > 0:
            try:
                async with connect(
                    self._url,
                    open_timeout=_OPEN_SECONDS,
                    max_size=_MAX_FRAME,
                    compression=None,
                    proxy=None,
                ) as socket:
                    connected = True
                    await self._converse(socket)
            except ConnectionClosed as error:
                await self._wait_after(error)
            except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
                if not connected:
                    raise DriverUnavailable(
                        f"no Pusher server answers at {self._where} ({type(error).__name__}): start "
                        "one with `broadcaster serve`, or say where it is with --host and --port "
                        "(or BROADCASTER_ENDPOINT__HOST and BROADCASTER_ENDPOINT__PORT)"
                    ) from error
                await self._pause(f"{self._where} cannot be reached")

    async def _converse(self, socket: ClientConnection) -> None:
        async for text in socket:
            frame = read_frame(text)
            if frame is None:
                continue
            for reply in self._react(frame):
                await socket.send(reply)
            if self._left == 0:
                return
        # The iterator ends without an error after close codes 1000 and 1001 only.
        await self._pause("the server closed the connection")

    def _react(self, frame: Frame) -> list[str]:
        match frame.event:
            case "pusher:connection_established":
                self._failures = 0
                _say(f"connected to {self._where}")
                return self._subscriptions(frame)
            case "pusher:ping":
                return ['{"event":"pusher:pong","data":{}}']
            case "pusher_internal:subscription_succeeded":
                _say(f"subscribed to {frame.channel}")
            case "pusher:subscription_error":
                self._note_refusal(frame)
            case "pusher:error":
                _say(f"error: {_printable(_compact(frame.data))}")
            case "pusher:pong":
                pass
            case _:
                self._show(frame)
        return []

    def _subscriptions(self, frame: Frame) -> list[str]:
        data = _decoded(frame.data)
        socket_id = str(data.get("socket_id", "")) if isinstance(data, dict) else ""
        return [
            subscribe_frame(self._app, socket_id=socket_id, channel=channel, user_id=self._user_id)
            for channel in self._channels
        ]

    def _note_refusal(self, frame: Frame) -> None:
        _say(f"refused on {frame.channel}: {_printable(_compact(frame.data))}")
        self._refused.add(frame.channel or "")
        if self._refused >= set(self._channels):
            raise click.ClickException("every channel was refused")

    def _show(self, frame: Frame) -> None:
        click.echo(line_of(frame, now=time.time(), as_json=self._as_json))
        sys.stdout.flush()
        if self._left is not None:
            self._left -= 1

    async def _wait_after(self, error: ConnectionClosed) -> None:
        code = error.rcvd.code if error.rcvd is not None else 1006
        reason = error.rcvd.reason if error.rcvd is not None else ""
        if code >= 4000 and reaction_to(code) is Reaction.GIVE_UP:  # noqa: PLR2004 - protocol
            raise click.ClickException(f"{self._where} closed with {code} {_printable(reason)}")
        await self._pause(f"connection closed with {code} {_printable(reason)}".rstrip())

    async def _pause(self, why: str) -> None:
        self._failures += 1
        delay = reconnect_delay(self._failures, random.random())  # noqa: S311 - spreads reconnects
        _say(f"{why}; connecting again in {delay:.1f} s")
        await asyncio.sleep(delay)


def socket_url(endpoint: EndpointSettings, key: str) -> str:
    """Return the WebSocket URL of an app."""
    scheme = "wss" if endpoint.scheme == "https" else "ws"
    query = "protocol=7&client=broadcaster-listen&version=0.1.0&flash=false"
    return f"{scheme}://{endpoint.authority}{endpoint.prefix}/app/{key}?{query}"


def subscribe_frame(app: App, *, socket_id: str, channel: str, user_id: str) -> str:
    """Return the signed ``pusher:subscribe`` frame for `channel`."""
    name = parse_channel(channel)
    data = {"channel": channel}
    if name.needs_auth:
        if name.kind is ChannelKind.PRESENCE:
            data["channel_data"] = json.dumps({"user_id": user_id})
        data["auth"] = sign_channel(
            app.key,
            app.secret,
            socket_id=socket_id,
            channel=channel,
            channel_data=data.get("channel_data"),
        )
    return json.dumps({"event": "pusher:subscribe", "data": data})


def read_frame(text: str | bytes) -> Frame | None:
    """Return the frame, or None for what is no Pusher frame."""
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(text, type=Frame)
    return None


def line_of(frame: Frame, *, now: float, as_json: bool) -> str:
    """Return the line for one event; control characters cannot reach the terminal."""
    if as_json:
        return json.dumps(
            {
                "ts": round(now, 3),
                "channel": frame.channel,
                "event": frame.event,
                "data": _decoded(frame.data),
                **({} if frame.user_id is None else {"user_id": frame.user_id}),
            }
        )
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    return _printable(f"{clock} {frame.channel or '-'} {frame.event} {_compact(frame.data)}")


def reconnect_delay(failures: int, chance: float) -> float:
    """
    Return seconds to wait before connecting again.

    Args:
        failures: connections lost or refused in a row, 1 at least.
        chance: 0 to 1; spreads many clients over time.
    """
    ceiling = min(_MAX_DELAY, 0.5 * 2.0 ** min(failures, 10))
    return ceiling / 2 + chance * ceiling / 2


async def _until_stopped(listener: Listener) -> None:
    task = asyncio.ensure_future(listener.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _decoded(data: Any) -> Any:
    """Return `data` with a JSON string unwrapped once, as pusher-js does."""
    if isinstance(data, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(data)
    return data


def _compact(data: Any) -> str:
    if isinstance(data, str):
        return data
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _say(text: str) -> None:
    click.echo(text, err=True)
