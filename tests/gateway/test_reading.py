"""Reads over stub stores: cached events, and how many connections there are."""

from __future__ import annotations

import pytest

from broadcaster.contracts.history import Cached
from broadcaster.protocol.envelope import NO_ID, Envelope, Flag, encode_envelope
from broadcaster.protocol.messages import encode_event
from tests.gateway.http_world import CHANNELS, World, refusal

CONNECTIONS = "/apps/1234/connections"


@pytest.fixture
def world() -> World:
    return World()


def kept(channel: str, data: str, ttl: int) -> Cached:
    frame = encode_event(channel, "greeting", data)
    return Cached(encode_envelope(Envelope(Flag.NONE, 1, 0, NO_ID, NO_ID, "", frame)), ttl)


@pytest.mark.parametrize(
    "channel", ["cache-a", "private-cache-a", "presence-cache-a", "private-encrypted-cache-a"]
)
async def test_the_last_event_of_a_cache_channel_is_told(world: World, channel: str) -> None:
    world.cache.kept[channel] = kept(channel, '{"a":"\u00e9\\n"}', 1_799)

    response = await world.call("GET", f"{CHANNELS}/{channel}", params={"info": "cache"})

    assert response.json() == {
        "occupied": False,
        "cache": {"data": '{"a":"\u00e9\\n"}', "ttl": 1_799},
    }


async def test_an_empty_cache_is_null(world: World) -> None:
    response = await world.call("GET", f"{CHANNELS}/cache-a", params={"info": "cache"})

    assert response.content == b'{"occupied":false,"cache":null}'


@pytest.mark.parametrize("frame", [b"[]", b"", b"\xff", b'{"data":1}'])
async def test_what_is_no_event_in_a_cache_counts_as_none(world: World, frame: bytes) -> None:
    """Whoever writes that to Redis is no gateway; it is not the fault of who asks."""
    strange = encode_envelope(Envelope(Flag.NONE, 1, 0, NO_ID, NO_ID, "", frame))
    for envelope in (strange, b"garbage"):
        world.cache.kept["cache-a"] = Cached(envelope, 60)

        response = await world.call("GET", f"{CHANNELS}/cache-a", params={"info": "cache"})

        assert response.json() == {"occupied": False, "cache": None}


async def test_all_attributes_may_be_asked_at_once(world: World) -> None:
    world.presence.connections["presence-cache-a"] = 3
    world.presence.members["presence-cache-a"] = {"1": "{}"}
    world.cache.kept["presence-cache-a"] = kept("presence-cache-a", "1", 5)
    info = "cache,user_count,subscription_count"

    response = await world.call("GET", f"{CHANNELS}/presence-cache-a", params={"info": info})

    assert response.json() == {
        "occupied": True,
        "user_count": 1,
        "subscription_count": 3,
        "cache": {"data": "1", "ttl": 5},
    }


async def test_other_channels_have_no_cache(world: World) -> None:
    response = await world.call("GET", f"{CHANNELS}/private-a", params={"info": "cache"})

    status, code, message = refusal(response)
    assert (status, code) == (400, "inapplicable_attribute")
    assert message.startswith("cache is kept for cache channels only, and 'private-a' is none")


async def test_a_cache_is_not_read_unless_it_is_asked_for(world: World) -> None:
    world.cache.failure = RuntimeError("not to be called")

    assert (await world.call("GET", f"{CHANNELS}/cache-a")).json() == {"occupied": False}


async def test_connections_are_counted(world: World) -> None:
    response = await world.call("GET", CONNECTIONS)

    assert response.content == b'{"connections":5}'


async def test_counting_connections_takes_no_parameters(world: World) -> None:
    response = await world.call("GET", CONNECTIONS, params={"filter_by_prefix": "a"})

    assert refusal(response)[:2] == (400, "extraneous_parameter")


async def test_the_pseudo_channel_of_all_connections_is_none(world: World) -> None:
    response = await world.call("GET", f"{CHANNELS}/%23connections")

    assert refusal(response)[:2] == (400, "invalid_channel")
