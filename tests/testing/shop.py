"""An application to test: what a user of the testing kit would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broadcaster import (
    EncryptedPrivateChannel,
    Job,
    PrivateChannel,
    ShouldBroadcast,
    ShouldBroadcastNow,
    job,
    listen,
)
from broadcaster.jobs.lifecycle import QueuePaused

ran: list[Any] = []


class Charge(Job, name="testing.Charge", queue="payments"):
    order_id: int

    def handle(self) -> None:
        ran.append(self)


class Pack(Job, name="testing.Pack"):
    order_id: int

    async def handle(self) -> None:
        ran.append(self)


class Ship(Job, name="testing.Ship"):
    order_id: int
    express: bool = False

    def handle(self) -> None:
        ran.append(self)


class Letter(Job, name="testing.Letter"):
    subject: str

    def handle(self) -> None:
        ran.append(self)


class Refresh(Job, name="testing.Refresh", unique=True):
    page: str

    def handle(self) -> None:
        ran.append(self)


@job(name="testing.weigh", timeout=30)
def weigh(grams: int) -> None:
    """A sync job with a timeout: a worker gives it a process of its own."""
    if grams < 0:
        raise ValueError(f"{grams} g")
    scales(grams)


def scales(grams: int) -> None:
    """Something that tests patch."""


@job(name="testing.report")
def report(month: str) -> None:
    ran.append(month)


@dataclass
class OrderPlaced:
    order_id: int


@dataclass
class OrderShipped(ShouldBroadcast):
    order_id: int
    carrier: str = "post"

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"orders.{self.order_id}")


@dataclass
class OrderTold(ShouldBroadcastNow):
    order_id: int

    def broadcast_on(self) -> EncryptedPrivateChannel:
        return EncryptedPrivateChannel("orders")

    def broadcast_as(self) -> str:
        return "order.told"


@listen(OrderPlaced)
def reserve(event: OrderPlaced) -> None:
    ran.append(("reserve", event))


@listen(OrderPlaced, queue="mail", name="testing.receipt")
class Receipt:
    def handle(self, event: OrderPlaced) -> None:
        ran.append(("receipt", event))


@listen(QueuePaused)
def paused(event: QueuePaused) -> None:
    ran.append(event)
