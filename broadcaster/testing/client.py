r"""
A Pusher client for tests: real WebSocket, every frame kept, nothing hidden.

::

    async with connected("ws://127.0.0.1:8080", app) as client:
        await client.subscribe("orders")
        frame = await client.next("App\Events\OrderShipped")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from broadcaster.protocol.signing import sign_channel, sign_user

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.client import ClientConnection

    from broadcaster.protocol.app import App

WAIT_SECONDS = 10.0
SUCCEEDED = "pusher_internal:subscription_succeeded"


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One frame from the server.

    Attributes:
        event: its name.
        channel: its channel, or None.
        data: decoded once more when it was a string of JSON.
        raw: the whole frame, decoded.
    """

    event: str
    channel: str | None
    data: Any
    raw: dict[str, Any]


class PusherClient:
    """
    One connection.

    Attributes:
        frames: every frame received so far, oldest first.
        closed: code and reason of the close, once it came.
    """

    def __init__(self, socket: ClientConnection, app: App) -> None:
        self._socket = socket
        self._app = app
        self._arrived = asyncio.Condition()
        self._taken: set[int] = set()
        self.frames: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.socket_id = ""

    async def send(self, frame: object) -> None:
        """Send a JSON value, or text and bytes as they are."""
        await self._socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def subscribe(
        self, channel: str, member: dict[str, Any] | None = None, *, wait: bool = True
    ) -> Frame | None:
        """Subscribe, signed as the app would; return the success frame unless `wait` is off."""
        data: dict[str, Any] = {"channel": channel, "auth": ""}
        if member is not None:
            data["channel_data"] = json.dumps(member)
        if channel.startswith(("private-", "presence-")):
            data["auth"] = sign_channel(
                self._app.key,
                self._app.secret,
                socket_id=self.socket_id,
                channel=channel,
                channel_data=data.get("channel_data"),
            )
        await self.send({"event": "pusher:subscribe", "data": data})
        return await self.next(SUCCEEDED, channel=channel) if wait else None

    async def sign_in(self, user_data: dict[str, Any], *, wait: bool = True) -> Frame | None:
        """Sign in, signed as the app would; return the success frame unless `wait` is off."""
        text = json.dumps(user_data)
        auth = sign_user(self._app.key, self._app.secret, socket_id=self.socket_id, user_data=text)
        await self.send({"event": "pusher:signin", "data": {"auth": auth, "user_data": text}})
        return await self.next("pusher:signin_success") if wait else None

    def watched(self) -> list[tuple[str, list[str]]]:
        """Return what was said of the watchlist so far: ``online`` or ``offline``, and who."""
        return [
            (event["name"], sorted(event["user_ids"]))
            for data in self.received("pusher_internal:watchlist_events")
            for event in data["events"]
        ]

    async def unsubscribe(self, channel: str) -> None:
        """Leave a channel; there is no answer."""
        await self.send({"event": "pusher:unsubscribe", "data": {"channel": channel}})

    async def whisper(self, channel: str, name: str, data: object) -> None:
        """Send a client event."""
        await self.send({"event": f"client-{name}", "channel": channel, "data": data})

    async def settle(self) -> None:
        """Return when everything that the server wrote before now has arrived."""
        await self.send({"event": "pusher:ping", "data": {}})
        await self.next("pusher:pong")

    async def next(
        self, event: str, *, channel: str | None = None, within: float = WAIT_SECONDS
    ) -> Frame:
        """
        Return the next frame with this event that was not returned before.

        Raises:
            AssertionError: it did not come `within` seconds, or the connection closed.
        """
        try:
            async with asyncio.timeout(within), self._arrived:
                while True:
                    for index, frame in enumerate(self.frames):
                        wanted = frame.event == event and channel in (None, frame.channel)
                        if wanted and index not in self._taken:
                            self._taken.add(index)
                            return frame
                    if self.closed is not None:
                        raise AssertionError(f"closed with {self.closed} before {event} came")
                    await self._arrived.wait()
        except TimeoutError:
            got = [frame.event for i, frame in enumerate(self.frames) if i not in self._taken]
            raise AssertionError(f"no {event} within {within} s; left are {got[-20:]}") from None

    async def wait_closed(self, within: float = WAIT_SECONDS) -> tuple[int, str]:
        """Return code and reason of the close."""
        async with asyncio.timeout(within), self._arrived:
            while self.closed is None:
                await self._arrived.wait()
        return self.closed

    def received(self, event: str, channel: str | None = None) -> list[Any]:
        """Return the data of every frame of this event so far."""
        return [
            frame.data
            for frame in self.frames
            if frame.event == event and channel in (None, frame.channel)
        ]

    async def read(self) -> None:
        """Keep frames until the connection closes."""
        try:
            async for text in self._socket:
                raw = json.loads(text)
                frame = Frame(raw["event"], raw.get("channel"), _decoded(raw.get("data")), raw)
                async with self._arrived:
                    self.frames.append(frame)
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        async with self._arrived:
            self.closed = (self._socket.close_code or 1006, self._socket.close_reason or "")
            self._arrived.notify_all()


@contextlib.asynccontextmanager
async def connected(
    url: str,
    app: App,
    *,
    path: str | None = None,
    origin: str | None = None,
    established: bool = True,
) -> AsyncGenerator[PusherClient]:
    """
    Connect to the gateway at `url` (``ws://host:port``).

    Args:
        path: instead of ``/app/<key>`` and pusher-js's query.
        origin: the page that a browser would name.
        established: wait for ``pusher:connection_established``.
    """
    target = path or f"/app/{app.key}?protocol=7&client=js&version=8.6.0&flash=false"
    async with connect(
        url + target,
        compression=None,
        max_size=None,
        open_timeout=WAIT_SECONDS,
        origin=Origin(origin) if origin is not None else None,
    ) as socket:
        client = PusherClient(socket, app)
        reader = asyncio.create_task(client.read())
        try:
            if established:
                frame = await client.next("pusher:connection_established")
                client.socket_id = frame.data["socket_id"]
            yield client
        finally:
            await socket.close()
            await reader


def _decoded(data: Any) -> Any:
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
