from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis import resp
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.pubsub import RedisSubscriptions, pause_before_retry
from tests.polling import eventually
from tests.tls import self_signed, tls_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.faults import FaultyServer


class Recorder:
    """A listener that keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.messages: list[tuple[bytes, bytes]] = []
        self.acknowledged: list[bytes] = []
        self.fails = False

    def message_received(self, topic: bytes, data: bytes) -> None:
        self.messages.append((topic, data))
        if self.fails:
            raise RuntimeError("a listener must not, but did")

    def subscribed(self, topic: bytes) -> None:
        self.heard.append(f"subscribed {topic.decode()}")
        self.acknowledged.append(topic)

    def connection_lost(self) -> None:
        self.heard.append("lost")

    def connection_made(self) -> None:
        self.heard.append("made")


@asynccontextmanager
async def listening(
    clients: RedisClients, recorder: Recorder, **options: float
) -> AsyncIterator[RedisSubscriptions]:
    """Run subscriptions beside the test, and end them with it."""
    subscriptions = RedisSubscriptions(clients, recorder, **options)  # type: ignore[arg-type]  # `batch` is an int
    task = asyncio.create_task(subscriptions.run())
    try:
        yield subscriptions
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def a_tick() -> None:
    """Let the loop run what is scheduled, so that what has changed is sent."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_a_wanted_topic_is_acknowledged_and_then_heard(
    clients: RedisClients, recorder: Recorder
) -> None:
    topic = clients.keys.topic("1", "news")
    async with listening(clients, recorder) as subscriptions:
        subscriptions.want(topic)
        await eventually(lambda: topic in recorder.acknowledged)

        await clients.aio.publish(topic, b"hello")

        await eventually(lambda: recorder.messages == [(topic, b"hello")])
        assert recorder.heard == ["made", f"subscribed {topic.decode()}"]
        assert subscriptions.connected
        assert list(subscriptions.wanted()) == [topic]


async def test_what_was_wanted_before_the_connection_stood_is_subscribed(
    clients: RedisClients, recorder: Recorder
) -> None:
    subscriptions = RedisSubscriptions(clients, recorder)
    subscriptions.want(b"kept")
    subscriptions.want(b"dropped")
    subscriptions.forget(b"dropped")
    task = asyncio.create_task(subscriptions.run())

    await eventually(lambda: recorder.acknowledged == [b"kept"])

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not subscriptions.connected


async def test_a_forgotten_topic_is_heard_no_more(
    clients: RedisClients, recorder: Recorder, prefix: str
) -> None:
    gone, here = f"{prefix}gone".encode(), f"{prefix}here".encode()
    async with listening(clients, recorder) as subscriptions:
        subscriptions.want(gone)
        subscriptions.want(here)
        await eventually(lambda: len(recorder.acknowledged) == 2)

        subscriptions.forget(gone)
        await clients.aio.publish(gone, b"1")
        await clients.aio.publish(here, b"2")

        await eventually(lambda: recorder.messages)
        assert recorder.messages == [(here, b"2")]
        await eventually(lambda: _subscribers(clients, gone) == 0)


async def test_a_topic_forgotten_and_wanted_again_in_one_tick_is_acknowledged_again(
    clients: RedisClients, recorder: Recorder, prefix: str
) -> None:
    topic = prefix.encode()
    async with listening(clients, recorder) as subscriptions:
        subscriptions.want(topic)
        await eventually(lambda: recorder.acknowledged == [topic])

        subscriptions.forget(topic)
        subscriptions.want(topic)

        await eventually(lambda: recorder.acknowledged == [topic, topic])
        await clients.aio.publish(topic, b"still here")
        await eventually(lambda: recorder.messages == [(topic, b"still here")])


async def test_only_the_last_of_several_quick_wishes_is_acknowledged(
    redis_server: FaultyServer, recorder: Recorder
) -> None:
    clients = RedisClients(redis_server.url)
    async with listening(clients, recorder) as subscriptions:
        await eventually(lambda: subscriptions.connected)
        redis_server.freeze()  # so that every answer comes after every wish
        for _ in range(5):
            subscriptions.want(b"topic")
            await a_tick()
            subscriptions.forget(b"topic")
            await a_tick()
        subscriptions.want(b"topic")
        await a_tick()
        subscriptions.want(b"other")

        redis_server.thaw()

        await eventually(lambda: b"other" in recorder.acknowledged)
        assert recorder.acknowledged == [b"topic", b"other"]
        assert recorder.heard.count("lost") == 0
    await clients.aclose()


