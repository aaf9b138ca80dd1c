"""
What the HTTP API publishes: a request is valid as a whole or refused as a whole.

Reads come before the one publish: when a read fails nothing has been published (503).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.contracts.broker import Outgoing
from broadcaster.gateway.answers import Answer
from broadcaster.protocol import http_api
from broadcaster.protocol.messages import encode_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.broker import Broker
    from broadcaster.gateway.answers import Request
    from broadcaster.gateway.reading import Reading
    from broadcaster.protocol.http_api import EventRequest

_OK = Answer(200, http_api.OK)
_LOG = logging.getLogger("broadcaster.http")


class Publishing:
    """
    Answers every request to publish.

    Args:
        reading: answers the ``info`` of a publish.
        new_id: makes event ids (UUIDv7, 32 hex digits).
    """

    def __init__(self, broker: Broker, reading: Reading, *, new_id: Callable[[], str]) -> None:
        self._broker = broker
        self._reading = reading
        self._new_id = new_id

    async def event(self, request: Request) -> Answer:
        """Publish one event to its channels."""
        app, limits = request.app, request.app.limits
        event = http_api.parse_event(
            request.body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        if event.info.user_count or event.info.subscription_count:
            [channels] = await self._reading.describe(app, [event])
            await self._publish(app, [event])
            return Answer(200, http_api.encode_channels(channels))
        await self._publish(app, [event])
        return _OK

    async def batch(self, request: Request) -> Answer:
        """Publish several events to one channel each."""
        app, limits = request.app, request.app.limits
        events = http_api.parse_batch(
            request.body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        if any(event.info.user_count or event.info.subscription_count for event in events):
            described = await self._reading.describe(app, events)
            await self._publish(app, events)
            attributes = [
                channels[event.channels[0].name]
                for event, channels in zip(events, described, strict=True)
            ]
            return Answer(200, http_api.encode_batch(attributes))
        await self._publish(app, events)
        return _OK

    async def _publish(self, app: App, events: Sequence[EventRequest]) -> None:
        outgoing: list[Outgoing] = []
        for event in events:
            event_id = bytes.fromhex(self._new_id())
            for channel in event.channels:
                frame = encode_event(channel.name, event.name, event.data)
                outgoing.append(Outgoing(app.id, channel.name, event_id, frame, event.socket_id))
        await self._broker.publish(outgoing)
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug(
                "published %d message(s) over HTTP",
                len(outgoing),
                extra={"event": "published", "app": app.id},
            )
