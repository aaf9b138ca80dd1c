"""
Documented usage that type checkers must accept. It is checked, and imported by nothing.

Lines that they must refuse carry an ignore, and an ignore that is not needed is an error.
"""
# mypy: warn-unused-ignores

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, assert_type

import msgspec
from broadcaster_auth import (
    Endpoint,
    bearer,
    broadcasting_auth,
    broadcasting_auth_wsgi,
    scope_user,
)

from broadcaster import (
    Channel,
    ChannelOccupied,
    DriverUnavailable,
    Job,
    MemberAdded,
    MemberRemoved,
    PresenceChannel,
    PrivateChannel,
    ShouldBroadcast,
    ShouldBroadcastNow,
    ShouldRescue,
    Skipped,
    TrackedJob,
    UserChannel,
    abroadcast,
    aemit,
    after_commit,
    ajob_status,
    aonline,
    aonline_many,
    arevoke,
    aterminate_connections,
    broadcast,
    broadcast_if,
    broadcast_unless,
    configure,
    credentials,
    discover,
    emit,
    event,
    job,
    job_status,
    listen,
    listen_to,
    listeners,
    minutes,
    on,
    presence,
    private,
    queued,
    revoke,
    subscribe,
)
from broadcaster.contracts.apps import App
from broadcaster.drivers.log import LogPublisher
from broadcaster.drivers.null import NullPublisher
from broadcaster.drivers.routing import RoutingPublisher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.application import Application
    from broadcaster.contracts.apps import AppSource
    from broadcaster.contracts.publisher import Publisher
    from broadcaster.contracts.queue import Queue
    from broadcaster.contracts.revocations import RevocationStore, Revoker
    from broadcaster.contracts.users import OnlineReader
    from broadcaster.drivers.http.pusher import PusherPublisher
    from broadcaster.drivers.redis.publisher import RedisPublisher
    from broadcaster.drivers.redis.queue import RedisQueue
    from broadcaster.drivers.redis.revocations import RedisRevocations
    from broadcaster.drivers.sync import SyncQueue
    from broadcaster.events.listening import Registrar
    from broadcaster.wiring.backend import Backend


@dataclass
class Order:
    id: int
    user_id: int
    status: str

    def broadcast_channel(self) -> str:
        return f"App.Models.Order.{self.id}"


class Name(Enum):
    SHIPPED = "order.shipped"


@dataclass
class OrderShipped(ShouldBroadcast):
    order: Order

    def broadcast_on(self) -> PrivateChannel:
        return PrivateChannel(f"orders.{self.order.user_id}")

    def broadcast_with(self) -> dict[str, object]:
        return {"order_id": self.order.id, "status": self.order.status}


@dataclass(frozen=True, slots=True)
class OrderMoved(ShouldBroadcastNow, ShouldRescue):
    order: Order

    def broadcast_on(self) -> list[Channel | Order | str]:
        return [PresenceChannel("warehouse"), self.order, "orders"]

    def broadcast_as(self) -> Name:
        return Name.SHIPPED

    def broadcast_when(self) -> bool:
        return self.order.status != "draft"

    def broadcast_queue(self) -> str:
        return "low"

    def broadcast_connections(self) -> Sequence[str | None]:
        return (None, "log")


class Unannotated(msgspec.Struct, ShouldBroadcast):
    order: int

    def broadcast_on(self):  # type: ignore[no-untyped-def]  # users need not annotate
        return PrivateChannel("orders")


class Wrong(ShouldBroadcast):
    def broadcast_on(self) -> int:  # type: ignore[override]  # a number names no channel
        return 7


class SendMail(Job, queue="mail", tries=3):
    to: str

    def handle(self) -> None:
        assert self.to


@job
async def report(month: str) -> None:
    assert month


def sync_code(order: Order) -> None:
    configure()
    broadcast(OrderShipped(order))
    broadcast(OrderMoved(order), to_others=True, socket_id="1.2")
    broadcast_if(order.status, OrderShipped(order))
    broadcast_unless(order.status, Unannotated(order.id))
    from broadcaster import brodcast  # type: ignore[attr-defined]  # there is no such name

    brodcast(OrderShipped(order))
    broadcast(order)  # type: ignore[arg-type]  # an order is no event
    broadcast(OrderShipped(order), True)  # type: ignore[call-arg]  # options are named
    on("orders.1", PrivateChannel(order)).as_("shipped").with_({"id": 1}).to_others().send()
    private("orders.1").via("log").send_now()
    presence("room").send()
    assert_type(SendMail(to="a@example.com").dispatch(delay=minutes(5)), str | Skipped)
    report("2026-11").dispatch()
    revoke(user=42)
    revoke(user="42", channel="private-orders.*")
    revoke(42)  # type: ignore[call-arg]  # who is meant is named


