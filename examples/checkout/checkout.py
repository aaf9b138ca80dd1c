"""
Checkout: an order is placed in a transaction, and a chain of jobs does the rest.

The chain is queued when the transaction is committed; if that rolls back, it never was. Each
job is given the row, read anew, in a transaction of its own. See README.md for how to run it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from broadcaster import (
    Job,
    JobFailed,
    PrivateChannel,
    Ref,
    ShouldBroadcast,
    broadcast,
    chain,
    current_job,
    provide,
)
from broadcaster.integrations.sqlalchemy import setup, transaction

log = logging.getLogger("checkout")
log.setLevel(logging.INFO)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    amount: Mapped[int]  # cents
    ships: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(default="pending")
    history: Mapped[str] = mapped_column(default="")

    def step(self, status: str) -> None:
        self.status = status
        self.history = f"{self.history} {status}".strip()


sessions = sessionmaker()
setup(models=Base, sessions=sessions)


def connect(url: str) -> None:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    sessions.configure(bind=engine)


connect(os.environ.get("DATABASE_URL", "sqlite:///checkout.sqlite3"))


LIMIT = 100_000


class Payments:
    """Stands for a client of a payment provider."""

    def charge(self, order_id: int, amount: int) -> None:
        if amount > LIMIT:
            raise JobFailed(f"the card of order {order_id} has no {amount / 100:.2f}")


provide(Payments, Payments)


@dataclass
class OrderChanged(ShouldBroadcast):
    order_id: int
    user_id: int
    status: str

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"orders.{self.user_id}")

    def broadcast_after_commit(self) -> bool:
        return True


def tell(order: Order) -> None:
    broadcast(OrderChanged(order.id, order.user_id, order.status))


class ProcessPayment(Job, tries=3, backoff=[1, 5], middleware=[transaction()]):
    order: Ref[Order]

    def handle(self, payments: Payments) -> None:
        order = self.order.value
        payments.charge(order.id, order.amount)
        order.step("paid")
        tell(order)


class UpdateInventory(Job, tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        self.order.value.step("reserved")


class CreateShippingLabel(Job, tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        self.order.value.step("labelled")


class SendConfirmation(Job, queue="mail", tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        order = self.order.value
        order.step("confirmed")
        log.info("mail to user %d: order %d is confirmed", order.user_id, order.id)
        tell(order)


class CancelOrder(Job, tries=3, middleware=[transaction()]):
    """What the chain does when one of its links has failed for good."""

    order: Ref[Order]

    def handle(self) -> None:
        running = current_job()
        assert running is not None
        assert running.cause is not None
        log.warning("%s failed: %s", running.cause.job, running.cause.error)
        self.order.value.step("cancelled")
        tell(self.order.value)


def place_order(user_id: int, amount: int, *, ships: bool) -> int:
    """Store an order and queue what follows; what the web framework's view calls."""
    with sessions() as session, session.begin():
        order = Order(user_id=user_id, amount=amount, ships=ships)
        session.add(order)
        session.flush()  # now it has an id

        links: list[Job] = [ProcessPayment(order=Ref(order)), UpdateInventory(order=Ref(order))]
        if order.ships:
            links.append(CreateShippingLabel(order=Ref(order)))
        links.append(SendConfirmation(order=Ref(order)))
        chain(links).catch(CancelOrder(order=Ref(order))).dispatch(after_commit=True)
        return order.id
