from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcaster.contracts.broker import Outgoing
from broadcaster.contracts.history import HistoryLimits
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.keys import Keys
from broadcaster.drivers.redis.publish import RedisBroker, publish_rounds
from broadcaster.drivers.redis.scripts_loader import run_many
from broadcaster.errors import DriverRefused, DriverUnavailable
from broadcaster.protocol.envelope import NO_ID, Envelope, Flag, decode_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults import FaultyServer

LIMITS = HistoryLimits()


def event(channel: str = "news", frame: bytes = b"{}", excluded: str = "") -> Outgoing:
    return Outgoing("1", channel, os.urandom(16), frame, excluded)


def offsets(
    clients: RedisClients, messages: Sequence[Outgoing], limits: HistoryLimits = LIMITS
) -> list[list[int]]:
    """Publish, and return the script's answers: offsets per channel."""
    return [
        answer
        for calls in publish_rounds(clients.keys, limits, messages)
        for answer in run_many(clients.sync, calls)
    ]


def kept(clients: RedisClients, channel: str = "news") -> list[Envelope]:
    found: list[bytes] = clients.sync.lrange(clients.keys.channel("1", channel, "h"), 0, -1)  # type: ignore[assignment]  # sync reply
    return [decode_envelope(data) for data in found]


def position(clients: RedisClients, channel: str = "news") -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = clients.sync.hgetall(clients.keys.channel("1", channel, "m"))  # type: ignore[assignment]  # sync reply
    return found


@pytest.fixture
def broker(clients: RedisClients) -> RedisBroker:
    return RedisBroker(clients)


async def test_a_published_message_is_heard_with_position_and_history(
    clients: RedisClients, broker: RedisBroker
) -> None:
    message = event(frame=b'{"event":"e","channel":"news","data":"1"}', excluded="1.2")
    async with clients.aio.pubsub() as pubsub:
        await pubsub.subscribe(clients.keys.topic("1", "news"))
        await pubsub.get_message(timeout=5)

        await broker.publish([message])

        heard = await pubsub.get_message(timeout=5)
    assert heard is not None
    envelope = decode_envelope(heard["data"])
    assert envelope == kept(clients)[0]
    assert envelope._replace(time_ms=0) == Envelope(
        0, 1, 0, message.event_id, NO_ID, "1.2", message.frame
    )
    assert position(clients)[b"o"] == b"1"
    assert position(clients)[b"i"] == message.event_id


def test_offsets_rise_and_each_message_names_its_predecessor(clients: RedisClients) -> None:
    first, second, third = event(), event(), event()

    assert offsets(clients, [first, second]) == [[1, 2]]
    assert offsets(clients, [third]) == [[3]]

    assert [(one.offset, one.event_id, one.previous_id) for one in kept(clients)] == [
        (1, first.event_id, NO_ID),
        (2, second.event_id, first.event_id),
        (3, third.event_id, second.event_id),
    ]


def test_a_repeat_under_the_same_id_is_answered_zero_and_changes_nothing(
    clients: RedisClients,
) -> None:
    first, second = event(), event()
    offsets(clients, [first, second])
    before = position(clients)

    assert offsets(clients, [first, second]) == [[0, 0]]
    assert offsets(clients, [first, event(), second]) == [[0, 3, 0]]

    assert before[b"i"] == second.event_id
    assert len(kept(clients)) == 3


def test_the_same_id_twice_in_one_call_is_published_once(clients: RedisClients) -> None:
    message = event()

    assert offsets(clients, [message, message]) == [[1, 0]]


def test_one_id_counts_once_in_each_channel(clients: RedisClients) -> None:
    event_id = os.urandom(16)
    both = [Outgoing("1", channel, event_id, b"{}") for channel in ("a", "b")]

    assert offsets(clients, both) == [[1], [1]]


def test_a_repeat_is_recognised_until_its_mark_expires(clients: RedisClients) -> None:
    message = event()
    offsets(clients, [message])
    mark = clients.keys.channel("1", "news", f"d:{message.event_id.hex()}")

    assert 590 < int(clients.sync.ttl(mark)) <= 600  # type: ignore[arg-type]  # sync reply


def test_sync_and_async_publish_the_same(clients: RedisClients, broker: RedisBroker) -> None:
    message, second = event(), event()

    broker.publish_sync([message])
    asyncio.run(_publish_in_a_loop_of_its_own(clients, [message, second]))

    assert [one.event_id for one in kept(clients)] == [message.event_id, second.event_id]