async def test_a_topic_forgotten_while_its_answer_is_due_is_not_acknowledged(
    redis_server: FaultyServer, recorder: Recorder
) -> None:
    clients = RedisClients(redis_server.url)
    async with listening(clients, recorder) as subscriptions:
        await eventually(lambda: subscriptions.connected)
        redis_server.freeze()
        subscriptions.want(b"topic")
        await a_tick()
        subscriptions.forget(b"topic")
        subscriptions.want(b"other")

        redis_server.thaw()

        await eventually(lambda: b"other" in recorder.acknowledged)
        assert recorder.acknowledged == [b"other"]
    await clients.aclose()


async def test_a_thousand_topics_of_one_tick_are_few_commands(
    clients: RedisClients, recorder: Recorder, prefix: str
) -> None:
    topics = [f"{prefix}{number}".encode() for number in range(1_000)]
    before = await _calls(clients, "subscribe")
    async with listening(clients, recorder, batch=300) as subscriptions:
        await eventually(lambda: subscriptions.connected)
        for topic in topics:
            subscriptions.want(topic)

        await eventually(lambda: len(recorder.acknowledged) == 1_000)

        assert recorder.acknowledged == topics
        assert await _calls(clients, "subscribe") - before == 4


async def test_ten_thousand_messages_keep_their_order(
    clients: RedisClients, recorder: Recorder, prefix: str
) -> None:
    topics = [f"{prefix}{number}".encode() for number in range(4)]
    async with listening(clients, recorder) as subscriptions:
        for topic in topics:
            subscriptions.want(topic)
        await eventually(lambda: len(recorder.acknowledged) == 4)

        for start in range(0, 10_000, 500):
            pipeline = clients.aio.pipeline(transaction=False)
            for number in range(start, start + 500):
                pipeline.publish(topics[number % 4], str(number))
            await pipeline.execute()

        await eventually(lambda: len(recorder.messages) == 10_000)
        assert [int(data) for _, data in recorder.messages] == list(range(10_000))


