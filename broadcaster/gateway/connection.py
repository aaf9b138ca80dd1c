"""
One WebSocket of one app, whatever carries its bytes.

A `Connection` carries out what its `Session` decides and writes through an `Outlet`. Two
shells read for it: `broadcaster.gateway.socket` straight from a socket, and
`broadcaster.gateway.mounted` through somebody's ASGI server.

Life: `greet` -> messages -> a close from either side. After a close was sent nothing is
read any more; the outlet is closed when the peer answers, or aborted by the node's sweep
two seconds later.

Slow consumers: the outlet calls `pause_writing` when its buffer passes `HIGH_WATER`. A
pause alone is no verdict (one large joined write pauses healthy readers): the connection
leaves the fast list and is closed (4101) when its backlog passes the app's
`max_backlog_bytes`, or has not shrunk for its `stuck_seconds`.

Floods: a connection that sends more messages, pings included, than any client needs, or
`MAX_REFUSALS` that are refused, is closed (4102). A sign of life is a whole message: who
sends half of one, byte by byte, is as silent as who sends nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broadcaster.errors import InvalidSignature
from broadcaster.protocol import close_codes, messages, websocket
from broadcaster.protocol.effects import (
    Denied,
    Hold,
    Join,
    Leave,
    Relay,
    Reply,
    SignIn,
    SignOut,
)
from broadcaster.protocol.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.errors import WebSocketViolation
    from broadcaster.gateway.node import Node
    from broadcaster.protocol.app import App
    from broadcaster.protocol.close_codes import CloseCode
    from broadcaster.protocol.effects import Close, Effect
    from broadcaster.protocol.subscription_auth import Verified

HIGH_WATER = 65_536
CLOSE_SECONDS = 2.0
# Beside what the app's limits allow: pings, sign-in, coming back to every channel twice.
MESSAGES_A_SECOND, MESSAGES_AT_ONCE = 100, 2_000
MAX_REFUSALS = 100
FREE_REFUSALS = 10


class Outlet(Protocol):
    """
    Where a connection writes; an `asyncio.Transport` is one.

    It calls the connection's `pause_writing` when more than `HIGH_WATER` bytes wait, and
    `resume_writing` when few do.
    """

    @property
    def write(self) -> Callable[[bytes], None]:
        """Take WebSocket frames, of any amount; returns at once and never raises."""
        ...

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        ...

    def abort(self) -> None:
        """End the connection now; what waits is lost."""
        ...


class Connection:
    """See the module."""

    __slots__ = (
        "_node",
        "_outlet",
        "_write",
        "allowance",
        "app",
        "backlog",
        "closed_with",
        "closing_at",
        "last_seen",
        "opened_at",
        "paused",
        "pinged",
        "refusals",
        "session",
        "socket_id",
        "stuck_since",
    )

    def __init__(self, node: Node, app: App, socket_id: str, outlet: Outlet) -> None:
        self._node = node
        self._outlet = outlet
        self.app = app
        self.socket_id = socket_id
        self.session = Session(app, socket_id, self._verify)
        self._write: Callable[[bytes], None] = outlet.write
        self.last_seen = self.opened_at = node.now()
        self.pinged = False
        self.paused = False
        self.refusals = 0
        self.allowance = _burst(app)
        self.backlog = 0
        self.stuck_since = 0.0
        self.closing_at: float | None = None
        # The code and its name, of a close that we sent.
        self.closed_with: tuple[int, str] | None = None

    @property
    def write(self) -> Callable[[bytes], None]:
        """Write WebSocket frames as they are; see `Subscriber`."""
        return self._write

    # -- what the shell says ----------------------------------------------------------

    def heard(self, messages: int = 1) -> None:
        """The peer sent whole messages; one that sends more than clients need is closed."""
        now = self._node.now()
        rate = MESSAGES_A_SECOND + 2 * self.app.limits.client_event_rate
        earned = self.allowance + (now - self.last_seen) * rate
        self.allowance = min(earned, _burst(self.app)) - messages
        self.last_seen = now
        self.pinged = False
        if self.allowance < 0:
            self.close(close_codes.TOO_MUCH, f"Over {rate} messages a second for too long")

    def received(self, text: bytes) -> None:
        """Take one text message, within the app's frame limit."""
        self.act(self.session.received(text, self.last_seen))

    def refused(self) -> None:
        """Something that the peer sent was refused; that happens so often and no more."""
        self.refusals += 1
        if self.refusals >= MAX_REFUSALS:
            cause = f"{MAX_REFUSALS} messages of this connection were refused"
            self.close(close_codes.TOO_MUCH, cause)

    @property
    def is_distrusted(self) -> bool:
        """Whether so much of it was refused that it has to wait for its turns."""
        return self.refusals >= FREE_REFUSALS

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self.paused = True
        self.backlog = self._outlet.get_write_buffer_size()
        self.stuck_since = self._node.now()
        self._node.pace_changed(self)

    def resume_writing(self) -> None:
        """The peer caught up."""
        self.paused = False
        self._node.pace_changed(self)

    def gone(self) -> None:
        """The WebSocket is gone, whoever ended it."""
        self._node.socket_closed(self)
        # The session holds a method of ours: without it both are freed now, not at some
        # later garbage collection.
        self.session = Session(self.app, self.socket_id, _nobody)

    def greet(self, response: bytes) -> None:
        """Open the session, after `response` to the handshake, in one write."""
        self._write(response + websocket.encode_text(self.session.opened()))

    def follow(self, app: App | None) -> None:
        """
        Take the app as it is now; close if it is gone or disabled.

        What was agreed on when the socket opened stays: the longest message and the activity
        timeout that the client was told.
        """
        if app is None:
            self.close(close_codes.UNKNOWN_APP)
        elif not app.enabled:
            self.close(close_codes.APP_DISABLED)
        else:
            self.app = app
            self.session.follow(app)

    # -- writing ----------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Write one text message now, after everything that is pending for this tick."""
        self.send_raw(websocket.encode_text(frame))

    def send_raw(self, data: bytes) -> None:
        """Write WebSocket frames now, after everything that is pending for this tick."""
        self._node.hub.flush()
        if self.paused:
            self.deliver(data)
        elif self.closing_at is None:
            self._write(data)

    def deliver(self, data: bytes) -> None:
        """Write although the peer is not reading, within the app's bound."""
        if self.closing_at is not None:
            return
        if self._outlet.get_write_buffer_size() + len(data) > self.app.limits.max_backlog_bytes:
            self._node.slow_consumer(self)
            return
        self._write(data)

    def is_stuck(self, now: float) -> bool:
        """Whether a paused connection's backlog has not shrunk for the app's `stuck_seconds`."""
        size = self._outlet.get_write_buffer_size()
        if size < self.backlog:
            self.stuck_since = now
        self.backlog = size
        return now - self.stuck_since > self.app.limits.stuck_seconds

    def close(self, reason: CloseCode, message: str | None = None) -> None:
        """Close with one of our codes; the cause goes into the close frame's reason."""
        self.close_with(reason.code, reason.name, message or reason.message)

    def close_with(self, code: int, name: str, message: str) -> None:
        """Send a close frame and stop listening; `name` is the code's, for the log."""
        if self.closing_at is not None:
            return
        self.closed_with = (code, name)
        self._node.hub.flush()
        self._write(websocket.encode_close(code, message))
        self.closing_at = self._node.now()
        self._node.closing(self)

    def violated(self, error: WebSocketViolation) -> None:
        """Close for a violation with the code that RFC 6455 gives it."""
        if error.close_code == websocket.TOO_BIG:
            self.send(
                messages.encode_error(close_codes.INVALID_MESSAGE, f"Invalid message: {error}")
            )
        self.close_with(error.close_code, error.code, str(error))

    def refuse(self, reason: CloseCode, message: str | None = None) -> None:
        """Tell a client that has just connected why it cannot stay, and close."""
        text = message or reason.message
        self.send(messages.encode_error(reason.code, text))
        self.close_with(reason.code, reason.name, text)

    def abort(self) -> None:
        """End the connection without waiting for the peer."""
        self._outlet.abort()

    # -- effects ----------------------------------------------------------------------

    def act(self, effects: Sequence[Effect]) -> None:
        """Carry out what the session decided, until something of it closes the connection."""
        for effect in effects:
            if self.closing_at is not None:
                return
            if isinstance(effect, Reply):
                self.send(effect.frame)
                if messages.is_refusal(effect.frame):
                    self.refused()
            elif isinstance(effect, Join):
                self._node.join(self, effect)
            elif isinstance(effect, Relay):
                self._node.relay(self, effect)
            elif isinstance(effect, Leave):
                self._node.leave(self, effect.channel)
            elif isinstance(effect, Hold):
                self._node.hold(self)
            elif isinstance(effect, Denied):
                self._node.denied(self, effect)
            else:
                self._act_for_user(effect)

    def _act_for_user(self, effect: SignIn | SignOut | Close) -> None:
        if isinstance(effect, SignIn):
            self._node.users.sign_in(self, effect)
        elif isinstance(effect, SignOut):
            self._node.users.forget(self)
        else:
            self.refuse(effect.reason, effect.message)

    def joined(self, channel: str, generation: int, frame: bytes) -> None:
        """A `Join` succeeded; `frame` is the ``subscription_succeeded``."""
        self.act(self.session.joined(channel, generation, frame))

    def _verify(
        self, auth: str, channel: str, channel_data: str | None, held_since: float | None
    ) -> Verified:
        return self._node.verify(self, auth, channel, channel_data, held_since)


def _burst(app: App) -> float:
    return MESSAGES_AT_ONCE + 2 * app.limits.max_channels


def _nobody(*_: object) -> Verified:
    raise InvalidSignature("the connection is gone", code="gone")
