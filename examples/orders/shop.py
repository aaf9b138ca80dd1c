"""
Order submission: a request stores an order, queues a job, and tells the customer live.

The web process (`app`) and the worker import this module. See README.md for how to run it.
"""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from broadcaster_auth import Authorizer, bearer, broadcasting_auth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from broadcaster import Job, PrivateChannel, ShouldBroadcast, abroadcast, credentials
from broadcaster.integrations.asgi import SocketIdMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("shop")
log.setLevel(logging.INFO)  # a worker shows nothing below a warning, unless told to


# Users and orders: your database in earnest.


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    email: str
    phone: str


@dataclass(frozen=True, slots=True)
class Order:
    id: int
    user_id: int
    amount: int  # cents
    status: str


USERS = {
    "ada-token": User(1, "Ada", "ada@example.com", "+20 100"),
    "grace-token": User(2, "Grace", "grace@example.com", "+20 200"),
}
ORDERS: dict[int, Order] = {}
_ids = itertools.count(1)
current_user = bearer(USERS.get)  # Authorization: Bearer <token>


# What happens: an event for the customer's own channel, and a job for a worker.


@dataclass(frozen=True)
class OrderShipped(ShouldBroadcast):
    order: Order

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"orders.{self.order.user_id}")

    def broadcast_with(self) -> dict[str, Any]:
        return {
            "order_id": self.order.id,
            "amount": self.order.amount,
            "status": self.order.status,
        }


class SendOrderNotification(Job, tries=3, timeout=120, backoff=[1, 5]):
    """Carries what it needs: the worker is another process, and runs it later."""

    order_id: int
    email: str
    phone: str

    async def handle(self) -> None:
        log.info("mail to %s: order #%d placed successfully", self.email, self.order_id)
        log.info("text to %s: order #%d placed successfully", self.phone, self.order_id)

    async def failed(self, error: BaseException) -> None:
        """When the last try has failed."""
        log.error("nobody was told of order #%d: %s", self.order_id, error)


# Who may listen: every user to the orders of their own.

rules = Authorizer()


@rules.channel("orders.{user_id}")
def own_orders(user: User, user_id: int) -> bool:
    return user.id == user_id


# The web application.


async def submit_order(request: Request) -> Response:
    user = current_user(request)
    if not isinstance(user, User):
        return JSONResponse({"error": "who are you?"}, HTTPStatus.UNAUTHORIZED)
    amount = await read_amount(request)
    if amount is None:
        return JSONResponse({"error": "amount: whole cents, 1 or more"}, HTTPStatus.BAD_REQUEST)
    order = Order(next(_ids), user.id, amount, "pending")
    ORDERS[order.id] = order

    told = SendOrderNotification(order_id=order.id, email=user.email, phone=user.phone)
    await told.adispatch()
    await abroadcast(OrderShipped(order))

    return JSONResponse({"success": True, "order_id": order.id}, HTTPStatus.CREATED)


async def read_amount(request: Request) -> int | None:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return None
    amount = body.get("amount") if isinstance(body, dict) else None
    valid = isinstance(amount, int) and not isinstance(amount, bool) and amount > 0
    return amount if valid else None


auth = broadcasting_auth(credentials, user=current_user, authorizer=rules)

app = Starlette(
    routes=[
        Route("/orders", submit_order, methods=["POST"]),
        Mount("/broadcasting", auth),
    ],
    middleware=[Middleware(SocketIdMiddleware)],
)