async def _publish_in_a_loop_of_its_own(
    clients: RedisClients, messages: Sequence[Outgoing]
) -> None:
    others = RedisClients(clients.url, clients.prefix)
    await RedisBroker(others).publish(messages)
    await others.aclose()


def test_history_is_trimmed_by_count(clients: RedisClients) -> None:
    limits = HistoryLimits(events=5)
    messages = [event() for _ in range(12)]

    offsets(clients, messages[:9], limits)
    offsets(clients, messages[9:], limits)

    assert [one.offset for one in kept(clients)] == [8, 9, 10, 11, 12]
    assert position(clients)[b"n"] == b"5"


def test_history_is_trimmed_by_bytes_and_counts_them_exactly(clients: RedisClients) -> None:
    limits = HistoryLimits(bytes=1_000)
    sizes = [10, 300, 200, 400, 5, 150, 90]

    for size in sizes:
        offsets(clients, [event(frame=b"x" * size)], limits)

    total = sum(51 + len(one.frame) for one in kept(clients))
    assert position(clients)[b"b"] == str(total).encode()
    assert total <= 1_000
    assert total + 51 + 400 > 1_000
    assert kept(clients)[-1].offset == len(sizes)


def test_one_envelope_over_the_byte_limit_is_kept_alone(clients: RedisClients) -> None:
    limits = HistoryLimits(bytes=100)

    offsets(clients, [event(), event(frame=b"x" * 500)], limits)

    assert [one.offset for one in kept(clients)] == [2]


def test_history_is_trimmed_by_age_and_expires_with_the_last_event(clients: RedisClients) -> None:
    offsets(clients, [event(), event()])
    _age(clients, by_ms=130_000)

    offsets(clients, [event()])

    assert [one.offset for one in kept(clients)] == [3]
    assert 100 < int(clients.sync.ttl(clients.keys.channel("1", "news", "h"))) <= 121  # type: ignore[arg-type]  # sync reply


@pytest.mark.parametrize(
    ("limits", "size"), [(HistoryLimits(events=1), 2), (HistoryLimits(bytes=100), 500)]
)
def test_a_history_expires_though_its_last_event_has_driven_out_all_others_at_once(
    clients: RedisClients, limits: HistoryLimits, size: int
) -> None:
    """Redis deletes a list that becomes empty, and its expiry with it."""
    for _ in range(2):
        offsets(clients, [event(frame=b"x" * size)], limits)

    assert 100 < int(clients.sync.ttl(clients.keys.channel("1", "news", "h"))) <= 121  # type: ignore[arg-type]  # sync reply


def test_byte_count_recovers_when_the_history_expired(clients: RedisClients) -> None:
    offsets(clients, [event(), event()])
    clients.sync.delete(clients.keys.channel("1", "news", "h"))

    assert offsets(clients, [event()]) == [[3]]

    assert position(clients)[b"b"] == b"53"
    assert position(clients)[b"n"] == b"1"


def test_without_history_positions_are_still_counted(clients: RedisClients) -> None:
    off = HistoryLimits(events=0)
    first, second = event(), event()

    assert offsets(clients, [first, second], off) == [[1, 2]]

    assert kept(clients) == []
    assert position(clients)[b"i"] == second.event_id
    assert offsets(clients, [first, second], off) == [[0, 0]]


def test_turning_history_off_drops_what_was_kept(clients: RedisClients) -> None:
    offsets(clients, [event()])
    clients.sync.hdel(clients.keys.channel("1", "news", "m"), "u")  # upkeep is due

    offsets(clients, [event()], HistoryLimits(events=0))

    assert kept(clients) == []


@pytest.mark.parametrize("channel", ["cache-x", "private-cache-x", "presence-cache-x"])
def test_a_cache_channel_keeps_its_last_event_for_half_an_hour(
    clients: RedisClients, channel: str
) -> None:
    last = event(channel)

    offsets(clients, [event(channel), last])

    key = clients.keys.channel("1", channel, "c")
    found = clients.sync.get(key)
    assert isinstance(found, bytes)
    assert decode_envelope(found).event_id == last.event_id
    assert 1_700 < int(clients.sync.ttl(key)) <= 1_800  # type: ignore[arg-type]  # sync reply


def test_other_channels_cache_nothing(clients: RedisClients) -> None:
    offsets(clients, [event("private-x")])

    assert clients.sync.get(clients.keys.channel("1", "private-x", "c")) is None


