"""
This process's connections and subscriptions.

Synchronous, so that no check can be separated from the write it guards. The hub knows
nothing of Redis: what happens on the wire comes in as `received`, `acknowledged`,
`interrupted` and `checked`; what must be asked of the store goes out through `HubOwner`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from broadcaster.hub.channel import Count, LocalChannel
from broadcaster.hub.last_event import Given, LastEvent, Outcome
from broadcaster.hub.stream import State
from broadcaster.protocol.envelope import Envelope, Flag, Position
from broadcaster.protocol.messages import encode_resync
from broadcaster.protocol.websocket import encode_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broadcaster.hub.channel import Subscriber
    from broadcaster.hub.last_event import Admit
    from broadcaster.hub.stream import Checked

    Entry = TypeVar("Entry")


# Plain integers: `enum` makes a new member for each `&`, three times for each message.
_CONTROL, _PRESENCE, _EPHEMERAL = int(Flag.CONTROL), int(Flag.PRESENCE), int(Flag.EPHEMERAL)
_COUNT = int(Flag.COUNT)


class HubOwner(Protocol):
    """What the hub asks of the process around it. Calls return at once and never raise."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` at the end of this tick."""
        ...

    def channel_opened(self, channel: LocalChannel) -> None:
        """The first connection here wants `channel`: subscribe to its topic."""
        ...

    def channel_closed(self, channel: LocalChannel) -> None:
        """The last one left: unsubscribe."""
        ...

    def check_wanted(self, channel: LocalChannel) -> None:
        """`channel` is CHECKING: read its position and call `Hub.checked`."""
        ...

    def last_wanted(self, channel: LocalChannel) -> None:
        """Read the last event of cache channel `channel` and call `Hub.last_read`."""
        ...

    def roster_wanted(self, channel: LocalChannel) -> None:
        """Presence deltas of `channel` were missed: read its member list again."""
        ...

    def count_changed(self, channel: LocalChannel) -> None:
        """The number of subscribers of `channel` here has changed."""
        ...


