"""What a session wants done: the values that `broadcaster.protocol.session.Session` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from broadcaster.protocol.channels import ChannelName
    from broadcaster.protocol.messages import ClientEvent, MemberData


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
    """A subscription was refused; for the log."""

    channel: str
    code: str
    cause: str


class Hold(NamedTuple):
    """A subscription cannot be decided yet: call `Session.retry` when more is known."""

    channel: str


Effect: TypeAlias = Reply | Join | Leave | Relay | Denied | Hold
