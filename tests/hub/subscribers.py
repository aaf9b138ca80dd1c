"""Subscribers and an owner that keep what they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.protocol.envelope import NO_ID, Envelope, Flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.hub.channel import LocalChannel


class Peer:
    """A connection: what was written to it, write by write."""

    def __init__(self, socket_id: str, *, paused: bool = False) -> None:
        self.socket_id = socket_id
        self.paused = paused
        self.writes: list[bytes] = []
        self.slow: list[bytes] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.writes.append

    def deliver(self, data: bytes) -> None:
        self.slow.append(data)


class Owner:
    """Keeps what the hub asked for; nothing is done before the test does it."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.asked: list[tuple[str, str]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def channel_opened(self, channel: LocalChannel) -> None:
        self.asked.append(("opened", channel.name))

    def channel_closed(self, channel: LocalChannel) -> None:
        self.asked.append(("closed", channel.name))

    def check_wanted(self, channel: LocalChannel) -> None:
        self.asked.append(("check", channel.name))

    def last_wanted(self, channel: LocalChannel) -> None:
        self.asked.append(("last", channel.name))

    def roster_wanted(self, channel: LocalChannel) -> None:
        self.asked.append(("roster", channel.name))

    def count_changed(self, channel: LocalChannel) -> None:
        self.asked.append(("count", f"{channel.name}={len(channel)}"))

    def end_tick(self) -> int:
        """Run what was to run at the end of the tick; return how much that was."""
        callbacks, self.soon = self.soon, []
        for callback in callbacks:
            callback()
        return len(callbacks)


def event_id(number: int) -> bytes:
    return number.to_bytes(16, "big") if number else NO_ID


def event(number: int, *, excluded: str = "", previous: int | None = None) -> Envelope:
    """The event with this number, which follows the one before it."""
    before = number - 1 if previous is None else previous
    return Envelope(
        0, number, 0, event_id(number), event_id(before), excluded, b"event %d;" % number
    )


def delta(version: int, *, excluded: str = "") -> Envelope:
    """The presence delta that makes this version."""
    return Envelope(
        Flag.PRESENCE,
        version,
        0,
        event_id(1_000 + version),
        NO_ID,
        excluded,
        b"delta %d;" % version,
    )
