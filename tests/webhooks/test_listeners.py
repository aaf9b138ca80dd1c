"""From a fact to the functions of a real worker."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.gateway.processes import environment
from tests.polling import eventually
from tests.webhooks.webhook_world import APP, WebhookWorld, fact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.redis

LISTENERS = """
import os
from broadcaster import MemberAdded, ClientEventReceived, listen

def note(text):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(text + "\\n")

@listen(MemberAdded, tries=3)
def fails_at_first(event: MemberAdded) -> None:
    note(f"failing {event.user_id}")
    with open(os.environ["NOTES"]) as notes:
        if notes.read().count("failing") < 3:
            raise RuntimeError("not yet")

@listen(MemberAdded, ClientEventReceived)
async def works(event) -> None:
    note(f"{type(event).__name__} {event.channel}")
"""


@pytest.fixture
async def notes(redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Path]:
    """Run ``broadcaster work`` with listeners that write into this file."""
    (tmp_path / "listeners_of_this_test.py").write_text(LISTENERS, encoding="utf-8")
    file = tmp_path / "notes"
    file.touch()
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broadcaster", "work", "listeners_of_this_test"),
        cwd=tmp_path,
        env=environment(
            redis_url,
            prefix,
            NOTES=str(file),
            BROADCASTER_APP__SERVER_EVENTS="true",
            PYTHONPATH=os.pathsep.join([root, f"{root}/auth"]),
        ),
    )
    try:
        yield file
    finally:
        process.terminate()
        await process.wait()


async def test_each_listener_runs_and_is_retried_by_itself(
    world: WebhookWorld, notes: Path
) -> None:
    from dataclasses import replace

    async with world.service(app=replace(APP, server_events=True)):
        await world.put(fact("presence-a", "member_added", user_id="7"))
        await world.put(
            fact("presence-a", "client_event", event="client-x", data="", socket_id="1.2")
        )
        await eventually(lambda: notes.read_text().count("failing 7") == 3, within=30)
        await eventually(lambda: notes.read_text().count("\n") == 5, within=30)

    lines = await asyncio.to_thread(lambda: notes.read_text().splitlines())
    assert lines.count("MemberAdded presence-a") == 1
    assert lines.count("ClientEventReceived presence-a") == 1


async def test_without_server_events_no_job_is_made_for_listeners(world: WebhookWorld) -> None:
    async with world.service(app=APP):
        await world.put(fact())
        await world.nothing_waits()

    sizes = await world.sizes("default")
    assert sizes.ready == sizes.delayed == sizes.held == 0
