"""The health endpoint of a worker (row 59)."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from broadcaster.worker.health import (
    MAX_OPEN,
    REQUEST_SECONDS,
    STALE_SECONDS,
    answer,
    serving_health,
)
from tests.polling import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.worker_world import WorkerWorld

pytestmark = pytest.mark.redis


async def ask(socket: Path, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.request(method, f"http://worker{path}")


async def test_a_worker_says_that_it_is_well_and_ready_row_59(
    world: WorkerWorld, tmp_path: Path
) -> None:
    socket = tmp_path / "health"
    async with world.running() as worker, serving_health(worker, 0, str(socket)):
        well, ready = await ask(socket, "/healthz"), await ask(socket, "/ready?x=1")
        assert (well.status_code, ready.status_code) == (200, 200)
        assert well.json()["ok"] is True
        assert well.json()["worker"] == worker.name

        worker.pause()
        paused = await ask(socket, "/ready")
        assert (paused.status_code, paused.json()["state"]) == (503, "paused")
        assert (await ask(socket, "/healthz")).status_code == 200

        assert (await ask(socket, "/nothing")).status_code == 404
        assert (await ask(socket, "/healthz", "POST")).status_code == 405
        assert (await ask(socket, "/healthz", "HEAD")).content == b""


async def test_a_worker_whose_loop_does_not_come_round_is_not_well(world: WorkerWorld) -> None:
    worker = world.worker()

    status, facts = answer(worker, "GET", "/healthz", worker.ticked + STALE_SECONDS + 1)

    assert (status, facts["ok"]) == (503, False)
    assert facts["tick_age"] == pytest.approx(STALE_SECONDS + 1)


async def test_a_worker_that_cannot_reach_its_queue_is_not_ready(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.worker()
    monkeypatch.setattr(type(worker), "away", 3.0)

    assert answer(worker, "GET", "/ready", worker.ticked)[0] == 503
    assert answer(worker, "GET", "/healthz", worker.ticked)[0] == 200


async def test_the_endpoint_is_there_on_a_port_of_this_machine(world: WorkerWorld) -> None:
    probe = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()

    async with (
        world.running() as worker,
        serving_health(worker, port, ""),
        httpx.AsyncClient() as client,
    ):
        response = await client.get(f"http://127.0.0.1:{port}/healthz")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", b"x" * 20_000, b"GET /healthz HTTP/1.1\r\n"])
async def test_who_asks_badly_gets_no_answer_and_does_no_harm(
    world: WorkerWorld, tmp_path: Path, sent: bytes
) -> None:
    socket = tmp_path / "health"
    async with world.running() as worker, serving_health(worker, 0, str(socket)):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(10):
            got = await reader.read()
        writer.close()
        assert b"200 OK" not in got
        assert (await ask(socket, "/healthz")).status_code == 200


async def test_connections_that_say_nothing_keep_no_probe_waiting(
    world: WorkerWorld, tmp_path: Path
) -> None:
    socket = tmp_path / "health"
    async with world.running() as worker, serving_health(worker, 0, str(socket)):
        silent = [await asyncio.open_unix_connection(socket) for _ in range(3 * MAX_OPEN)]
        (oldest, _), (newest, _) = silent[0], silent[-1]

        assert (await ask(socket, "/healthz")).status_code == 200
        async with asyncio.timeout(REQUEST_SECONDS - 1):  # not because its time is over
            with suppress(ConnectionError):
                assert await oldest.read() == b""
        assert not newest.at_eof()
    with suppress(ConnectionError):
        assert await newest.read() == b"", "the end of the worker is that of all"
    for _, writer in silent:
        writer.close()


async def test_the_loop_ticks_while_a_worker_is_idle(world: WorkerWorld) -> None:
    async with world.running(sleep=0.05) as worker:
        first = worker.ticked
        await eventually(lambda: worker.ticked > first)

    assert worker.ticked <= time.monotonic()
