"""What a node is made of and how it is to behave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.broker import Broker, SubscriptionListener, Subscriptions
    from broadcaster.contracts.facts import FactSink
    from broadcaster.contracts.history import History
    from broadcaster.contracts.idempotency import IdempotencyStore
    from broadcaster.contracts.outbox import Outbox
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.contracts.public_keys import PublicKeys
    from broadcaster.contracts.revocations import RevocationStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The drivers behind a node."""

    broker: Broker
    history: History
    presence: PresenceStore
    revocations: RevocationStore
    idempotency: IdempotencyStore
    public_keys: PublicKeys
    facts: FactSink
    outbox: Outbox
    topic: Callable[[str, str], bytes]
    control: Callable[[str], bytes]
    subscriptions: Callable[[SubscriptionListener], Subscriptions]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """
    How a node behaves.

    Attributes:
        name: unique per process start.
        lease_seconds: see `broadcaster.settings.GatewaySettings`.
        presence_grace: see there.
        max_connections: sockets of this process; 0 is no limit.
        path_prefix: what clients put before ``/app/<key>``, without the final slash.
        debug: whether refusals explain themselves to clients.
    """

    name: str
    lease_seconds: float = 15.0
    presence_grace: float = 3.0
    max_connections: int = 0
    path_prefix: str = ""
    debug: bool = False


class Newcomer(Protocol):
    """
    A socket in the middle of a request.

    Attributes:
        since: when its patience began to run, by the node's clock.
    """

    since: float

    def abort(self) -> None:
        """End it: the request took too long."""
        ...
