"""
What the HTTP API tells: which channels are occupied, by how many, and by whom.

Counts are read over all nodes, after this node has told the store what its clients know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.errors import MalformedMessage
from broadcaster.gateway.answers import Answer
from broadcaster.gateway.census import CONNECTIONS
from broadcaster.protocol import http_api
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.http_query import (
    parse_channel_query,
    parse_channels_query,
    parse_users_query,
    refuse_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.contracts.history import Cached, History
    from broadcaster.contracts.presence import PresenceStore
    from broadcaster.gateway.answers import Request
    from broadcaster.protocol.http_api import EventRequest


class Reading:
    """
    Answers every read.

    Args:
        settled: awaited before counts are read: when it returns, the store knows what
            clients of this process have been told.
    """

    def __init__(
        self,
        presence: PresenceStore,
        history: History,
        *,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        self._presence = presence
        self._history = history
        self._settled = settled

    async def channels(self, request: Request) -> Answer:
        """List the occupied channels."""
        app_id = request.app.id
        query = parse_channels_query(request.params)
        await self._settled()
        occupied = await self._presence.occupied(app_id, query.prefix)
        # Names with '#' are the protocol's own and stay out of sight.
        names = [name for name, count in occupied.items() if count and not name.startswith("#")]
        if not query.info.user_count:
            return Answer(200, http_api.encode_channels({name: {} for name in names}))
        users = await self._presence.member_counts(app_id, names)
        counted = {name: {"user_count": count} for name, count in zip(names, users, strict=True)}
        return Answer(200, http_api.encode_channels(counted))

    async def channel(self, request: Request) -> Answer:
        """Describe one channel."""
        app_id = request.app.id
        channel, info = parse_channel_query(request.target.channel, request.params)
        await self._settled()
        [connections] = await self._presence.counts(app_id, [channel.name])
        users = 0
        if info.user_count:
            [users] = await self._presence.member_counts(app_id, [channel.name])
        attributes: dict[str, object] = {
            **http_api.describe_channel(channel, info, connections=connections, users=users)
        }
        if info.cache:
            [cached] = await self._history.cached(app_id, [channel.name])
            attributes["cache"] = None if cached is None else _describe_cache(cached)
        return Answer(200, http_api.encode_channel(attributes, occupied=connections > 0))

    async def users(self, request: Request) -> Answer:
        """List the members of a presence channel."""
        channel = parse_users_query(request.target.channel, request.params)
        snapshot = await self._presence.snapshot(request.app.id, channel.name)
        return Answer(200, http_api.encode_users(snapshot.members))

    async def connections(self, request: Request) -> Answer:
        """Count the connections of the app over all nodes, whatever they subscribe to."""
        refuse_parameters(request.params)
        await self._settled()
        [count] = await self._presence.counts(request.app.id, [CONNECTIONS])
        return Answer(200, http_api.encode_connections(count))

    async def describe(
        self, app: App, events: Sequence[EventRequest]
    ) -> list[Mapping[str, Mapping[str, int]]]:
        """Return, per event, its channels with the attributes that were asked for."""
        wanted = {
            channel: None
            for event in events
            if event.info.user_count or event.info.subscription_count
            for channel in event.channels
        }
        names = [channel.name for channel in wanted]
        presence = [channel.name for channel in wanted if channel.is_presence]
        await self._settled()
        connections = dict(zip(names, await self._presence.counts(app.id, names), strict=True))
        users = (
            dict(zip(presence, await self._presence.member_counts(app.id, presence), strict=True))
            if presence
            else {}
        )
        return [
            {
                channel.name: http_api.describe_channel(
                    channel,
                    event.info,
                    connections=connections.get(channel.name, 0),
                    users=users.get(channel.name, 0),
                )
                for channel in event.channels
            }
            for event in events
        ]


def _describe_cache(cached: Cached) -> dict[str, object] | None:
    """Return what a cache channel keeps; what is no event counts as none, as for subscribers."""
    try:
        return http_api.describe_cache(decode_envelope(cached.envelope).frame, cached.ttl)
    except MalformedMessage:
        return None
