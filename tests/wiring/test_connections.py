"""Rows 16 and 46: queue connections by name, on real servers."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from broadcaster import Job, batch, chain, current
from broadcaster.drivers.null import NullQueue
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import NotConfigured, NotReplicated
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import QueueFailedOver
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.settings import ConnectionSettings, QueueSettings, Settings, WorkerSettings
from broadcaster.wiring.connections import QueueConnections
from broadcaster.wiring.worker import open_worker
from broadcaster.wiring.worker_options import worker_options
from tests.polling import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.contracts.queue import Queue
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.sync import InlineRunner

from broadcaster.contracts.queue import NewJob

AWAY = "redis://127.0.0.1:1/0"


class Never:
    """An inline runner that is not to be asked."""


@pytest.fixture
def opened(
    clients: RedisClients, redis_url: str, prefix: str
) -> Iterator[Callable[..., QueueConnections]]:
    made: list[QueueConnections] = []

    def make(queue: QueueSettings | None = None, **queues: ConnectionSettings) -> QueueConnections:
        settings = Settings(
            redis_url=redis_url, prefix=prefix, queue=queue or QueueSettings(), queues=queues
        )
        made.append(QueueConnections(settings, lambda: clients, cast("InlineRunner", Never())))
        return made[-1]

    yield make
    for each in made:
        each.close()


def new_job(queue: str = "default") -> NewJob:
    payload = Payload(id=uuid.uuid4().hex, job="mail.Send")
    return NewJob(payload.id, queue, encode_payload(payload))


def ready(queue: Queue, name: str = "default") -> int:
    return queue.sizes(name).ready


def test_the_default_connection_is_the_one_of_the_queue_settings(
    opened: Callable[..., QueueConnections],
) -> None:
    connections = opened(QueueSettings(default="jobs", after_commit=True))

    found = connections.find()

    assert (found.name, found.default_queue, found.after_commit) == ("default", "jobs", True)
    assert isinstance(found.queue, RedisQueue)
    assert connections.find("default") is found


def test_row_16_a_connection_has_a_server_and_a_default_queue_of_its_own(
    opened: Callable[..., QueueConnections], redis_url: str
) -> None:
    other = redis_url.replace("db=0", "db=1")
    connections = opened(long=ConnectionSettings(redis_url=other, default="long-running"))

    found = connections.find("long")
    found.queue.push([new_job()])

    assert (found.default_queue, ready(found.queue)) == ("long-running", 1)
    assert ready(connections.find().queue) == 0


def test_a_connection_without_a_server_of_its_own_shares_the_default_one(
    opened: Callable[..., QueueConnections],
) -> None:
    connections = opened(long=ConnectionSettings())

    connections.find("long").queue.push([new_job()])

    assert ready(connections.find().queue) == 1


def test_a_name_that_there_is_not_is_refused(opened: Callable[..., QueueConnections]) -> None:
    with pytest.raises(NotConfigured, match="'lnog' - did you mean 'long'"):
        opened(long=ConnectionSettings()).find("lnog")


def test_a_connection_may_forget_everything(opened: Callable[..., QueueConnections]) -> None:
    connections = opened(off=ConnectionSettings(driver="null"))

    assert isinstance(connections.find("off").queue, NullQueue)


def test_row_46_jobs_are_spilled_when_the_preferred_server_is_away(
    opened: Callable[..., QueueConnections],
) -> None:
    connections = opened(
        QueueSettings(driver="failover", connections=("main", "spare")),
        main=ConnectionSettings(redis_url=AWAY),
        spare=ConnectionSettings(),
    )
    told: list[QueueFailedOver] = []
    remove = lifecycle_listeners.add(QueueFailedOver, told.append)

    connections.find().queue.push([new_job(), new_job()])
    connections.find().queue.push([new_job()])
    remove()

    assert ready(connections.find("spare").queue) == 3
    (event,) = told
    assert (event.connection_name, event.command) == ("main", "mail.Send")


def test_what_is_queued_on_too_few_servers_is_said_and_spilled_nowhere(
    opened: Callable[..., QueueConnections],
) -> None:
    connections = opened(
        QueueSettings(driver="failover", connections=("main", "spare")),
        main=ConnectionSettings(replicas=1),
        spare=ConnectionSettings(default="spilled"),
    )

    with pytest.raises(NotReplicated):
        connections.find().queue.push([new_job()])

    assert ready(connections.find("main").queue) == 1
    connections.find("spare").queue.push([new_job()])  # asks for no replica
    assert ready(connections.find("spare").queue) == 2


@pytest.mark.parametrize(("preferred", "has"), [("main", True), ("celery", False)])
def test_a_connection_that_falls_back_has_batches_if_the_preferred_one_has(
    opened: Callable[..., QueueConnections], preferred: str, *, has: bool
) -> None:
    pytest.importorskip("celery")
    celery = ConnectionSettings(driver="celery", celery_app="tests.integrations.test_celery:app")
    connections = opened(
        QueueSettings(driver="failover", connections=(preferred,)),
        main=ConnectionSettings(),
        celery=celery,
    )

    assert [connections.find(each).has_batches for each in (None, "main", "celery")] == [
        has,
        True,
        False,
    ]


async def test_connections_to_servers_of_their_own_are_closed(
    opened: Callable[..., QueueConnections], clients: RedisClients, redis_url: str
) -> None:
    other = redis_url.replace("db=0", "db=2")
    connections = opened(long=ConnectionSettings(redis_url=other))
    queue, server = connections.find("long").queue, connections.server(other)
    await queue.apush([new_job()])
    await asyncio.to_thread(queue.push, [new_job()])
    numbers: tuple[Any, ...] = (
        await server.aio.client_id(),
        await asyncio.to_thread(server.sync.client_id),
    )

    async def connected() -> set[int]:
        found: Any = await clients.aio.client_list()
        return {int(one["id"]) for one in found} & set(numbers)

    async def gone() -> bool:
        return not await connected()

    assert await connected() == set(numbers)
    await connections.aclose()

    await eventually_async(gone)


class Note(Job, name="tests.connections.Note", connection="long"):
    text: str

    def handle(self) -> None:
        noted.append(self.text)


noted: list[str] = []


async def test_row_16_a_worker_of_a_connection_runs_its_jobs(redis_url: str, prefix: str) -> None:
    noted.clear()
    elsewhere = redis_url.replace("db=0", "db=3")
    settings = Settings(
        redis_url=redis_url,
        prefix=prefix,
        queues={"long": ConnectionSettings(redis_url=elsewhere, default="slow")},
    )
    current.configure(settings)
    await Note(text="for long").adispatch()
    await Note(text="for default").adispatch(connection="default")
    await current.application().aclose()
    said = WorkerSettings(connection="long", stop_when_empty=True)
    opened = open_worker(settings, worker_options(settings, said))

    async with asyncio.timeout(30):
        await opened.worker.run()
    await opened.aclose()
    current.reset()

    assert noted == ["for long"]


@pytest.mark.parametrize(("driver", "shared"), [("redis", True), ("sync", True), ("sync", False)])
async def test_a_batch_on_a_server_of_its_own_is_found_and_finished(
    redis_url: str, prefix: str, driver: Literal["redis", "sync"], *, shared: bool
) -> None:
    """Whoever asks for a batch does not know which connection its jobs are on."""
    noted.clear()
    elsewhere = redis_url.replace("db=0", "db=3")
    settings = Settings(
        redis_url=redis_url if shared else None,
        prefix=prefix,
        queue=QueueSettings(driver=driver),
        queues={"long": ConnectionSettings(redis_url=elsewhere, default="slow")},
    )
    current.configure(settings)
    parts = batch([Note(text="a"), Note(text="b")]).then(Note(text="then"))
    await chain([Note(text="first"), parts, Note(text="last")]).adispatch()
    await current.application().aclose()
    said = WorkerSettings(connection="long")
    opened = open_worker(settings, worker_options(settings, said))
    running = asyncio.create_task(opened.worker.run())

    await eventually(lambda: {"then", "last"} <= set(noted))

    (record,) = await asyncio.to_thread(current.application().batches.newest)
    opened.worker.stop()
    async with asyncio.timeout(30):
        await running
    await opened.aclose()
    current.reset()
    assert (record.total, record.pending, record.finished) == (2, 0, True)
