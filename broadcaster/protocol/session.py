"""
The protocol state of one connection: text in, effects out.

A Session decides; its shell acts. Nothing here waits, reads a clock or touches a socket.
A subscription goes through three states:

======== ============================================ ====================================
state    entered by                                   left by
======== ============================================ ====================================
(none)                                                ``pusher:subscribe`` -> `Join`
pending  `Join` was returned                          `joined`, `refused`, unsubscribe
active   `joined`: success was returned as `Reply`    unsubscribe, expiry -> `Leave`
======== ============================================ ====================================

Each `Join` carries a generation, and its outcome comes back with it: answers may arrive
after the client has changed its mind. Giving up a pending subscription returns a `Leave`
like any other, which the shell carries out after the join it undoes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from broadcaster.errors import (
    AuthorizationError,
    InvalidChannel,
    InvalidSignature,
    MalformedMessage,
    ProtocolError,
)
from broadcaster.protocol import messages
from broadcaster.protocol.channels import (
    USER_CHANNEL_PREFIX,
    ChannelKind,
    ChannelName,
    is_user_id,
    parse_channel,
    shown,
)
from broadcaster.protocol.close_codes import CLIENT_EVENT_REFUSED, INVALID_MESSAGE
from broadcaster.protocol.signing import verify_user
from broadcaster.protocol.subscription_auth import MAX_USER_ID, Verified

if TYPE_CHECKING:
    from broadcaster.protocol.app import App

AUTH_ERROR, LIMIT_REACHED, INVALID = "AuthError", "LimitReached", "InvalidChannel"


# (auth, channel, channel_data) -> Verified; raises ProtocolError or AuthorizationError.
Verify: TypeAlias = Callable[[str, str, "str | None"], Verified]


class Reply(NamedTuple):
    """Write `frame` to this connection."""

    frame: bytes


class Join(NamedTuple):
    """Register the connection with `channel` and report the outcome under `generation`."""

    channel: ChannelName
    generation: int
    member: messages.MemberData | None


class Leave(NamedTuple):
    """Take the connection out of a channel."""

    channel: str


class Relay(NamedTuple):
    """Send a client event to the channel's other subscribers."""

    channel: str
    frame: bytes


class Denied(NamedTuple):
    """A subscription was refused; for the log."""

    channel: str
    code: str
    cause: str


Effect: TypeAlias = Reply | Join | Leave | Relay | Denied


class Subscription:
    """One channel of one connection."""

    __slots__ = ("active", "expires_at", "generation", "user_id")

    def __init__(self, generation: int, user_id: str | None, expires_at: float | None) -> None:
        self.generation = generation
        self.user_id = user_id
        self.expires_at = expires_at
        self.active = False


