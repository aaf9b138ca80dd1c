"""The driver ``redis``: frames publications and publishes them to the gateways' Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.contracts.broker import Outgoing
from broadcaster.drivers.redis.publish import RedisBroker
from broadcaster.protocol.messages import encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.history import HistoryLimits
    from broadcaster.contracts.publisher import Publication
    from broadcaster.drivers.redis.client import RedisClients


class RedisPublisher:
    """
    Publishes through Redis; see `Publisher`.

    Args:
        history: must be what the gateways use: it trims the same lists.
    """

    def __init__(self, clients: RedisClients, *, history: HistoryLimits | None = None) -> None:
        self._broker = RedisBroker(clients, history)

    def publish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.publish`."""
        self._broker.publish_sync(frame_all(publications))

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """See `Publisher.apublish`."""
        await self._broker.publish(frame_all(publications))


def frame_all(publications: Sequence[Publication]) -> list[Outgoing]:
    """Return one framed event for every channel of every publication, in order."""
    return [
        Outgoing(
            app_id=publication.app_id,
            channel=channel,
            event_id=bytes.fromhex(publication.id),
            frame=encode_event(channel, publication.name, publication.data),
            excluded=publication.socket_id or "",
        )
        for publication in publications
        for channel in publication.channels
    ]
