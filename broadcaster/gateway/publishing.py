"""
What the HTTP API publishes: a request is valid as a whole or refused as a whole.

Reads come before the one publish: when a read fails nothing has been published (503). A
request with an idempotency key is begun in the store before and finished there after; see
`broadcaster.protocol.idempotency` for what makes its repeats harmless.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.contracts.broker import Outgoing
from broadcaster.contracts.idempotency import FirstAnswer
from broadcaster.gateway.answers import Answer
from broadcaster.protocol import http_api
from broadcaster.protocol.http_query import parse_event_query
from broadcaster.protocol.idempotency import HEADERS, Attempt, fingerprint, mismatch, parse_key
from broadcaster.protocol.messages import encode_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.broker import Broker
    from broadcaster.contracts.idempotency import IdempotencyStore
    from broadcaster.gateway.answers import Request
    from broadcaster.gateway.publish_rate import PublishRates
    from broadcaster.gateway.reading import Reading
    from broadcaster.protocol.http_api import PublishRequest

    # What was asked of each event, by channel.
    Described = Sequence[Mapping[str, Mapping[str, int]]]

_OK = Answer(200, http_api.OK)
_ACCEPTED = Answer(202, http_api.OK)
_LOG = logging.getLogger("broadcaster.http")


class Publishing:
    """
    Answers every request to publish.

    Args:
        reading: answers the ``info`` of a publish.
        rates: how fast apps may publish.
        new_id: makes event ids (UUIDv7, 32 hex digits).
    """

    def __init__(
        self,
        broker: Broker,
        idempotency: IdempotencyStore,
        reading: Reading,
        rates: PublishRates,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._broker = broker
        self._idempotency = idempotency
        self._reading = reading
        self._rates = rates
        self._new_id = new_id

    def event(self, request: Request) -> Awaitable[Answer]:
        """Publish one event to its channels."""
        limits = request.app.limits
        asked = http_api.parse_event(
            request.body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        return self._begin(request, asked, _event_answer)

    def batch(self, request: Request) -> Awaitable[Answer]:
        """Publish several events to one channel each."""
        limits = request.app.limits
        asked = http_api.parse_batch(
            request.body, max_data_bytes=limits.max_data_bytes, max_event_name=limits.max_event_name
        )
        return self._begin(request, asked, _batch_answer)

    def channel_event(self, request: Request) -> Awaitable[Answer]:
        """Publish one event the old way: its data is the body."""
        limits = request.app.limits
        name, socket_id = parse_event_query(request.params)
        asked = http_api.parse_raw_event(
            request.body,
            name=name,
            channel=request.target.channel,
            socket_id=socket_id,
            max_data_bytes=limits.max_data_bytes,
            max_event_name=limits.max_event_name,
        )
        return self._begin(request, asked, _accepted)

    def _begin(
        self,
        request: Request,
        asked: PublishRequest,
        answer: Callable[[PublishRequest, Described], Answer],
    ) -> Awaitable[Answer]:
        """Check what is left to check, and return what publishes."""
        key = _key(request, asked)
        if request.app.limits.publish_rate:
            self._rates.spend(request.app, asked.messages)
        if key:
            return self._once(request, asked, answer, key)
        return self._publish(request.app, asked, answer)

    async def _once(
        self,
        request: Request,
        asked: PublishRequest,
        answer: Callable[[PublishRequest, Described], Answer],
        key: str,
    ) -> Answer:
        """Publish unless it has been; answer as the first attempt was."""
        target = request.target
        marks = fingerprint(target.resource.value, target.channel, request.params, request.body)
        attempt = Attempt(request.app.id, key, marks)
        begun = await self._idempotency.begin(attempt)
        if not begun.same:
            raise mismatch(key)
        if begun.answer is not None:
            return Answer(*begun.answer)
        # Whoever else is at it publishes under the same ids.
        ours = await self._publish(request.app, asked, answer, attempt)
        first = await self._idempotency.finish(attempt, FirstAnswer(ours.status, ours.body))
        return Answer(*first)

    async def _publish(
        self,
        app: App,
        asked: PublishRequest,
        answer: Callable[[PublishRequest, Described], Answer],
        attempt: Attempt | None = None,
    ) -> Answer:
        described: Described = ()
        if asked.wants_info:
            described = await self._reading.describe(app, asked.events)
        outgoing: list[Outgoing] = []
        for index, event in enumerate(asked.events):
            event_id = attempt.event_id(index, event) if attempt else bytes.fromhex(self._new_id())
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
        return answer(asked, described)


def _key(request: Request, asked: PublishRequest) -> str:
    for name, _ in request.headers:
        if name in HEADERS:
            sent = [value for name, value in request.headers if name in HEADERS]
            return parse_key(sent, asked.idempotency_key)
    return "" if asked.idempotency_key is None else parse_key((), asked.idempotency_key)


def _event_answer(_asked: PublishRequest, described: Described) -> Answer:
    return Answer(200, http_api.encode_channels(described[0])) if described else _OK


def _batch_answer(asked: PublishRequest, described: Described) -> Answer:
    if not described:
        return _OK
    attributes = [
        channels[event.channels[0].name]
        for event, channels in zip(asked.events, described, strict=True)
    ]
    return Answer(200, http_api.encode_batch(attributes))


def _accepted(_asked: PublishRequest, _described: Described) -> Answer:
    return _ACCEPTED