class Session:
    """
    One connection's protocol state (see the module).

    Args:
        app: whose connection it is.
        socket_id: its id, ``digits.digits``.
        verify: checks the ``auth`` of a subscription for this app and socket.
    """

    __slots__ = (
        "_app",
        "_expiring",
        "_generation",
        "_tokens",
        "_tokens_at",
        "_verify",
        "socket_id",
        "subscriptions",
        "user_id",
    )

    def __init__(self, app: App, socket_id: str, verify: Verify) -> None:
        self._app = app
        self._verify = verify
        self.socket_id = socket_id
        self.subscriptions: dict[str, Subscription] = {}
        self.user_id: str | None = None
        self._generation = 0
        self._expiring = False
        self._tokens = float(app.limits.client_event_rate)
        self._tokens_at = 0.0

    def opened(self) -> bytes:
        """Return the first frame of the connection."""
        return messages.encode_established(self.socket_id, self._app.limits.activity_timeout)

    def received(self, text: bytes, now: float) -> list[Effect]:
        """
        Take one text message from the client.

        Args:
            text: valid UTF-8, within the app's frame limit.
            now: monotonic or Unix seconds, never running backwards.
        """
        try:
            message = messages.parse_client_message(text)
        except MalformedMessage as error:
            return [Reply(messages.encode_error(INVALID_MESSAGE, f"Invalid message: {error}"))]
        if isinstance(message, messages.Subscribe):
            return self._subscribe(message)
        if isinstance(message, messages.ClientEvent):
            return self._client_event(message, now)
        if isinstance(message, messages.Heartbeat):
            return [Reply(messages.PONG)] if message.wants_answer else []
        if isinstance(message, messages.Unsubscribe):
            return self._unsubscribe(message.channel)
        return self._sign_in(message)

    def joined(self, channel: str, generation: int, frame: bytes) -> list[Effect]:
        """
        Take the outcome of a `Join` that succeeded.

        Args:
            channel: its channel.
            generation: the join's generation.
            frame: the ``subscription_succeeded`` frame.
        """
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.generation != generation or subscription.active:
            return []
        subscription.active = True
        return [Reply(frame)]

    def refused(self, channel: str, generation: int, *, error: str, status: int) -> list[Effect]:
        """Take the outcome of a `Join` that was refused, for example by a full channel."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.generation != generation:
            return []
        del self.subscriptions[channel]
        return [
            Reply(messages.encode_subscription_error(channel, LIMIT_REACHED, error, status)),
            Denied(channel, "limit_reached", error),
        ]

    @property
    def may_expire(self) -> bool:
        """Whether any subscription came with a grant that ends."""
        return self._expiring

    def expire(self, now: float) -> list[Effect]:
        """End the subscriptions whose grant has expired at `now` (Unix seconds)."""
        ended = [
            name
            for name, subscription in self.subscriptions.items()
            if subscription.expires_at is not None and subscription.expires_at <= now
        ]
        effects: list[Effect] = []
        for name in ended:
            effects += self.end(name, "auth_expired", "The grant for this channel has expired")
        return effects

    def end(self, channel: str, code: str, cause: str) -> list[Effect]:
        """End one subscription from the server's side and tell the client why."""
        if self.subscriptions.pop(channel, None) is None:
            return []
        return [
            Reply(messages.encode_subscription_error(channel, AUTH_ERROR, cause, 401)),
            Denied(channel, code, cause),
            Leave(channel),
        ]

    def is_current(self, channel: str, generation: int) -> bool:
        """Whether a join with this generation is still wanted."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.generation == generation

    # -- subscribing ------------------------------------------------------------------

    def _subscribe(self, message: messages.Subscribe) -> list[Effect]:
        name = message.channel
        if name in self.subscriptions:
            return [_error(f"Existing subscription to channel {shown(name)}")]
        limit = self._app.limits.max_channels
        if len(self.subscriptions) >= limit:
            return _denied(
                name,
                LIMIT_REACHED,
                "limit_reached",
                f"A connection has at most {limit} channels",
                4100,
            )
        try:
            channel = parse_channel(name)
            verified = self._authorize(channel, message)
            member = self._member(channel, verified)
        except InvalidChannel as error:
            return _denied(name, INVALID, error.code, str(error), 4009)
        except (ProtocolError, AuthorizationError) as error:
            return _denied(name, AUTH_ERROR, error.code, str(error), 401)
        self._generation += 1
        self._expiring |= verified.expires_at is not None
        self.subscriptions[channel.name] = Subscription(
            self._generation, verified.user_id, verified.expires_at
        )
        return [Join(channel, self._generation, member)]

    def _authorize(self, channel: ChannelName, message: messages.Subscribe) -> Verified:
        if channel.needs_auth:
            return self._verify(message.auth, channel.name, message.channel_data)
        if channel.kind is ChannelKind.USER:
            owner = channel.name[len(USER_CHANNEL_PREFIX) :]
            if self.user_id is None or owner != self.user_id:
                raise InvalidSignature(
                    f"channel {shown(channel.name)} belongs to a user who has not signed in on "
                    "this connection",
                    code="not_signed_in",
                )
        return _NOTHING_PROVED

    def _member(self, channel: ChannelName, verified: Verified) -> messages.MemberData | None:
        if not channel.is_presence:
            return None
        if verified.member_data is None or verified.user_id is None:
            raise MalformedMessage(
                "channel_data is missing: a presence channel needs it to know the member",
                code="member_missing",
            )
        member = messages.MemberData(verified.user_id, verified.member_data, verified.info_size)
        limits = self._app.limits
        if not 0 < len(member.user_id) <= MAX_USER_ID:
            raise MalformedMessage(
                f"user_id has {len(member.user_id)} characters; 1 to {MAX_USER_ID} are allowed",
                code="member_invalid",
            )
        if member.info_size > limits.presence_info_bytes:
            raise MalformedMessage(
                f"user_info has {member.info_size} bytes; {limits.presence_info_bytes} are allowed",
                code="member_invalid",
            )
        return member

    def _unsubscribe(self, name: str) -> list[Effect]:
        if self.subscriptions.pop(name, None) is None:
            return [_error(f"No current subscription to channel {shown(name)}")]
        return [Leave(name)]

    def _sign_in(self, message: messages.SignIn) -> list[Effect]:
        try:
            verify_user(
                message.auth,
                key=self._app.key,
                secret=self._app.secret,
                socket_id=self.socket_id,
                user_data=message.user_data,
            )
            user_id = messages.parse_user_data(message.user_data)
        except ProtocolError as error:
            return [Reply(messages.encode_error(4009, f"Sign-in refused: {error}"))]
        if not is_user_id(user_id):
            return [
                Reply(
                    messages.encode_error(
                        4009,
                        "Sign-in refused: user id has characters that channel names cannot carry",
                    )
                )
            ]
        if self.user_id not in (None, user_id):
            return [
                Reply(
                    messages.encode_error(
                        4009, "Sign-in refused: this connection belongs to another user"
                    )
                )
            ]
        self.user_id = user_id
        return [Reply(messages.encode_signin_success(message.user_data))]

    # -- client events ----------------------------------------------------------------

    def _client_event(self, event: messages.ClientEvent, now: float) -> list[Effect]:
        cause = self._refuse_client_event(event)
        if cause is not None:
            return [_error(f"Client event rejected: {cause}", CLIENT_EVENT_REFUSED)]
        rate = self._app.limits.client_event_rate
        if not self._take_token(now, rate):
            return [
                _error(
                    f"Client event rejected: over {rate} client events a second",
                    CLIENT_EVENT_REFUSED,
                )
            ]
        subscription = self.subscriptions[event.channel]
        is_presence = event.channel.startswith("presence-")
        frame = messages.encode_client_event(
            event.channel, event.name, event.data, subscription.user_id if is_presence else None
        )
        return [Relay(event.channel, frame)]

    def _refuse_client_event(self, event: messages.ClientEvent) -> str | None:
        limits = self._app.limits
        if not limits.client_events:
            return "The app does not have client messaging enabled"
        subscription = self.subscriptions.get(event.channel)
        if subscription is None or not subscription.active:
            return f"not subscribed to channel {shown(event.channel)}"
        if not parse_channel(event.channel).takes_client_events:
            return "only private and presence channels take client events"
        if len(event.name) > limits.max_event_name:
            return (
                f"event name has {len(event.name)} characters; {limits.max_event_name} are allowed"
            )
        if len(event.data) > limits.max_data_bytes:
            return f"data has {len(event.data)} bytes; {limits.max_data_bytes} are allowed"
        return None

    def _take_token(self, now: float, rate: int) -> bool:
        self._tokens = min(float(rate), self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


_NOTHING_PROVED = Verified()


def _error(message: str, code: int | None = None) -> Reply:
    return Reply(messages.encode_error(code, message))


def _denied(channel: str, kind: str, code: str, cause: str, status: int) -> list[Effect]:
    frame = messages.encode_subscription_error(channel, kind, cause, status)
    return [Reply(frame), Denied(channel, code, cause)]