@listen(MemberAdded)
def greet(event: MemberAdded) -> str:
    return event.user_id


@listen(MemberAdded, MemberRemoved, queue="stats", tries=3, backoff=[1, minutes(1)])
async def count(event: MemberAdded | MemberRemoved) -> None:
    assert_type(event.time_ms, int)


@listen(MemberAdded)  # type: ignore[arg-type]  # it takes another event
def deaf(event: ChannelOccupied) -> None:
    assert_type(event.channel, str)


def listening(event: MemberAdded) -> None:
    assert_type(greet(event), str)


@event("order.placed")
@dataclass
class OrderPlaced:
    order_id: int


@listen(OrderPlaced)
def reserve(event: OrderPlaced) -> int:
    return event.order_id


@listen(OrderPlaced, queue="mail", tries=3, backoff=[1, 10], delay=minutes(1), timeout=20)
async def confirm(event: OrderPlaced, backend: Backend) -> None:
    assert_type(event.order_id, int)


@queued(queue=True, max_exceptions=3)
class Receipt:
    def handle(self, event: OrderPlaced) -> None:
        assert_type(event.order_id, int)

    def should_queue(self, event: OrderPlaced) -> bool:
        return event.order_id > 0


@listen_to("order.*", "invoice.*")
class Audit:
    async def handle(self, event: object) -> None: ...


@listen(OrderPlaced)  # type: ignore[arg-type]  # it takes another event
def also_deaf(event: MemberAdded) -> None: ...


class UserSubscriber:
    def placed(self, event: OrderPlaced) -> None: ...

    def subscribe(self, events: Registrar) -> dict[type | str, str]:
        events.listen(OrderPlaced, self.placed, queue="audit")
        return {"order.*": "placed"}


async def emitting(event: OrderPlaced) -> None:
    assert_type(emit(event), list[Any])
    assert_type(await aemit(event, after_commit=True), list[Any])
    assert_type(reserve(event), int)
    assert_type(Receipt(), Receipt)
    listeners({OrderPlaced: [reserve, Receipt, (UserSubscriber, "placed")], "order.*": Audit})
    subscribe(UserSubscriber)
    subscribe(UserSubscriber())
    assert_type(discover("shop.listeners"), int)


def endpoints() -> None:
    assert_type(credentials(), App)
    assert_type(credentials.debug, bool)
    source: AppSource = credentials
    tokens: dict[str, object] = {}
    assert source, (
        Endpoint(app=credentials),
        broadcasting_auth(credentials, user=scope_user),
        broadcasting_auth_wsgi(credentials, user=bearer(tokens.get)),
    )


class Export(TrackedJob, queue="exports", tries=2):
    user_id: int

    def handle(self) -> None:
        self.progress(50, "half")
        self.result("/exported/1.csv")

    def broadcast_progress_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.user_id}")


def transactions_and_progress(order: Order) -> None:
    with after_commit():
        broadcast(OrderShipped(order), after_commit=True)
        on("orders").after_commit().send()
        Export(user_id=7).dispatch(after_commit=True, connection="long")
    status = job_status(Export(user_id=7).dispatch())
    if status is not None:
        assert_type(status.status, Literal["pending", "processing", "completed", "failed"])
        assert_type(status.progress, int)
    Export("7")  # type: ignore[arg-type]


async def async_code(order: Order) -> None:
    async with after_commit():
        await abroadcast(OrderShipped(order), after_commit=True)
    await ajob_status(await Export(user_id=7).adispatch())
    try:
        await abroadcast(OrderShipped(order), to_others=True)
    except DriverUnavailable as error:
        raise SystemExit(error.exit_code) from error
    await on("orders.1").asend()
    await report("2026-11").adispatch()
    await arevoke(user=42)
    await aterminate_connections(42)
    assert_type(await aonline_many([42, 43]), set[int])
    assert_type(await aonline("42"), bool)
    await on(UserChannel(42)).asend()


def drivers_keep_their_contracts(
    backend: Backend,
    redis: RedisPublisher,
    pusher: PusherPublisher,
    waiting: RedisQueue,
    inline: SyncQueue,
    revocations: RedisRevocations,
) -> None:
    application: Application = backend
    router = RoutingPublisher(backend.driver)
    publishers: list[Publisher] = [redis, pusher, LogPublisher(), NullPublisher(), router]
    queues: list[Queue] = [waiting, inline]
    revoker: Revoker = revocations
    store: RevocationStore = revocations
    users: OnlineReader = backend.users
    assert application, (publishers, queues, revoker, store, users)
