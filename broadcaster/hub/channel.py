"""One channel on this node: who gets its frames, and what is waiting to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from broadcaster.hub.fanout import fan_out
from broadcaster.hub.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.hub.last_event import Given, LastEvent

MAX_BUFFERED = 2_000


class Subscriber(Protocol):
    """
    What the hub needs of a connection.

    `write` must not block and must accept frames while the peer is not reading; a
    subscriber whose peer does not read sets `paused` and is then given `deliver` instead,
    which applies the slow-consumer policy.
    """

    socket_id: str
    paused: bool

    @property
    def write(self) -> Callable[[bytes], None]:
        """Write frames; looked up once per channel, then called for each event."""
        ...

    def deliver(self, data: bytes) -> None:
        """Write to a paused connection, within its bound."""
        ...


class Buffered(NamedTuple):
    """A frame kept for a subscriber who is still joining."""

    frame: bytes
    version: int  # presence version, or 0
    excluded: tuple[str, ...]


class Joining:
    """
    A connection between the start of its presence join and the snapshot's arrival.

    Args:
        first: what it is to see before anything else, as a WebSocket frame.
    """

    __slots__ = ("frames", "overflowed")

    def __init__(self, first: bytes | None = None) -> None:
        self.frames: list[Buffered] = [] if first is None else [Buffered(first, 0, ())]
        self.overflowed = False

    def keep(self, buffered: Buffered) -> None:
        """Keep a frame; over the bound the join is marked and its connection will be closed."""
        if len(self.frames) < MAX_BUFFERED:
            self.frames.append(buffered)
        else:
            self.overflowed = True

    def after(self, version: int, socket_id: str) -> list[bytes]:
        """Return what `socket_id` must still see after a snapshot of presence `version`."""
        return [
            kept.frame
            for kept in self.frames
            if socket_id not in kept.excluded and (kept.version == 0 or kept.version > version)
        ]


class Count(NamedTuple):
    """What subscribers were told last about how many they are: one WebSocket frame."""

    version: int
    frame: bytes


class LocalChannel:
    """
    One channel's subscribers on this node.

    Frames published within one tick are joined into one write per connection. The list of
    bound writes is rebuilt only after subscribers changed; paused ones are not in it.

    Attributes:
        topic: its pub/sub name.
        app_id: its app.
        name: its channel name.
        stream: its continuity.
        roster: presence version that subscribers here have seen, None before a snapshot.
        ahead: subscribers whose snapshot was newer than `roster`, with its version.
        counted: how many subscribers there are on all nodes, None if nobody says so.
        joining: connections whose presence join is under way.
        waiting: joins that wait for the stream to go live, oldest first.
        last: the reading of a cache channel's last event, while somebody waits for it.
        given: who was given it, until the stream is past it.
    """

    __slots__ = (
        "_excluded",
        "_pending",
        "_writes",
        "ahead",
        "app_id",
        "counted",
        "given",
        "joining",
        "last",
        "name",
        "roster",
        "stream",
        "subscribers",
        "topic",
        "waiting",
    )

    def __init__(self, topic: bytes, app_id: str, name: str) -> None:
        self.topic = topic
        self.app_id = app_id
        self.name = name
        self.stream = Stream()
        self.roster: int | None = None
        self.ahead: dict[Subscriber, int] = {}
        self.counted: Count | None = None
        self.subscribers: dict[Subscriber, None] = {}
        self.joining: dict[Subscriber, Joining] = {}
        self.waiting: dict[Subscriber, Callable[[], None]] = {}
        self.last: LastEvent | None = None
        self.given: Given | None = None
        self._writes: list[Callable[[bytes], None]] | None = None
        self._pending: list[bytes] = []
        self._excluded: list[tuple[int, str]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nobody here needs the channel any more."""
        return not (self.subscribers or self.joining or self.waiting or self.last)

    def __len__(self) -> int:
        return len(self.subscribers)

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber; what is pending for this tick must have been flushed."""
        self.subscribers[subscriber] = None
        self._writes = None

    def add_member(self, subscriber: Subscriber, version: int) -> None:
        """Add a subscriber who has just been given the member list of `version`."""
        self.add(subscriber)
        if self.roster is None or len(self.subscribers) == 1:
            self.roster = version
        elif version > self.roster:
            self.ahead[subscriber] = version

    def knowing(self, version: int) -> tuple[str, ...]:
        """Return who already knows the presence delta of `version` from their snapshot."""
        if not self.ahead:
            return ()
        ids = tuple(s.socket_id for s, seen in self.ahead.items() if seen >= version)
        self.ahead = {s: seen for s, seen in self.ahead.items() if seen > version}
        return ids

    def discard(self, subscriber: Subscriber) -> bool:
        """Remove a connection from everything here; return whether it was subscribed."""
        self.waiting.pop(subscriber, None)
        self.ahead.pop(subscriber, None)
        self.joining.pop(subscriber, None)
        if self.last is not None:
            self.last.waiting.pop(subscriber, None)
            if not self.last.waiting:
                self.last = None
        if self.given is not None:
            self.given.subscribers.pop(subscriber, None)
        if subscriber not in self.subscribers:
            return False
        del self.subscribers[subscriber]
        self._writes = None
        return True

    def pace_changed(self) -> None:
        """A subscriber was paused or resumed."""
        self._writes = None

    def append(self, frame: bytes, *, excluded: tuple[str, ...] = (), version: int = 0) -> bool:
        """
        Queue a WebSocket frame for this tick.

        Returns:
            True when it is the first of the tick, so that the caller schedules a flush.
        """
        for joining in self.joining.values():
            joining.keep(Buffered(frame, version, excluded))
        if not self.subscribers:
            return False
        for socket_id in excluded:
            self._excluded.append((len(self._pending), socket_id))
        self._pending.append(frame)
        return len(self._pending) == 1

    def flush(self) -> None:
        """Write what is pending to everybody, once."""
        pending = self._pending
        if not pending:
            return
        excluded, self._pending, self._excluded = self._excluded, [], []
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        if excluded:
            self._flush_but(excluded, pending, data)
            return
        writes = self._writes
        if writes is None:
            writes = self._writes = [s.write for s in self.subscribers if not s.paused]
        # Before anything is written: a write may pause the one it goes to.
        paused = (
            [s for s in self.subscribers if s.paused] if len(writes) < len(self.subscribers) else ()
        )
        fan_out(writes, data)
        for subscriber in paused:
            subscriber.deliver(data)

    def _flush_but(
        self, excluded: list[tuple[int, str]], pending: list[bytes], data: bytes
    ) -> None:
        """Flush when some frames skip a connection; the cached list stays valid."""
        left_out: dict[str, set[int]] = {}
        for index, socket_id in excluded:
            left_out.setdefault(socket_id, set()).add(index)
        skipping = [s for s in self.subscribers if s.socket_id in left_out]
        others = [s for s in self.subscribers if s.socket_id not in left_out]
        paused = [s for s in others if s.paused]
        fan_out([s.write for s in others if not s.paused], data)
        for subscriber in paused:
            subscriber.deliver(data)
        for subscriber in skipping:
            skipped = left_out[subscriber.socket_id]
            own = b"".join([frame for i, frame in enumerate(pending) if i not in skipped])
            if own:
                (subscriber.deliver if subscriber.paused else subscriber.write)(own)
