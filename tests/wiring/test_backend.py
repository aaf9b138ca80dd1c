"""The backend's side of a process: drivers are opened by name when they are used."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from nacl.secret import SecretBox
from pusher.crypto import encrypt as pusher_encrypt
from pusher.crypto import generate_shared_secret

from broadcaster import current
from broadcaster.contracts.apps import App
from broadcaster.contracts.queue import NewJob
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.history import RedisHistory
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import DriverUnavailable, NotConfigured, UnknownDriver, UnknownJob
from broadcaster.events.broadcast import abroadcast, broadcast
from broadcaster.events.channels import EncryptedPrivateChannel
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow
from broadcaster.jobs.job import Job
from broadcaster.protocol.envelope import decode_envelope
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.settings import BroadcastSettings, EndpointSettings, QueueSettings, Settings
from broadcaster.wiring.backend import Backend, open_backend
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults import FaultyServer

APP = App(id="1", key="k", secret="s")


@dataclass
class Shipped(ShouldBroadcast):
    order: int = 7

    def broadcast_on(self) -> str:
        return "orders"


@dataclass
class ShippedNow(Shipped, ShouldBroadcastNow):
    pass


ran: list[str] = []


class Note(Job, name="tests.wiring.note"):
    text: str

    def handle(self) -> None:
        ran.append(self.text)


def settings(**changes: Any) -> Settings:
    return replace(Settings(app=APP), **changes)


@pytest.fixture
async def backend(clients: RedisClients) -> AsyncIterator[Backend]:
    """A backend on the session's server, and the current application."""
    made = current.configure(settings(redis_url=clients.url, prefix=clients.prefix))
    assert isinstance(made, Backend)
    yield made
    await made.aclose()
    current.reset()


async def ids_in_history(clients: RedisClients) -> list[bytes]:
    kept = await RedisHistory(clients).read("1", "orders")
    return [decode_envelope(raw).event_id for raw in kept]


@pytest.mark.redis
async def test_an_event_for_now_is_in_redis_when_the_verb_returns(
    backend: Backend, clients: RedisClients
) -> None:
    broadcast(ShippedNow())
    await abroadcast(ShippedNow())

    assert len(await ids_in_history(clients)) == 2


KEY = bytes(range(32))
VAULT = "private-encrypted-vault"


def test_what_is_encrypted_can_be_read_with_the_other_librarys_box() -> None:
    backend = open_backend(settings(app=replace(APP, encryption_key=KEY)))

    sealed = backend.encrypt(VAULT, '{"name":"Zoë"}')

    parts = {name: b64decode(text) for name, text in json.loads(sealed).items()}
    box = SecretBox(generate_shared_secret(VAULT.encode(), KEY))
    assert box.decrypt(parts["ciphertext"], parts["nonce"]) == '{"name":"Zoë"}'.encode()
    nonce = parts["nonce"]
    assert json.loads(sealed) == pusher_encrypt(VAULT, '{"name":"Zoë"}', KEY, nonce=nonce)


def test_the_same_data_is_never_encrypted_the_same() -> None:
    backend = open_backend(settings(app=replace(APP, encryption_key=KEY)))

    assert backend.encrypt(VAULT, "{}") != backend.encrypt(VAULT, "{}")


def test_encrypting_without_a_key_names_the_setting() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ENCRYPTION_KEY"):
        open_backend(settings()).encrypt(VAULT, "{}")


def test_encrypting_without_pynacl_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "broadcaster.drivers.secretbox", None)
    backend = open_backend(settings(app=replace(APP, encryption_key=KEY)))

    with pytest.raises(NotConfigured, match=r"broadcaster-server\[crypto\]"):
        backend.encrypt(VAULT, "{}")


@dataclass
class Told(ShouldBroadcast):
    what: str = "the-secret-of-the-vault"

    def broadcast_on(self) -> EncryptedPrivateChannel:
        return EncryptedPrivateChannel("cache-vault")


@dataclass
class ToldNow(Told, ShouldBroadcastNow):
    pass


def everything_in(clients: RedisClients) -> list[Any]:
    """Return every key under the prefix with what it holds."""
    reads: dict[bytes, tuple[Any, ...]] = {
        b"string": ("GET",),
        b"list": ("LRANGE", 0, -1),
        b"hash": ("HGETALL",),
        b"zset": ("ZRANGE", 0, -1),
        b"set": ("SMEMBERS",),
    }

    def ask(command: str, *args: Any) -> Any:
        return clients.sync.execute_command(command, *args)  # type: ignore[no-untyped-call] # redis-py left it so

    found: list[Any] = []
    for key in ask("KEYS", f"{clients.prefix}:*"):
        command, *rest = reads[ask("TYPE", key)]
        found += [key, ask(command, key, *rest)]
    return found