class Hub:
    """See the module."""

    def __init__(self, owner: HubOwner) -> None:
        self._owner = owner
        self._dirty: list[LocalChannel] = []
        self.channels: dict[bytes, LocalChannel] = {}

    # -- joining and leaving ----------------------------------------------------------

    def open(self, topic: bytes, app_id: str, name: str) -> LocalChannel:
        """Return the channel of `topic`, opening it if nobody here had it."""
        channel = self.channels.get(topic)
        if channel is None:
            channel = self.channels[topic] = LocalChannel(topic, app_id, name)
            self._owner.channel_opened(channel)
        return channel

    def add(self, channel: LocalChannel, subscriber: Subscriber) -> None:
        """Make `subscriber` receive what comes from now on, and nothing from before."""
        self.flush()
        channel.add(subscriber)
        self._owner.count_changed(channel)

    def add_member(self, channel: LocalChannel, subscriber: Subscriber, version: int) -> None:
        """Like `add`, for a subscriber who was just given the member list of `version`."""
        self.flush()
        channel.add_member(subscriber, version)
        self._owner.count_changed(channel)

    def remove(self, topic: bytes, subscriber: Subscriber) -> None:
        """Take a connection out of a channel, in whatever state it is there."""
        channel = self.channels.get(topic)
        if channel is None:
            return
        if channel.discard(subscriber):
            self._owner.count_changed(channel)
        self.close_if_empty(channel)

    def close_if_empty(self, channel: LocalChannel) -> None:
        """Forget a channel that nobody here needs."""
        if channel.is_empty and self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
            self._owner.channel_closed(channel)

    # -- the last event of cache channels ---------------------------------------------

    def read_last(self, channel: LocalChannel, subscriber: Subscriber, admit: Admit) -> None:
        """
        Call `admit` when the last event of `channel`, whose stream is live, is known.

        Whoever asks while it is being read shares the reading.
        """
        if channel.last is None:
            channel.last = LastEvent()
            self._owner.last_wanted(channel)
        channel.last.waiting[subscriber] = admit

    def last_read(self, channel: LocalChannel, last: LastEvent, found: Envelope | None) -> Outcome:
        """
        Take the answer to `HubOwner.last_wanted`.

        Args:
            last: what was `channel.last` when it was asked for.
            found: the cached event, or None.

        Returns:
            With AHEAD the owner calls `doubt` after a while.
        """
        if channel.last is not last or not channel.stream.live:
            return Outcome.UNWANTED
        last.answered(found)
        if not last.fits(channel.stream.known):
            return Outcome.AHEAD
        let_in = list(last.waiting)
        self._let_in(channel, last, None if found is None else found.frame)
        if found is not None:
            self._note_given(channel, let_in, found)
        return Outcome.GIVEN

    def doubt(self, channel: LocalChannel, last: LastEvent) -> None:
        """Check the stream of `channel`, behind which `last` has been for too long."""
        if channel.last is last and channel.stream.live:
            last.doubt()
            channel.stream.doubt()
            self._owner.check_wanted(channel)

    def _let_in(self, channel: LocalChannel, last: LastEvent, frame: bytes | None) -> None:
        for admit in _taken(last.waiting):
            admit(frame)
        if channel.last is last:
            channel.last = None
        self.close_if_empty(channel)

    def _note_given(
        self, channel: LocalChannel, let_in: Sequence[Subscriber], found: Envelope
    ) -> None:
        given = channel.given
        if given is None or given.position.event_id != found.event_id:
            new = Given(Position(found.offset, found.event_id), channel.stream.generation)
            if given is not None and given.generation == new.generation:
                new.subscribers.update(given.subscribers)
            channel.given = given = new
        for subscriber in let_in:
            if subscriber in channel.subscribers or subscriber in channel.joining:
                given.subscribers[subscriber] = None

    def _but_who_was_given(self, channel: LocalChannel, envelope: Envelope) -> tuple[str, ...]:
        """Return who knows `envelope`, or a later one, as the last event."""
        given = channel.given
        if given is None or envelope.flags & _EPHEMERAL:
            return ()
        if given.passed_by(envelope):
            channel.given = None
        return given.knowing(envelope)

    def _read_again(self, channel: LocalChannel) -> None:
        """Ask for the last event anew: the stream was checked, an older answer may lie."""
        if channel.last is not None and channel.stream.live:
            channel.last = channel.last.again()
            self._owner.last_wanted(channel)

    # -- what comes from the other nodes ----------------------------------------------

    def received(self, topic: bytes, envelope: Envelope) -> None:
        """Take one envelope from Redis."""
        channel = self.channels.get(topic)
        if channel is None or envelope.flags & _CONTROL:  # that is not for sockets
            return
        stream = channel.stream
        if stream.received(envelope):
            self._deliver(channel, envelope)
        elif stream.state is State.CHECKING:
            self._owner.check_wanted(channel)

    def acknowledged(self, topic: bytes) -> None:
        """Redis acknowledged the subscription to `topic`."""
        channel = self.channels.get(topic)
        if channel is not None:
            channel.stream.acknowledged()
            self._owner.check_wanted(channel)

    def interrupted(self) -> None:
        """The pub/sub connection fell."""
        for channel in self.channels.values():
            channel.stream.interrupted()
            channel.counted = None

    def checked(
        self, channel: LocalChannel, last: Position, history: Sequence[Envelope]
    ) -> Checked:
        """Take the answer to `HubOwner.check_wanted`; see `Stream.checked`."""
        outcome = channel.stream.checked(last, history)
        self._admit(channel)
        if outcome.gap is not None:
            if channel.given is not None and channel.given.generation != channel.stream.generation:
                channel.given = None  # offsets may have begun anew
            self._append(channel, encode_text(encode_resync(channel.name, outcome.gap)))
        for envelope in outcome.deliver:
            self._deliver(channel, envelope)
        self._read_again(channel)
        if channel.stream.state is State.CHECKING:
            self._owner.check_wanted(channel)
        return outcome

    def _admit(self, channel: LocalChannel) -> None:
        """Let in who waited for the stream, before anything newer is delivered."""
        for proceed in _taken(channel.waiting):
            proceed()

    def _deliver(self, channel: LocalChannel, envelope: Envelope) -> None:
        excluded: tuple[str, ...] = (envelope.excluded,) if envelope.excluded else ()
        if envelope.flags & _PRESENCE:
            self._deliver_presence(channel, envelope, excluded)
        elif envelope.flags & _COUNT:
            self.count(channel, envelope.offset, envelope.frame)
        else:
            if channel.given is not None:
                excluded += self._but_who_was_given(channel, envelope)
            self._append(channel, encode_text(envelope.frame), excluded=excluded)
            if channel.last is not None and not envelope.flags & _EPHEMERAL:
                self._let_in(channel, channel.last, envelope.frame)

    def _deliver_presence(
        self, channel: LocalChannel, envelope: Envelope, excluded: tuple[str, ...]
    ) -> None:
        """Deltas reach subscribers in version order; a missing one means reading the list."""
        version = envelope.offset
        if channel.roster is not None:
            if version <= channel.roster:
                return
            if version > channel.roster + 1:
                self._owner.roster_wanted(channel)
                return
            channel.roster = version
        excluded += channel.knowing(version)
        self._append(channel, encode_text(envelope.frame), excluded=excluded, version=version)

    def _append(
        self,
        channel: LocalChannel,
        frame: bytes,
        *,
        excluded: tuple[str, ...] = (),
        version: int = 0,
    ) -> None:
        if channel.append(frame, excluded=excluded, version=version):
            self._dirty.append(channel)
            if len(self._dirty) == 1:
                self._owner.call_soon(self.flush)

    # -- writing ----------------------------------------------------------------------

    def broadcast(self, channel: LocalChannel, frame: bytes) -> None:
        """Send one frame from this node to a channel's subscribers here."""
        self._append(channel, encode_text(frame))

    def count(self, channel: LocalChannel, version: int, frame: bytes) -> None:
        """Tell subscribers here how many there are on all nodes, unless they know better."""
        if channel.counted is None or channel.counted.version < version:
            channel.counted = Count(version, encode_text(frame))
            self._append(channel, channel.counted.frame)

    def flush(self) -> None:
        """Write everything pending: at the end of a tick, and before any direct write."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        for channel in dirty:
            channel.flush()


def _taken(waiting: dict[Subscriber, Entry]) -> Iterator[Entry]:
    """
    Take out one after the other: who is left keeps the channel open, and may leave meanwhile.

    Not by asking the dict for its first entry each time: it looks for it past all that are gone.
    """
    while waiting:
        for subscriber in list(waiting):
            entry = waiting.pop(subscriber, None)
            if entry is not None:
                yield entry
