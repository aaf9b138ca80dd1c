r"""
Fake broadcasts: what would reach browsers is written down, and nothing is sent.

::

    def test_a_shipped_order_is_told_to_its_owner(broadcast_fake: BroadcastFake) -> None:
        ship(order)

        broadcast_fake.assert_broadcast(
            OrderShipped, on=f"private-orders.{order.user_id}", payload={"order_id": order.id}
        )

Events are asked, checked and encoded as ever: one that could not be sent raises in the test
too. Nothing is encrypted. A target is a class of events, or a name on the wire, with or
without the namespace (``OrderShipped``, ``App\Events\OrderShipped``, ``order.shipped``).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from broadcaster.events.interception import interception
from broadcaster.testing.application import recording
from broadcaster.testing.pushes import counted, unwanted
from broadcaster.testing.records import listed, shortened, title_of
from broadcaster.testing.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.publisher import Publication
    from broadcaster.events.channels import Channel
    from broadcaster.events.shaping import Draft

    Predicate = Callable[["RecordedBroadcast"], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBroadcast:
    """
    An event that was to be broadcast.

    Attributes:
        event: what was broadcast; None for one that was described (`on(...).send()`).
        name: on the wire.
        channels: full names.
        payload: its data, as a browser gets it.
        socket_id: the connection that would not get it, or None.
        now: it would have gone past the queue.
        queue: where it would have waited, or None: in the configured one.
        connections: drivers it would have gone through; None is the configured one.
    """

    event: object
    name: str
    channels: tuple[str, ...]
    payload: Any
    socket_id: str | None
    now: bool
    queue: str | None
    connections: tuple[str | None, ...]

    def __str__(self) -> str:
        others = f", not to {self.socket_id}" if self.socket_id else ""
        return f"{self.name} on {', '.join(self.channels)}{others}: {shortened(self.payload)}"


class BroadcastFake(Selection[object]):
    """See the head of this module. Assertions raise `AssertionError` and say what there was."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: list[RecordedBroadcast] = []
        self._stack = ExitStack()
        self._before: Callable[[Draft, Sequence[Publication]], bool] | None = None

    def __repr__(self) -> str:
        """Say how much it has taken."""
        return f"<BroadcastFake with {len(self._taken)} broadcast>"

    def __enter__(self) -> Self:
        self._stack.enter_context(recording(plain=True))
        self._before = interception.broadcast
        interception.broadcast = self._take
        return self

    def __exit__(self, *error: object) -> None:
        interception.broadcast = self._before
        self._stack.close()

    def clear(self) -> None:
        """Forget what was taken."""
        self._taken.clear()

    @property
    def records(self) -> list[RecordedBroadcast]:
        """Everything that was broadcast, in order."""
        return list(self._taken)

    def broadcasts(
        self,
        target: object = None,
        predicate: Predicate | None = None,
        *,
        on: Channel | str | None = None,
    ) -> list[RecordedBroadcast]:
        """Return the broadcasts of `target` on this channel for which `predicate` holds."""
        channel = None if on is None else _channel(on)
        return [
            one
            for one in self._taken
            if (target is None or _is_of(one, target))
            and (channel is None or channel in one.channels)
            and (predicate is None or predicate(one))
        ]

    def assert_broadcast(
        self,
        target: object,
        predicate: Predicate | None = None,
        *,
        on: Channel | str | None = None,
        payload: object = ...,
        times: int | None = None,
    ) -> None:
        """
        Fail unless such an event was broadcast.

        Args:
            predicate: takes the `RecordedBroadcast`.
            on: a channel that it must be on, with prefix, or as an object.
            payload: its data; of a dict only the given keys are compared.
            times: how often, exactly.
        """
        __tracebackhide__ = True
        found = self.broadcasts(target, predicate, on=on)
        if payload is not ...:
            found = [one for one in found if _fits(one.payload, payload)]
        if times is not None:
            counted("broadcast", title_of(target), times, found)
        elif not found:
            asked = [f" on {_channel(on)}"] if on is not None else []
            asked += [f" with {shortened(payload)}"] if payload is not ... else []
            asked += [" as the predicate wants"] if predicate is not None else []
            there = listed("broadcast were:", self._taken, "nothing was broadcast")
            raise AssertionError(f"{title_of(target)} was not broadcast{''.join(asked)}; {there}")

    def assert_broadcast_times(self, target: object, times: int) -> None:
        """Fail unless `target` was broadcast exactly `times` times."""
        __tracebackhide__ = True
        self.assert_broadcast(target, times=times)

    def assert_broadcast_to_others(self, target: object, socket_id: str | None = None) -> None:
        """Fail unless `target` left out a connection: `socket_id`, or whichever."""
        __tracebackhide__ = True
        found = self.broadcasts(target)
        if not any(one.socket_id and socket_id in (None, one.socket_id) for one in found):
            whom = f"all but {socket_id}" if socket_id else "others only"
            there = listed("broadcast were:", self._taken, "nothing was broadcast")
            raise AssertionError(f"{title_of(target)} was not broadcast to {whom}; {there}")

    def assert_not_broadcast(
        self,
        target: object,
        predicate: Predicate | None = None,
        *,
        on: Channel | str | None = None,
    ) -> None:
        """Fail if `target` was broadcast (on this channel)."""
        __tracebackhide__ = True
        found = self.broadcasts(target, predicate, on=on)
        unwanted(f"{title_of(target)} was broadcast, and should not have been", found)

    def assert_nothing_broadcast(self, *, on: Channel | str | None = None) -> None:
        """Fail if anything was broadcast (on this channel)."""
        __tracebackhide__ = True
        found = self.broadcasts(on=on)
        unwanted("events were broadcast, and none should have been", found)

    def _take(self, said: Draft, publications: Sequence[Publication]) -> bool:
        first = publications[0]
        recorded = RecordedBroadcast(
            event=said.event,
            name=first.name,
            channels=said.channels,
            payload=json.loads(first.data),
            socket_id=first.socket_id,
            now=said.now,
            queue=said.queue,
            connections=said.connections,
        )
        if not self._selects(partial(_is_of, recorded)):
            return self._before is not None and self._before(said, publications)
        self._taken.append(recorded)
        return True


def _is_of(recorded: RecordedBroadcast, target: object) -> bool:
    if isinstance(target, type):
        return isinstance(recorded.event, target)
    return target in (recorded.name, recorded.name.rpartition("\\")[2])


def _channel(channel: Channel | str) -> str:
    return str(channel)


def _fits(payload: Any, wanted: Any) -> bool:
    if isinstance(payload, dict) and isinstance(wanted, dict):
        missing = object()
        return all(payload.get(key, missing) == value for key, value in wanted.items())
    return bool(payload == wanted)