def test_positions_live_a_day(clients: RedisClients) -> None:
    offsets(clients, [event()])

    ttl = int(clients.sync.ttl(clients.keys.channel("1", "news", "m")))  # type: ignore[arg-type]  # sync reply
    assert 86_000 < ttl <= 86_400


def test_after_data_loss_offsets_start_again_without_a_predecessor(clients: RedisClients) -> None:
    offsets(clients, [event(), event()])
    for suffix in ("m", "h"):
        clients.sync.delete(clients.keys.channel("1", "news", suffix))

    assert offsets(clients, [event()]) == [[1]]
    assert kept(clients)[0].previous_id == NO_ID


class TestAScriptThatStoppedHalfWay:
    """Redis does not roll back: each partial state is built by hand and repeated."""

    def test_after_publish_but_before_the_mark_the_same_position_is_said_again(
        self, clients: RedisClients
    ) -> None:
        first, message = event(), event()
        offsets(clients, [first, message])
        before = kept(clients)
        clients.sync.delete(clients.keys.channel("1", "news", f"d:{message.event_id.hex()}"))

        assert offsets(clients, [message]) == [[2]]

        assert kept(clients) == before
        assert offsets(clients, [message]) == [[0]]
        assert offsets(clients, [event()]) == [[3]]

    def test_after_the_position_but_before_the_history_it_is_completed(
        self, clients: RedisClients
    ) -> None:
        first, message = event(), event()
        offsets(clients, [first, message])
        clients.sync.delete(clients.keys.channel("1", "news", f"d:{message.event_id.hex()}"))
        clients.sync.rpop(clients.keys.channel("1", "news", "h"))

        assert offsets(clients, [message]) == [[2]]

        assert [(one.offset, one.previous_id) for one in kept(clients)] == [
            (1, NO_ID),
            (2, first.event_id),
        ]
        assert position(clients)[b"n"] == b"2"

    def test_an_error_in_the_middle_of_a_call_is_mended_by_its_repeat(
        self, clients: RedisClients
    ) -> None:
        messages = [event(), event(), event()]
        history = clients.keys.channel("1", "news", "h")
        clients.sync.set(history, "not a list")

        with pytest.raises(DriverRefused, match="WRONGTYPE"):
            offsets(clients, messages)
        clients.sync.delete(history)

        assert offsets(clients, messages) == [[1, 2, 3]]
        assert [one.event_id for one in kept(clients)] == [one.event_id for one in messages]
        assert kept(clients)[0].previous_id == NO_ID


async def test_many_channels_and_messages_keep_the_order_within_each(
    clients: RedisClients, broker: RedisBroker
) -> None:
    messages = [event(f"c{number % 120}", str(number).encode()) for number in range(1_200)]

    await broker.publish(messages)

    for number in range(0, 120, 17):
        frames = [int(one.frame) for one in kept(clients, f"c{number}")]
        assert frames == list(range(number, 1_200, 120))


async def test_concurrent_publishers_leave_one_unbroken_chain(
    clients: RedisClients, broker: RedisBroker
) -> None:
    await asyncio.gather(*(broker.publish([event(), event()]) for _ in range(100)))

    chain = kept(clients)
    assert [one.offset for one in chain] == list(range(1, 201))
    for previous, one in itertools.pairwise(chain):
        assert one.previous_id == previous.event_id


def test_rounds_have_one_call_a_channel_and_a_hundred_at_most() -> None:
    keys = Keys("p")
    messages = [event(f"c{number % 150}") for number in range(150)] + [event("c0")] * 250

    rounds = publish_rounds(keys, LIMITS, messages)

    assert [len(calls) for calls in rounds] == [100, 50, 1, 1]
    assert all(len(call.keys) - 3 <= 100 for calls in rounds for call in calls)
    for calls in rounds:
        assert len({call.keys[0] for call in calls}) == len(calls)


async def test_publishing_nothing_asks_nothing(broker: RedisBroker) -> None:
    await broker.publish([])


async def test_a_client_event_is_said_without_position(
    clients: RedisClients, broker: RedisBroker
) -> None:
    message = event("private-x", b'{"event":"client-x"}', "3.4")
    async with clients.aio.pubsub() as pubsub:
        await pubsub.subscribe(clients.keys.topic("1", "private-x"))
        await pubsub.get_message(timeout=5)

        await broker.relay([message])

        heard = await pubsub.get_message(timeout=5)
    assert heard is not None
    assert decode_envelope(heard["data"]) == Envelope(
        Flag.EPHEMERAL, 0, 0, message.event_id, NO_ID, "3.4", message.frame
    )
    assert position(clients, "private-x") == {}


