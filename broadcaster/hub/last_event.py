"""
The last event of a cache channel, for those who are about to enter it.

It is read from Redis and must fit the stream of this node without a seam: whoever is let in
sees the last event, then exactly what follows it. An answer and the stream travel over two
connections, so either may be ahead of the other:

=============================================  =========================================
what is known                                  what whoever waits is given
=============================================  =========================================
the stream delivered something meanwhile       that: it is the last event, answer or not
the answer is where the stream is, or earlier  the answer
the answer is that there is none               that there is none
the answer is ahead of the stream              nothing yet: what it found is on its way here
=============================================  =========================================

What is on its way arrives, or the pub/sub connection falls and the stream is checked. Should
neither happen, the owner asks for a check (`Hub.doubt`): it brings the stream to where Redis
is. What is ahead even then is no part of the channel's history, and taken as it is.

A check too may be ahead of the stream: where Redis was is then known, and what led there is
still on its way. `Given` keeps that from those who were given the last event already.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from broadcaster.hub.channel import Subscriber
    from broadcaster.protocol.envelope import Envelope, Position

Admit: TypeAlias = Callable[[bytes | None], None]
"""Lets a connection in, given the frame of the last event, or None if there is none."""


class Outcome(Enum):
    """What became of an answer."""

    UNWANTED = "unwanted"  # nobody waits for it any more, or a check asks again
    AHEAD = "ahead"  # of the stream
    GIVEN = "given"


class Given:
    """
    Who was given the event at `position` as the last one, until the stream is past it.

    Offsets are compared: they rise as long as the subscription stands (`generation`), and
    after that as long as no gap shows.
    """

    __slots__ = ("generation", "position", "subscribers")

    def __init__(self, position: Position, generation: int) -> None:
        self.position = position
        self.generation = generation
        self.subscribers: dict[Subscriber, None] = {}

    def knowing(self, envelope: Envelope) -> tuple[str, ...]:
        """Return the socket ids of those who must not see `envelope` any more."""
        position = self.position
        if envelope.offset < position.offset or envelope.event_id == position.event_id:
            return tuple(subscriber.socket_id for subscriber in self.subscribers)
        return ()

    def passed_by(self, envelope: Envelope) -> bool:
        """Whether the stream is past the position with `envelope`."""
        return envelope.offset >= self.position.offset


class LastEvent:
    """
    One reading of a channel's last event (see the module).

    Attributes:
        waiting: how to let in who waits for it, oldest first.
    """

    __slots__ = ("_answered", "_doubted", "_found", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Subscriber, Admit] = {}
        self._doubted: bytes | None = None
        self._found: Envelope | None = None
        self._answered = False

    def again(self) -> LastEvent:
        """Return a new reading for those who wait for this one, after a check."""
        new = LastEvent()
        new.waiting, new._doubted = self.waiting, self._doubted
        return new

    def answered(self, found: Envelope | None) -> None:
        """Take what Redis had, None for nothing."""
        self._found, self._answered = found, True

    def doubt(self) -> None:
        """The stream is checked because it does not get to where the answer is."""
        self._doubted = None if self._found is None else self._found.event_id

    def fits(self, known: Position | None) -> bool:
        """Whether the answer is there, and not ahead of the stream, which knows `known`."""
        found = self._found
        if found is None:
            return self._answered
        if known is None or found.event_id == known.event_id:
            return True
        return found.offset < known.offset or found.event_id == self._doubted
