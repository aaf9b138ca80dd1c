"""
The protocol state of one connection: text in, effects out.

A Session decides; its shell acts. Nothing here waits, reads a clock or touches a socket.
A subscription goes through three states:

======== ============================================ ====================================
state    entered by                                   left by
======== ============================================ ====================================
(none)                                                ``pusher:subscribe`` -> `Join`, `Hold`
held     `Hold` was returned                          `retry`, unsubscribe
pending  `Join` was returned                          `joined`, `refused`, unsubscribe
active   `joined`: success was returned as `Reply`    unsubscribe, `end` -> `Leave`
======== ============================================ ====================================

Held is what cannot be decided yet, for example while the public keys of grants are being
fetched: it is asked again, and never refused for a reason that passes.

Each `Join` carries a generation, and its outcome comes back with it: answers may arrive
after the client has changed its mind. Giving up a pending subscription returns a `Leave`
like any other, which the shell carries out after the join it undoes.

A connection is its user's from the moment that the sign-in is proved; the client hears of it
when `SignIn` was carried out. It is one user's for good, unless they are revoked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from broadcaster.errors import (
    AuthorizationError,
    AuthorizationPending,
    InvalidChannel,
    MalformedMessage,
    ProtocolError,
)
from broadcaster.protocol import messages
from broadcaster.protocol.channels import (
    USER_CHANNEL_PREFIX,
    ChannelKind,
    ChannelName,
    parse_channel,
    shown,
)
from broadcaster.protocol.client_events import refusal_of, relay_of
from broadcaster.protocol.close_codes import (
    CLIENT_EVENT_REFUSED,
    INVALID_MESSAGE,
    SIGN_IN_REFUSED,
    UNAUTHORIZED,
)
from broadcaster.protocol.effects import (
    Close,
    Denied,
    Effect,
    Hold,
    Join,
    Leave,
    Relay,
    Reply,
    SignIn,
    SignOut,
)
from broadcaster.protocol.rate import TokenBucket
from broadcaster.protocol.refusals import (
    AUTH_ERROR,
    INVALID,
    LIMIT_REACHED,
    SERVER_ERROR,
    denied,
    error_reply,
    sign_in_refused,
)
from broadcaster.protocol.sign_in import owner_of, verify_sign_in
from broadcaster.protocol.subscription import NEVER, Subscription, identified, member_of
from broadcaster.protocol.subscription_auth import Verified

if TYPE_CHECKING:
    from broadcaster.protocol.app import App
    from broadcaster.protocol.sign_in import User

__all__ = [
    "MAX_HELD",
    "REVOKED",
    "Close",
    "Denied",
    "Effect",
    "Hold",
    "Join",
    "Leave",
    "Relay",
    "Reply",
    "Session",
    "SignIn",
    "SignOut",
    "Verify",
]

MAX_HELD = 100

# (auth, channel, channel_data, held since) -> Verified; raises AuthorizationPending, or
# ProtocolError or AuthorizationError for good.
Verify: TypeAlias = Callable[[str, str, "str | None", "float | None"], Verified]
# (user_id, channel, issued_at) -> whether a revocation covers it.
IsRevoked: TypeAlias = Callable[[str, str, "float | None"], bool]


class Held(NamedTuple):
    """A subscription that waits to be decided, and since when (Unix seconds)."""

    message: messages.Subscribe
    since: float


class Session:
    """
    One connection's protocol state (see the module).

    Args:
        app: whose connection it is.
        socket_id: its id, ``digits.digits``.
        verify: checks the ``auth`` of a subscription for this app and socket.

    Attributes:
        due_at: Unix seconds before which `expire` has nothing to do.
        renew_at: Unix seconds at which the connection is to be closed, so that its client
            comes back with fresh authorization (`broadcaster.protocol.subscription`).
        user: who signed in, or None.
        signed_in_at: when, by the clock of the store; None while it has not said so yet.
    """

    __slots__ = (
        "_app",
        "_authorized",
        "_client_events",
        "_deaf_until",
        "_generation",
        "_held",
        "_signed_out",
        "_verify",
        "due_at",
        "renew_at",
        "signed_in_at",
        "socket_id",
        "subscriptions",
        "user",
    )

    def __init__(self, app: App, socket_id: str, verify: Verify) -> None:
        self._app = app
        self._verify = verify
        self.socket_id = socket_id
        self.subscriptions: dict[str, Subscription] = {}
        self.user: User | None = None
        self.signed_in_at: float | None = None
        self._signed_out: str | None = None  # id of the user whose sign-in was revoked
        self._authorized = False
        self._generation = 0
        self._held: dict[str, Held] = {}
        self.due_at = self.renew_at = self._deaf_until = NEVER
        self._client_events: TokenBucket | None = None

    def follow(self, app: App) -> None:
        """Take the app as it is now; what was decided before stays decided."""
        self._app = app
        self._client_events = None

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
            return [error_reply(f"Invalid message: {error}", INVALID_MESSAGE)]
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

    def failed(self, channel: str, generation: int) -> list[Effect]:
        """Take the outcome of a `Join` that ended in a fault of ours."""
        if not self.is_current(channel, generation):
            return []
        del self.subscriptions[channel]
        cause = "The subscription failed by a fault of the server: subscribe again"
        return denied(channel, SERVER_ERROR, "internal_error", cause, 500)

    def refused(self, channel: str, generation: int, *, error: str, status: int) -> list[Effect]:
        """Take the outcome of a `Join` that was refused, for example by a full channel."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.generation != generation:
            return []
        del self.subscriptions[channel]
        return denied(channel, LIMIT_REACHED, "limit_reached", error, status)

    def expire(self, now: float, chance: float) -> list[Effect]:
        """
        End the subscriptions whose authorization has expired; plan the renewal of the others.

        Args:
            now: Unix seconds.
            chance: a random number from 0 up to 1, see `renewal_time`.
        """
        effects: list[Effect] = []
        self.due_at, self.renew_at = NEVER, self._deaf_until
        for name, subscription in list(self.subscriptions.items()):
            expires_at = subscription.expires_at
            if expires_at is None:
                continue
            self.renew_at = min(self.renew_at, subscription.plan(now, chance))
            if expires_at > now:
                self.due_at = min(self.due_at, expires_at)
            else:
                # The client hears nothing more on this channel until it comes back.
                self._deaf_until = self.renew_at
                cause = "The grant for this channel has expired"
                effects += self.end(name, "auth_expired", cause)
        self.due_at = min(self.due_at, self.renew_at)
        return effects

    def terminate(self, at: float) -> list[Effect]:
        """Close the connection if its user had signed in before `at`, by the store's clock."""
        if self.signed_in_at is None or self.signed_in_at >= at:
            return []
        return [Close(UNAUTHORIZED, "The connections of this user were terminated")]

    def revoke(self, is_revoked: IsRevoked) -> list[Effect]:
        """End the subscriptions, and the sign-in, that `is_revoked` says yes to."""
        effects: list[Effect] = []
        for name, subscription in list(self.subscriptions.items()):
            user_id = subscription.user_id
            if user_id is None or name.startswith(USER_CHANNEL_PREFIX):
                continue  # a user's own channel stands and falls with the sign-in
            if is_revoked(user_id, name, subscription.issued_at):
                effects += self.end(name, "auth_revoked", REVOKED)
        user = self.user
        own = USER_CHANNEL_PREFIX + user.id if user is not None else ""
        if user is not None and is_revoked(user.id, own, self.signed_in_at):
            self._signed_out, self.user, self.signed_in_at = user.id, None, None
            effects += [
                *self.end(own, "auth_revoked", REVOKED),
                SignOut(),
                error_reply("Signed out: the sign-in was revoked", SIGN_IN_REFUSED),
            ]
        return effects

    def retry(self) -> list[Effect]:
        """Decide what is held, now that more is known; some of it may be held again."""
        held, self._held = self._held, {}
        effects: list[Effect] = []
        for item in held.values():
            effects += self._subscribe(item.message, item.since)
        return effects

    def end(self, channel: str, code: str, cause: str) -> list[Effect]:
        """End one subscription from the server's side and tell the client why."""
        if self.subscriptions.pop(channel, None) is None:
            return []
        return [
            *denied(channel, AUTH_ERROR, code, cause, 401),
            Leave(channel),
        ]

    @property
    def is_authorized(self) -> bool:
        """Whether anybody vouched for the connection, or is being asked whether they do."""
        return self._authorized or self.user is not None or bool(self._held)

    def is_current(self, channel: str, generation: int) -> bool:
        """Whether a join with this generation is still wanted."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.generation == generation

    # -- subscribing ------------------------------------------------------------------

    def _subscribe(
        self, message: messages.Subscribe, held_since: float | None = None
    ) -> list[Effect]:
        name = message.channel
        if name in self.subscriptions or name in self._held:
            return [error_reply(f"Existing subscription to channel {shown(name)}")]
        limit = self._app.limits.max_channels
        if len(self.subscriptions) >= limit:
            return denied(
                name,
                LIMIT_REACHED,
                "limit_reached",
                f"A connection has at most {limit} channels",
                4100,
            )
        try:
            channel = parse_channel(name)
            verified = self._authorize(channel, message, held_since)
            if channel.is_presence:
                verified = identified(verified, self.user)
            member = member_of(verified, self._app.limits) if channel.is_presence else None
        except AuthorizationPending as error:
            return self._hold(message, error)
        except InvalidChannel as error:
            return denied(name, INVALID, error.code, str(error), 4009)
        except (ProtocolError, AuthorizationError) as error:
            found = getattr(error, "__notes__", ())
            return denied(name, AUTH_ERROR, error.code, str(error), 401, found=found)
        self._generation += 1
        self._authorized |= channel.needs_auth
        if verified.expires_at is not None:
            self.due_at = 0.0  # to be planned
        self.subscriptions[channel.name] = Subscription(self._generation, verified)
        return [Join(channel, self._generation, member)]

    def _hold(self, message: messages.Subscribe, pending: AuthorizationPending) -> list[Effect]:
        if len(self._held) >= MAX_HELD:
            cause = f"At most {MAX_HELD} subscriptions wait for keys: {pending}"
            return denied(message.channel, LIMIT_REACHED, "limit_reached", cause, 4100)
        self._held[message.channel] = Held(message, pending.since)
        return [Hold(message.channel)]

    def _authorize(
        self, channel: ChannelName, message: messages.Subscribe, held_since: float | None
    ) -> Verified:
        if channel.needs_auth:
            return self._verify(message.auth, channel.name, message.channel_data, held_since)
        if channel.kind is ChannelKind.USER:
            return owner_of(channel, self.user)
        return _NOTHING_PROVED

    def _unsubscribe(self, name: str) -> list[Effect]:
        if self._held.pop(name, None) is not None:
            return []
        if self.subscriptions.pop(name, None) is None:
            return [error_reply(f"No current subscription to channel {shown(name)}")]
        if name.startswith(USER_CHANNEL_PREFIX):
            return []  # what is sent to a user reaches who is signed in, subscribed or not
        return [Leave(name)]

    def _sign_in(self, message: messages.SignIn) -> list[Effect]:
        try:
            user = verify_sign_in(self._app, self.socket_id, message)
        except ProtocolError as error:
            return sign_in_refused(error.code, str(error))
        if self.user is not None and self.user.id != user.id:
            return sign_in_refused("another_user", "this connection belongs to another user")
        if user.id == self._signed_out:  # the signature says no age: it may be the same
            return sign_in_refused("auth_revoked", SIGNED_OUT)
        if self.user is None:
            self.user = user
        return [SignIn(self.user, messages.encode_signin_success(message.user_data))]

    # -- client events ----------------------------------------------------------------

    def _client_event(self, event: messages.ClientEvent, now: float) -> list[Effect]:
        limits = self._app.limits
        subscription = self.subscriptions.get(event.channel)
        cause = refusal_of(event, subscription, limits)
        if cause is None and not self._take_token(now, limits.client_event_rate):
            cause = f"over {limits.client_event_rate} client events a second"
        if cause is not None or subscription is None:
            return [error_reply(f"Client event rejected: {cause}", CLIENT_EVENT_REFUSED)]
        return [relay_of(event, subscription)]

    def _take_token(self, now: float, rate: int) -> bool:
        if self._client_events is None:  # most connections never send one
            self._client_events = TokenBucket(rate)
        return self._client_events.take(now)


REVOKED = "The authorization for this channel was revoked"
SIGNED_OUT = "it was revoked on this connection: connect anew"
_NOTHING_PROVED = Verified()