async def test_client_events_of_one_call_keep_their_order(
    clients: RedisClients, broker: RedisBroker
) -> None:
    async with clients.aio.pubsub() as pubsub:
        await pubsub.subscribe(clients.keys.topic("1", "private-x"))
        await pubsub.get_message(timeout=5)

        await broker.relay([event("private-x", str(number).encode()) for number in range(50)])

        heard = [await pubsub.get_message(timeout=5) for _ in range(50)]
    frames = [int(decode_envelope(one["data"]).frame) for one in heard if one is not None]
    assert frames == list(range(50))


async def test_ping_asks_whether_redis_answers(redis_server: FaultyServer) -> None:
    clients = RedisClients(redis_server.url)
    broker = RedisBroker(clients)
    await broker.ping()
    redis_server.freeze()

    with pytest.raises(DriverUnavailable):
        await broker.ping()
    redis_server.thaw()

    await broker.ping()
    await clients.aclose()


async def test_a_control_message_reaches_the_app_and_not_a_channel(
    clients: RedisClients, broker: RedisBroker
) -> None:
    async with clients.aio.pubsub() as pubsub:
        await pubsub.subscribe(clients.keys.control("1"))
        await pubsub.get_message(timeout=5)

        await broker.control("1", b'{"kind":"terminate"}')

        heard = await pubsub.get_message(timeout=5)
    assert heard is not None
    envelope = decode_envelope(heard["data"])
    assert (envelope.flags, envelope.frame) == (Flag.CONTROL, b'{"kind":"terminate"}')


async def test_after_script_flush_publishing_goes_on(
    clients: RedisClients, broker: RedisBroker
) -> None:
    await broker.publish([event()])
    await clients.aio.script_flush()

    await broker.publish([event(), event("other")])

    assert [one.offset for one in kept(clients)] == [1, 2]


async def test_a_frozen_redis_refuses_the_publish_and_a_repeat_delivers_it_once(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    broker = RedisBroker(clients)
    message = event()
    await broker.publish([event()])
    redis_server.freeze()

    with pytest.raises(DriverUnavailable):
        await broker.publish([message])
    with pytest.raises(DriverUnavailable):
        broker.publish_sync([message])
    with pytest.raises(DriverUnavailable):
        await broker.relay([message])
    redis_server.thaw()
    await broker.publish([message])

    # What was sent into the frozen server ran when it thawed; the id kept it to one.
    assert [one.offset for one in kept(clients)] == [1, 2]
    await clients.aclose()


async def test_accepted_events_survive_a_restart_with_the_append_only_file(
    redis_server: FaultyServer,
) -> None:
    clients = RedisClients(redis_server.url)
    broker = RedisBroker(clients)
    before, after = event(), event()
    await broker.publish([before])

    redis_server.restart(keep_data=True)
    await broker.publish([before, after])

    assert [one.event_id for one in kept(clients)] == [before.event_id, after.event_id]
    await clients.aclose()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    excluded=st.one_of(st.just(""), st.from_regex(r"[0-9]{1,20}\.[0-9]{1,20}", fullmatch=True)),
    ids=st.lists(
        st.binary(min_size=16, max_size=16).filter(any), min_size=5, max_size=5, unique=True
    ),
)
def test_what_the_script_assembles_decodes_to_what_was_given(
    clients: RedisClients, frames: list[bytes], excluded: str, ids: list[bytes]
) -> None:
    channel = os.urandom(8).hex()
    messages = [
        Outgoing("1", channel, event_id, frame, excluded)
        for event_id, frame in zip(ids, frames, strict=False)
    ]

    offsets(clients, messages)

    found = [(one.event_id, one.excluded, one.frame) for one in kept(clients, channel)]
    assert found == [(one.event_id, excluded, one.frame) for one in messages]


def _age(clients: RedisClients, *, by_ms: int) -> None:
    """Rewrite the kept envelopes as if they had been published earlier."""
    key = clients.keys.channel("1", "news", "h")
    old: list[bytes] = clients.sync.lrange(key, 0, -1)  # type: ignore[assignment]  # sync reply
    for index, data in enumerate(old):
        time_ms = decode_envelope(data).time_ms - by_ms
        aged = data[:10] + time_ms.to_bytes(8, "big") + data[18:]
        clients.sync.lset(key, index, aged)  # type: ignore[arg-type]  # bytes are fine
    clients.sync.hdel(clients.keys.channel("1", "news", "m"), "u")  # upkeep is due
