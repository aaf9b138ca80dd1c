"""Row 45: queues that are paused from code, on real servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broadcaster import apause_queue, aresume_queue, current, pause_queue, resume_queue
from broadcaster.contracts.queue import NewJob, StepRequest
from broadcaster.drivers.redis.queue import RedisQueue
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.lifecycle import QueuePaused
from broadcaster.protocol.lanes import lane_names
from broadcaster.settings import ConnectionSettings, QueueSettings, Settings
from broadcaster.wiring.operations import open_operations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from broadcaster.contracts.queue_admin import Pause
    from broadcaster.drivers.redis.client import RedisClients

pytestmark = pytest.mark.redis

PARTS = ("mail", *lane_names("mail", 3), "mail#200")
"""A queue, the lanes that it has, and one that it had once."""


@pytest.fixture
async def settings(redis_url: str, prefix: str) -> AsyncIterator[Settings]:
    made = Settings(
        redis_url=redis_url,
        prefix=prefix,
        queue=QueueSettings(lanes=3),
        queues={
            "inline": ConnectionSettings(driver="sync"),
            "safe": ConnectionSettings(driver="failover", connections=("spare", "inline")),
            "spare": ConnectionSettings(),
        },
    )
    application = current.configure(made)
    yield made
    await application.aclose()
    current.reset()


async def free(clients: RedisClients, parts: Sequence[str] = PARTS) -> list[str]:
    """Return the parts that give a job away."""
    queue = RedisQueue(clients)
    found: list[str] = []
    for name in parts:
        await queue.apush([NewJob(f"{len(found):032x}", name, b"{}")])
        reply = await queue.step(StepRequest(queue=name, reserve=1, worker="w"))
        found += [name] * len(reply.reserved)
        if not reply.reserved:
            assert reply.paused
    return found


@pytest.mark.parametrize("in_loop", [True, False])
async def test_row_45_the_verbs_hold_a_queue_with_all_its_lanes(
    settings: Settings, clients: RedisClients, *, in_loop: bool
) -> None:
    await RedisQueue(clients).apush([NewJob("f" * 32, "mail#200", b"{}")])

    if in_loop:
        await apause_queue("mail")
    else:
        await asyncio.to_thread(pause_queue, "mail")

    assert await free(clients) == []
    if in_loop:
        assert await aresume_queue("mail")
        assert not await aresume_queue("mail")
    else:
        assert await asyncio.to_thread(resume_queue, "mail")
        assert not await asyncio.to_thread(resume_queue, "mail")
    assert await free(clients, PARTS[1:]) == list(PARTS[1:])


def seen(settings: Settings, connection: str = "") -> Pause | None:
    """Return the pause of ``mail`` as ``broadcaster queue status`` sees it."""
    operations = open_operations(settings, connection)
    try:
        (mail,) = operations.backlogs(["mail"])
        return mail.pause
    finally:
        operations.close()


def test_row_45_a_pause_of_the_code_is_seen_and_ended_from_the_shell(settings: Settings) -> None:
    pause_queue("mail", for_=600, by="ada")

    pause = seen(settings)
    assert pause is not None
    assert pause.until is not None
    assert pause.by == "ada"
    assert pause.until - pause.since == pytest.approx(600, abs=0.01)


def test_row_45_a_pause_of_a_lane_leaves_the_queue_alone(settings: Settings) -> None:
    pause_queue("mail#1")

    assert seen(settings) is None
    assert resume_queue("mail")


def test_a_failover_connection_is_paused_where_its_workers_take_jobs(
    settings: Settings,
) -> None:
    told: list[str] = []

    def note(event: QueuePaused) -> None:
        told.append(event.connection_name)

    remove = lifecycle_listeners.add(QueuePaused, note)
    pause_queue("mail", connection="safe")
    remove()

    assert told == ["spare"]
    assert seen(settings, "spare") is not None


@pytest.mark.parametrize(
    ("connection", "said"), [("inline", "in which no job waits"), ("spar", "did you mean 'spare'")]
)
async def test_what_has_no_queue_to_pause_is_refused(
    settings: Settings, connection: str, said: str
) -> None:
    calls: Sequence[Callable[..., object]] = (pause_queue, resume_queue)
    for call in calls:
        with pytest.raises(ConfigurationError, match=said):
            call("mail", connection=connection)
    with pytest.raises(ConfigurationError, match=said):
        await apause_queue("mail", connection=connection)


def test_pausing_needs_a_server() -> None:
    current.configure(Settings())
    try:
        with pytest.raises(NotConfigured):
            pause_queue("mail")
    finally:
        current.reset()