async def test_a_listener_that_raises_stops_neither_messages_nor_the_connection(
    clients: RedisClients, recorder: Recorder, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = prefix.encode()
    recorder.fails = True
    async with listening(clients, recorder) as subscriptions:
        subscriptions.want(topic)
        await eventually(lambda: recorder.acknowledged)

        await clients.aio.publish(topic, b"1")
        await clients.aio.publish(topic, b"2")

        await eventually(lambda: len(recorder.messages) == 2)
        assert subscriptions.connected
        assert "listener failed" in caplog.text


async def test_without_hiredis_everything_is_the_same(
    clients: RedisClients, recorder: Recorder, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "_fast_reader", None)
    topic = prefix.encode()
    async with listening(clients, recorder, ping_seconds=0.02) as subscriptions:
        subscriptions.want(topic)
        await eventually(lambda: recorder.acknowledged == [topic])

        await clients.aio.publish(topic, b"\r\n$5\r\n\x00\xff")

        await eventually(lambda: recorder.messages == [(topic, b"\r\n$5\r\n\x00\xff")])
        assert recorder.heard.count("lost") == 0


async def test_after_a_restart_of_redis_every_topic_is_acknowledged_again(
    redis_server: FaultyServer, recorder: Recorder
) -> None:
    clients = RedisClients(redis_server.url)
    async with listening(clients, recorder) as subscriptions:
        for number in range(20):
            subscriptions.want(b"%d" % number)
        await eventually(lambda: len(recorder.acknowledged) == 20)

        redis_server.stop()
        await eventually(lambda: not subscriptions.connected)
        subscriptions.want(b"wanted while down")
        subscriptions.forget(b"0")
        redis_server.start()

        await eventually(lambda: b"wanted while down" in recorder.acknowledged)
        assert recorder.heard.count("lost") == 1
        again = recorder.acknowledged[20:]
        assert set(again) == {b"wanted while down", *(b"%d" % n for n in range(1, 20))}
        assert len(again) == 20
    await clients.aclose()


async def test_a_frozen_redis_is_found_by_ping_and_rejoined_after_the_thaw(
    redis_server: FaultyServer, recorder: Recorder
) -> None:
    clients = RedisClients(redis_server.url)
    async with listening(clients, recorder, ping_seconds=0.1, pong_seconds=1.0) as subscriptions:
        subscriptions.want(b"topic")
        await eventually(lambda: recorder.acknowledged == [b"topic"])

        redis_server.freeze()
        await eventually(lambda: recorder.heard[-1] == "lost")
        assert not subscriptions.connected
        redis_server.thaw()

        await eventually(lambda: recorder.acknowledged == [b"topic", b"topic"])
        await clients.aio.publish("topic", b"after")
        await eventually(lambda: recorder.messages == [(b"topic", b"after")])
    await clients.aclose()


async def test_a_peer_that_speaks_something_else_is_left_and_tried_again(
    tmp_path: Path, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    visits: list[int] = []

    async def http_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(http_server, tmp_path / "s")
    clients = RedisClients(f"unix://{tmp_path}/s")
    async with listening(clients, recorder) as subscriptions:
        await eventually(lambda: len(visits) >= 2)

        assert not subscriptions.connected
    assert recorder.heard == []
    assert caplog.text.count("cannot be used") == 1, "one line for one cause, not for each attempt"
    server.close()
    await clients.aclose()


async def test_wrong_credentials_are_named_in_the_log_without_the_password(
    redis_server: FaultyServer, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url.replace("unix://", "unix://nobody:hunter2@")
    clients = RedisClients(url)
    async with listening(clients, recorder):
        await eventually(lambda: "WRONGPASS" in caplog.text)

    assert recorder.heard == []
    assert "hunter2" not in caplog.text
    await clients.aclose()


async def test_credentials_and_database_of_the_url_are_used(
    redis_server: FaultyServer, recorder: Recorder
) -> None:
    admin = RedisClients(redis_server.url)
    await admin.aio.config_set("requirepass", "hunter2")
    url = redis_server.url.replace("unix://", "unix://:hunter2@").replace("db=0", "db=3")
    clients = RedisClients(url)
    async with listening(clients, recorder) as subscriptions:
        subscriptions.want(b"topic")
        await eventually(lambda: recorder.acknowledged == [b"topic"])

        rows = await clients.aio.client_list(_type="pubsub")
        assert [(row["name"], row["db"]) for row in rows] == [("broadcaster-pubsub", "3")]
    await clients.aclose()
    await admin.aclose()


async def test_tls_is_spoken_where_the_url_says_so(
    redis_url: str, recorder: Recorder, prefix: str, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    path = redis_url.removeprefix("unix://").partition("?")[0]
    async with tls_proxy(path, certificate) as port:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate.cert}"
        clients = RedisClients(url, prefix)
        async with listening(clients, recorder) as subscriptions:
            subscriptions.want(prefix.encode())
            await eventually(lambda: recorder.acknowledged == [prefix.encode()])

            await clients.aio.publish(prefix, b"over TLS")

            await eventually(lambda: recorder.messages == [(prefix.encode(), b"over TLS")])
        await clients.aclose()


async def test_a_certificate_nobody_vouches_for_is_refused(
    redis_url: str, recorder: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = redis_url.removeprefix("unix://").partition("?")[0]
    async with tls_proxy(path, self_signed(tmp_path)) as port:
        clients = RedisClients(f"rediss://localhost:{port}/0")
        async with listening(clients, recorder):
            await eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        await clients.aclose()

    assert recorder.heard == []


def test_pauses_double_up_to_a_second_and_are_spread_by_chance() -> None:
    assert [pause_before_retry(failures, 0.0) for failures in range(6)] == [
        0.05,
        0.1,
        0.2,
        0.4,
        0.8,
        1.0,
    ]
    assert pause_before_retry(100, 0.5) == 0.75
    assert pause_before_retry(0, 0.999) >= 0.025


def _subscribers(clients: RedisClients, topic: bytes) -> int:
    rows: list[tuple[bytes, int]] = clients.sync.pubsub_numsub(topic)  # type: ignore[assignment]  # sync reply
    return rows[0][1]


async def _calls(clients: RedisClients, command: str) -> int:
    stats = await clients.aio.info("commandstats")
    found: dict[str, int] = stats.get(f"cmdstat_{command}", {"calls": 0})
    return found["calls"]


async def test_a_connection_whose_greeting_is_cancelled_is_closed(
    tmp_path: Path, recorder: Recorder
) -> None:
    greeted, closed = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        while await reader.read(1_000):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_unix_server(mute, tmp_path / "s")
    subscriptions = RedisSubscriptions(RedisClients(f"unix://{tmp_path}/s"), recorder)
    task = asyncio.create_task(subscriptions.run())
    await greeted.wait()
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(10):
        await closed.wait()
    server.close()
