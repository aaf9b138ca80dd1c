"""What a session wants done: the values that `broadcaster.protocol.session.Session` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from broadcaster.protocol.channels import ChannelName
    from broadcaster.protocol.close_codes import CloseCode
    from broadcaster.protocol.messages import ClientEvent, MemberData
    from broadcaster.protocol.sign_in import User


class Reply(NamedTuple):
    """Write `frame` to this connection."""

    frame: bytes


class Join(NamedTuple):
    """Register the connection with `channel` and report the outcome under `generation`."""

    channel: ChannelName
    generation: int
    member: MemberData | None


class Leave(NamedTuple):
    """Take the connection out of a channel."""

    channel: str


class Relay(NamedTuple):
    """
    Send a client event to the channel's other subscribers.

    Attributes:
        channel: where.
        frame: as it is relayed.
        event: as it was sent.
        user_id: canonical text of the member who sent it, on presence channels.
    """

    channel: str
    frame: bytes
    event: ClientEvent
    user_id: str | None


class Denied(NamedTuple):
    """A subscription was refused, or a sign-in, which has no `channel`; for the log."""

    channel: str
    code: str
    cause: str


class Hold(NamedTuple):
    """A subscription cannot be decided yet: call `Session.retry` when more is known."""

    channel: str


class SignIn(NamedTuple):
    """Make the connection `user`'s; write `frame` when what is sent to them arrives here."""

    user: User
    frame: bytes


class SignOut(NamedTuple):
    """The connection is nobody's any more."""


class Close(NamedTuple):
    """Tell the client why, and close."""

    reason: CloseCode
    message: str


Effect: TypeAlias = Reply | Join | Leave | Relay | Denied | Hold | SignIn | SignOut | Close