@pytest.mark.redis
async def test_nothing_readable_of_an_encrypted_event_reaches_redis_or_the_log(
    clients: RedisClients, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither history, cached event, queue nor log has the data, its channel's secret or the key."""
    caplog.set_level(logging.DEBUG)
    made = current.configure(
        settings(app=replace(APP, encryption_key=KEY), redis_url=clients.url, prefix=clients.prefix)
    )
    broadcast(Told())
    await abroadcast(ToldNow())

    kept = repr(everything_in(clients)).encode()
    secret = generate_shared_secret(b"private-encrypted-cache-vault", KEY)
    assert kept.count(b"ciphertext") == 3  # in the queue, the history and the cache
    hidden = ("the-secret-of-the-vault", b64encode(secret).decode(), secret.hex())
    assert [one for one in hidden if one in kept.decode()] == []
    assert "the-secret-of-the-vault" not in caplog.text
    await made.aclose()
    current.reset()


@pytest.mark.parametrize("driver", ["log", "null"])
def test_every_driver_is_given_the_encrypted_form_only(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "broadcaster.publish")
    said = BroadcastSettings(driver=driver)  # type: ignore[arg-type] # both are drivers
    current.configure(settings(app=replace(APP, encryption_key=KEY), broadcast=said))

    broadcast(ToldNow())

    assert "the-secret-of-the-vault" not in caplog.text
    assert ("ciphertext" in caplog.text) is (driver == "log")
    current.reset()


@pytest.mark.redis
async def test_an_event_waits_in_the_queue_for_a_worker(
    backend: Backend, clients: RedisClients
) -> None:
    broadcast(Shipped())
    await abroadcast(Shipped())

    queue = RedisQueue(clients)
    assert sum(queue.sizes(lane).ready for lane in queue.queues()) == 2
    assert await ids_in_history(clients) == []


@pytest.mark.redis
def test_verbs_work_without_a_loop_and_in_loops_that_come_and_go(
    redis_url: str, prefix: str
) -> None:
    """Scripts and Django's sync views call asyncio.run again and again."""
    made = current.configure(settings(redis_url=redis_url, prefix=prefix))

    async def script() -> None:
        await abroadcast(ShippedNow())
        await made.aclose()

    broadcast(ShippedNow())
    asyncio.run(script())
    asyncio.run(script())
    broadcast(ShippedNow())

    made.close()
    current.reset()

    async def arrived() -> list[bytes]:
        clients = RedisClients(redis_url, prefix)
        try:
            return await ids_in_history(clients)
        finally:
            await clients.aclose()

    assert len(asyncio.run(arrived())) == 4


@pytest.mark.redis
async def test_a_frozen_server_is_unavailable_and_nothing_is_sent_twice(
    redis_server: FaultyServer,
) -> None:
    """The four ways give up by themselves; what was sent before the thaw arrives once."""
    made = current.configure(settings(redis_url=redis_server.url))
    assert isinstance(made, Backend)
    await abroadcast(ShippedNow())
    broadcast(Shipped())
    redis_server.freeze()

    for send in (ShippedNow, Shipped):
        with pytest.raises(DriverUnavailable):
            broadcast(send())
        with pytest.raises(DriverUnavailable):
            await abroadcast(send())
    redis_server.thaw()
    await abroadcast(ShippedNow())

    ids = await ids_in_history(made.clients)
    assert len(ids) == len(set(ids)) >= 2
    await made.aclose()
    current.reset()


async def test_the_sync_queue_publishes_and_runs_jobs_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = current.configure(
        settings(queue=QueueSettings(driver="sync"), broadcast=BroadcastSettings(driver="log"))
    )
    ran.clear()

    with caplog.at_level(logging.INFO, "broadcaster.publish"):
        broadcast(Shipped())
        await abroadcast(Shipped())
    Note(text="sync").dispatch()
    await Note(text="async").adispatch()

    assert len(caplog.records) == 2
    assert ran == ["sync", "async"]
    await made.aclose()
    current.reset()


def test_each_publication_goes_to_the_driver_it_names(caplog: pytest.LogCaptureFixture) -> None:
    backend = Backend(settings(broadcast=BroadcastSettings(driver="null")))

    with caplog.at_level(logging.INFO, "broadcaster.publish"):
        backend.publisher().publish(
            [make_publication("a"), replace(make_publication("b"), connection="log")]
        )

    assert [record.getMessage() for record in caplog.records] == [
        "App\\Events\\Shipped to b (8 bytes)"
    ]


async def test_the_pusher_driver_is_made_from_the_endpoint() -> None:
    endpoint = EndpointSettings(host="push.example", scheme="https", port=444, path="x")
    backend = Backend(settings(endpoint=endpoint, broadcast=BroadcastSettings(driver="pusher")))

    publisher: Any = backend.driver(None)
    with publisher._used(APP.id) as opened:
        driver = opened.driver

    assert driver._base_url == httpx.URL("https://push.example:444/x")
    same: object = backend.driver("pusher")
    assert same is publisher
    await backend.aclose()
    backend.close()


def test_what_is_missing_is_said_when_it_is_used() -> None:
    backend = open_backend(Settings())

    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ID"):
        _ = backend.app_id
    with pytest.raises(NotConfigured, match="REDIS_URL"):
        _ = backend.queue
    with pytest.raises(NotConfigured, match="REDIS_URL"):
        backend.driver("redis")
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ID"):
        backend.driver("pusher")
    with pytest.raises(UnknownDriver):
        backend.driver("ably")


def test_rules_come_from_the_settings() -> None:
    said = BroadcastSettings(event_namespace="Shop", queue="b", max_data_bytes=5)
    backend = Backend(settings(broadcast=said, queue=QueueSettings(default="d")))

    assert backend.rules.event_namespace == "Shop"
    assert backend.rules.queue == "b"
    assert backend.rules.max_data_bytes == 5
    assert backend.default_queue == "d"


def test_a_job_that_nobody_defined_is_unknown_to_the_sync_queue() -> None:
    backend = Backend(settings(queue=QueueSettings(driver="sync")))
    body = encode_payload(Payload(id="0" * 32, job="nobody.defined", data={}))
    with pytest.raises(UnknownJob):
        backend.queue.push([NewJob("0" * 32, "q", body)])
