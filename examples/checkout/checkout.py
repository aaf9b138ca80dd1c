"""
Checkout: an order is placed in a transaction, and a chain of jobs does the rest.

The chain is queued, and who listens is told, when the transaction is committed; if that rolls
back, it never was. Each job is given the row, read anew, in a transaction of its own: what it
dispatches waits for the commit too. See README.md for how to run it.
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
    emit,
    listen,
    provide,
)
from broadcaster.integrations.sqlalchemy import current_session, setup, transaction

log = logging.getLogger("checkout")
log.setLevel(logging.INFO)


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"

    sku: Mapped[str] = mapped_column(primary_key=True)
    stock: Mapped[int]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    sku: Mapped[str]
    quantity: Mapped[int] = mapped_column(default=1)
    amount: Mapped[int]  # cents
    phone: Mapped[str] = mapped_column(default="")
    ships: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(default="pending")
    history: Mapped[str] = mapped_column(default="")

    def step(self, status: str) -> None:
        self.status = status
        self.history = f"{self.history} {status}".strip()

    @property
    def has_stock(self) -> bool:
        """Whether it holds some back."""
        return "reserved" in self.history.split()


sessions = sessionmaker()
setup(models=Base, sessions=sessions)


def connect(url: str) -> None:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    sessions.configure(bind=engine)


connect(os.environ.get("DATABASE_URL", "sqlite:///checkout.sqlite3"))


LIMIT = 100_000  # cents: what the cards of these users have
SENT: list[str] = []  # mails and texts; your providers in earnest
SALES: dict[str, int] = {}  # analytics: cents by product


class Payments:
    """Stands for a client of a payment provider."""

    def charge(self, order_id: int, amount: int) -> None:
        if amount > LIMIT:
            raise JobFailed(f"the card of order {order_id} has no {amount / 100:.2f}")


provide(Payments, Payments)


class InsufficientStock(JobFailed):
    """No try helps: the job fails at once, and what it says may be shown."""

    def __init__(self, sku: str, left: int) -> None:
        super().__init__(f"only {left} of {sku} are left")


@dataclass
class OrderPlaced(ShouldBroadcast):
    order_id: int
    user_id: int
    sku: str
    amount: int

    def broadcast_on(self) -> list[PrivateChannel]:
        return [PrivateChannel("orders"), PrivateChannel(f"user.{self.user_id}")]


@listen(OrderPlaced, queue="analytics", tries=3)
def count_sale(event: OrderPlaced) -> None:
    SALES[event.sku] = SALES.get(event.sku, 0) + event.amount


@dataclass
class OrderChanged(ShouldBroadcast):
    order_id: int
    user_id: int
    status: str

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"user.{self.user_id}")

    def broadcast_after_commit(self) -> bool:
        return True


def tell(order: Order) -> None:
    broadcast(OrderChanged(order.id, order.user_id, order.status))


class ReserveStock(Job, tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        order = self.order.value
        product = current_session().get_one(Product, order.sku, with_for_update=True)
        if product.stock < order.quantity:
            raise InsufficientStock(product.sku, product.stock)
        product.stock -= order.quantity
        order.step("reserved")


class ProcessPayment(Job, tries=3, backoff=[1, 5], middleware=[transaction()]):
    order: Ref[Order]

    def handle(self, payments: Payments) -> None:
        order = self.order.value
        payments.charge(order.id, order.amount)
        order.step("paid")
        tell(order)


class CreateShippingLabel(Job, tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        self.order.value.step("labelled")


class SendConfirmation(Job, queue="mail", tries=3, middleware=[transaction()]):
    order: Ref[Order]

    def handle(self) -> None:
        order = self.order.value
        order.step("confirmed")
        SENT.append(f"mail to user {order.user_id}: order {order.id} is confirmed")
        if order.phone:
            text = f"Your order #{order.id} is confirmed!"
            SendText(phone=order.phone, text=text).dispatch(after_commit=True)
        tell(order)


class SendText(Job, queue="sms", tries=3, backoff=[10, 60]):
    phone: str
    text: str

    def handle(self) -> None:
        SENT.append(f"text to {self.phone}: {self.text}")


class CancelOrder(Job, tries=3, middleware=[transaction()]):
    """What the chain does when one of its links has failed for good."""

    order: Ref[Order]

    def handle(self) -> None:
        running = current_job()
        assert running is not None
        assert running.cause is not None
        order = self.order.value
        log.warning("%s failed: %s", running.cause.job, running.cause.error)
        if order.has_stock:
            product = current_session().get_one(Product, order.sku, with_for_update=True)
            product.stock += order.quantity
        order.step("cancelled")
        tell(order)


def place_order(
    user_id: int, sku: str, amount: int, *, quantity: int = 1, ships: bool = False, phone: str = ""
) -> int:
    """Store an order and queue what follows; what the web framework's view calls."""
    with sessions() as session, session.begin():
        order = Order(
            user_id=user_id, sku=sku, quantity=quantity, amount=amount, ships=ships, phone=phone
        )
        session.add(order)
        session.flush()  # now it has an id

        links: list[Job] = [ReserveStock(order=Ref(order)), ProcessPayment(order=Ref(order))]
        if order.ships:
            links.append(CreateShippingLabel(order=Ref(order)))
        links.append(SendConfirmation(order=Ref(order)))
        chain(links).catch(CancelOrder(order=Ref(order))).dispatch(after_commit=True)
        emit(OrderPlaced(order.id, user_id, sku, amount), after_commit=True)
        return order.id


def stock(sku: str, number: int) -> None:
    """Have so many of a product."""
    with sessions() as session, session.begin():
        session.merge(Product(sku=sku, stock=number))
