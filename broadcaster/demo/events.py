"""
What the demo broadcasts, and the one job it queues; a worker imports this module.

Users are their names here: see `broadcaster.demo.people`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from broadcaster import (
    Job,
    PresenceChannel,
    PrivateChannel,
    ShouldBroadcast,
    ShouldBroadcastNow,
    UserChannel,
    abroadcast,
)


@dataclass(frozen=True, slots=True)
class Order:
    """An order, and the customer it belongs to."""

    id: int
    customer: str
    status: str


@dataclass(frozen=True)
class OrderShipped(ShouldBroadcast):
    """Tell the customer that their order is on its way; goes through the queue."""

    order: Order

    def broadcast_on(self) -> PrivateChannel:
        """Only the customer may listen here."""
        return PrivateChannel(f"orders.{self.order.customer}")

    def broadcast_with(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {"order_id": self.order.id, "status": self.order.status}


@dataclass(frozen=True)
class OrderPacked(ShouldBroadcastNow):
    """Tell the customer that a worker has packed their order; published by that worker."""

    order_id: int
    customer: str
    pid: int

    def broadcast_on(self) -> PrivateChannel:
        """Only the customer may listen here."""
        return PrivateChannel(f"orders.{self.customer}")

    def broadcast_with(self) -> dict[str, Any]:
        """Return what the page shows: which process did the work."""
        return {"order_id": self.order_id, "pid": self.pid}


@dataclass(frozen=True)
class ChatMessage(ShouldBroadcast):
    """Something said in a room, for everyone there but the socket that said it."""

    room: str
    id: str
    text: str
    user: dict[str, str]

    def broadcast_on(self) -> PresenceChannel:
        """The room is a presence channel, so that its members see each other."""
        return PresenceChannel(f"chat.{self.room}")

    def broadcast_with(self) -> dict[str, Any]:
        """Return the message as the page shows it."""
        return {"id": self.id, "text": self.text, "user": self.user}


@dataclass(frozen=True)
class Waved(ShouldBroadcast):
    """Somebody waves at a user, wherever that user is signed in."""

    to: str
    by: dict[str, str]

    def broadcast_on(self) -> UserChannel:
        """Every connection of that user, and no channel that anybody joins."""
        return UserChannel(self.to)

    def broadcast_with(self) -> dict[str, Any]:
        """Return who waved."""
        return {"by": self.by}


class PackOrder(Job):
    """Work that should not hold up the request."""

    order_id: int
    customer: str

    async def handle(self) -> None:
        """Pack, and say who did it."""
        await abroadcast(OrderPacked(self.order_id, self.customer, os.getpid()))
