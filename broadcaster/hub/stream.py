"""
Continuity of one channel on this node, as a value: what may be delivered, and when to check.

========= ===================================================== =========================
state     meaning                                               leaves by
========= ===================================================== =========================
OPENING   SUBSCRIBE not acknowledged                            `acknowledged` -> CHECKING
CHECKING  comparing with Redis; live messages are held          `checked` -> LIVE
LIVE      messages flow; each names its predecessor             `received` a gap -> CHECKING
any       the pub/sub connection fell                           `interrupted` -> OPENING
========= ===================================================== =========================

A message is continuous when its predecessor is the last one seen. Anything else, a lower
offset included, sends the stream to CHECKING: only Redis can tell what was missed, and a
lost tail on a quiet channel shows itself in no other way. What history can fill is filled;
what it cannot is reported as a gap, never passed over in silence.

`position` is None until the first durable message or a check; the first one seen is taken
as it comes, because a subscriber who has just joined has missed nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.protocol.envelope import NO_ID, Envelope, Flag, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HELD = 2_000
_TRANSIENT = int(Flag.EPHEMERAL | Flag.PRESENCE | Flag.CONTROL)


class State(Enum):
    """See the module."""

    OPENING = "opening"
    CHECKING = "checking"
    LIVE = "live"


class Checked(NamedTuple):
    """
    The outcome of a check.

    Attributes:
        deliver: what to deliver now, in order.
        gap: why continuity cannot be proved (``history_trimmed``, ``data_lost``), or None.
    """

    deliver: list[Envelope]
    gap: str | None


class Stream:
    """See the module."""

    __slots__ = (
        "_baseline",
        "_doubted",
        "_floor",
        "_held",
        "_overflowed",
        "generation",
        "position",
        "state",
    )

    def __init__(self) -> None:
        self.state = State.OPENING
        self.generation = 0  # rises with each life of the subscription; stale answers show by it
        self.position: Position | None = None
        self._baseline: Position | None = None
        self._held: list[Envelope] = []
        self._overflowed = False
        self._floor = 0  # after a gap: offset up to which everything was delivered before it
        self._doubted = NO_ID  # a held message that the last check could not place

    @property
    def live(self) -> bool:
        """Whether messages flow."""
        return self.state is State.LIVE

    @property
    def known(self) -> Position | None:
        """Up to where everything was delivered or is no business of who is here."""
        return self.position or self._baseline

    def doubt(self) -> None:
        """Compare with Redis although nothing seems to be missing."""
        if self.state is State.LIVE:
            self.state = State.CHECKING

    def interrupted(self) -> None:
        """The pub/sub connection fell: nothing arrives until the next acknowledgement."""
        self.state = State.OPENING
        self.generation += 1
        self._held.clear()
        self._overflowed = False
        self._floor = 0

    def acknowledged(self) -> None:
        """SUBSCRIBE was acknowledged: hold what arrives until `checked`."""
        self.state = State.CHECKING
        self.generation += 1
        self._held.clear()
        self._overflowed = False

    def received(self, envelope: Envelope) -> bool:
        """
        Take a live message.

        Returns:
            True when it may be delivered now. False when it is held or dropped; if the
            stream is then CHECKING, the caller must check (again).
        """
        if self.state is not State.LIVE:
            self._hold(envelope)
            return False
        if envelope.flags & _TRANSIENT:
            return True
        position = self.position
        if position is None:
            if envelope.offset <= self._floor:
                return False
        elif envelope.previous_id != position.event_id:
            if envelope.event_id != position.event_id:
                self.state = State.CHECKING
                self._hold(envelope)
            return False
        self.position = Position(envelope.offset, envelope.event_id)
        return True

    def needs_history(self, last: Position) -> bool:
        """Whether a check that found `last` needs the history to fill what was missed."""
        known = self.known
        return known is not None and known.event_id != last.event_id

    def checked(self, last: Position, history: Sequence[Envelope]) -> Checked:
        """
        Compare with what Redis knows and go LIVE.

        The stream stays CHECKING when held messages show that more is missing. A message
        that was held before a check began and still has no place after it is none of this
        channel's history: it is dropped, or it would be asked about for ever.

        Args:
            last: the channel's last position, read after the acknowledgement.
            history: kept envelopes, oldest first, read after `last`; only needed (and only
                used) when `needs_history` said so.
        """
        known = self.known
        held, overflowed = self._held, self._overflowed
        self._held, self._overflowed = [], False
        self.state = State.LIVE
        if known is None:
            self._baseline = last
            return self._release(held, seen=set(), missed=[], gap=None, again=overflowed)
        if known.event_id == last.event_id:
            self.position = known
            return self._release(
                held, seen=_up_to(known, held), missed=[], gap=None, again=overflowed
            )
        missed = _missed(known, history)
        if missed is None:
            gap = _cause(known, last)
            self.position = None
            self._baseline = last
            # What came before may still be on its way, if a check was ahead of it.
            self._floor = known.offset if gap == "history_trimmed" else 0
            return self._release(held, seen=set(), missed=[], gap=gap, again=overflowed)
        self.position = known
        seen = {known.event_id, *(envelope.event_id for envelope in history)}
        return self._release(held, seen=seen, missed=missed, gap=None, again=overflowed)

    def _hold(self, envelope: Envelope) -> None:
        if len(self._held) < MAX_HELD:
            self._held.append(envelope)
        else:
            # Named policy: the newest are dropped, and the next check fetches them from history.
            self._overflowed = True

    def _release(
        self,
        held: list[Envelope],
        *,
        seen: set[bytes],
        missed: list[Envelope],
        gap: str | None,
        again: bool,
    ) -> Checked:
        deliver: list[Envelope] = []
        for envelope in missed:
            deliver.append(envelope)
            self.position = Position(envelope.offset, envelope.event_id)
        for index, envelope in enumerate(held):
            if not envelope.flags & _TRANSIENT and envelope.event_id in seen:
                continue
            if self.received(envelope):
                deliver.append(envelope)
            elif self.state is State.CHECKING:
                if envelope.event_id == self._doubted:
                    self.state = State.LIVE
                    self._held.clear()
                    continue
                self._doubted = envelope.event_id
                self._held += held[index + 1 :]
                break
        if again:
            self.state = State.CHECKING
        return Checked(deliver, gap)


def _missed(known: Position, history: Sequence[Envelope]) -> list[Envelope] | None:
    """Return what came after `known`, or None if the history cannot prove it."""
    for index in range(len(history) - 1, -1, -1):
        if history[index].event_id == known.event_id:
            return list(history[index + 1 :])
    if history and history[0].previous_id == known.event_id:  # trimmed up to it, or all there is
        return list(history)
    return None


def _up_to(known: Position, held: list[Envelope]) -> set[bytes]:
    """Return the ids of durable held messages up to and with `known`, which were seen before."""
    ids = [envelope.event_id for envelope in held if not envelope.flags & _TRANSIENT]
    return set(ids[: ids.index(known.event_id) + 1]) if known.event_id in ids else set()


def _cause(known: Position, last: Position) -> str:
    return (
        "data_lost" if last.offset < known.offset or last.event_id == NO_ID else "history_trimmed"
    )
