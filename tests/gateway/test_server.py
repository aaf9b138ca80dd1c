"""How a gateway stops, and several processes on one port: with real processes and signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from starlette.applications import Starlette

from broadcaster.errors import ConfigurationError
from broadcaster.gateway.server import GatewayServer, bind
from broadcaster.testing.client import connected
from tests.gateway.processes import serve_process
from tests.gateway.world import APP
from tests.polling import eventually

if TYPE_CHECKING:
    from broadcaster.testing.client import PusherClient
    from tests.gateway.conftest import StartGateway
    from tests.gateway.processes import ServeProcess


async def clients_of(stack: AsyncExitStack, port: int, count: int) -> list[PusherClient]:
    return [
        await stack.enter_async_context(connected(f"ws://127.0.0.1:{port}", APP))
        for _ in range(count)
    ]


async def exit_code(served: ServeProcess) -> int:
    return await asyncio.wait_for(served.process.wait(), 20)


@pytest.mark.process
async def test_a_stop_sends_clients_away_over_time_and_ends_with_code_0(
    redis_url: str, prefix: str
) -> None:
    drain = 2.0
    async with (
        serve_process(redis_url, prefix, "--drain", str(drain)) as served,
        AsyncExitStack() as stack,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as http,
    ):
        clients = await clients_of(stack, served.port, 40)
        times: list[float] = []

        async def watch(client: PusherClient) -> tuple[int, str]:
            closed = await client.wait_closed(within=20)
            times.append(time.monotonic())
            return closed

        watching = asyncio.gather(*(watch(client) for client in clients))
        served.process.send_signal(signal.SIGTERM)
        await eventually(lambda: times)
        ready = await http.get("/ready")
        async with connected(f"ws://127.0.0.1:{served.port}", APP, established=False) as newcomer:
            refused = await newcomer.wait_closed()
        closes = await watching
        code = await exit_code(served)

    assert code == 0
    assert ready.status_code == 503
    assert "draining" in ready.text
    assert refused[0] == 4100
    assert {close[0] for close in closes} == {4200}
    # Spread, not at once; far below the two seconds that it takes on an idle machine.
    assert max(times) - min(times) > drain / 8


@pytest.mark.process
async def test_a_second_signal_does_not_wait(redis_url: str, prefix: str) -> None:
    async with (
        serve_process(redis_url, prefix, "--drain", "600") as served,
        AsyncExitStack() as stack,
    ):
        clients = await clients_of(stack, served.port, 2)
        served.process.send_signal(signal.SIGTERM)
        await eventually(lambda: any(client.closed for client in clients))
        served.process.send_signal(signal.SIGTERM)
        code = await exit_code(served)
        closes = [await client.wait_closed() for client in clients]

    assert code == 0
    assert {close[0] for close in closes} == {4200}


@pytest.mark.process
async def test_without_clients_a_stop_takes_no_drain_time(redis_url: str, prefix: str) -> None:
    async with serve_process(redis_url, prefix, "--drain", "600") as served:
        served.process.send_signal(signal.SIGINT)

        assert await exit_code(served) == 0


@pytest.mark.process
async def test_workers_share_a_port_and_each_is_a_node(redis_url: str, prefix: str) -> None:
    async with (
        serve_process(redis_url, prefix, "--workers", "2", "--drain", "0") as served,
        AsyncExitStack() as stack,
    ):
        workers = [
            child.pid
            for child in psutil.Process(served.pid).children(recursive=True)
            if "--shared-port" in child.cmdline()
        ]
        await eventually(lambda: all(connections_of(pid, served.port) >= 0 for pid in workers))
        clients: list[PusherClient] = []
        # The kernel deals connections out by a hash, so both workers have one soon.
        while len(clients) < 100 and not all(connections_of(pid, served.port) for pid in workers):
            clients += await clients_of(stack, served.port, 4)
        held = [connections_of(pid, served.port) for pid in workers]
        for client in clients:
            await client.subscribe("presence-room", {"user_id": client.socket_id})
        newest = await clients_of(stack, served.port, 1)
        success = await newest[0].subscribe("presence-room", {"user_id": "last"})
        await clients[0].subscribe("private-room")
        await clients[-1].subscribe("private-room")
        await clients[0].whisper("private-room", "hello", "there")
        await clients[-1].next("client-hello")

        served.process.send_signal(signal.SIGTERM)
        code = await exit_code(served)

    assert len(workers) == 2
    assert all(held)
    assert success is not None
    assert success.data["presence"]["count"] == len(clients) + 1
    assert code == 0
    assert not any(psutil.pid_exists(pid) for pid in workers)


def connections_of(pid: int, port: int) -> int:
    """How many clients a process holds on `port`."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
        for connection in psutil.Process(pid).net_connections("tcp")
    )


async def test_readiness_ends_before_the_last_client_is_sent_away(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(drain=0.5)
    async with gateway.connect() as first, gateway.connect() as second:
        assert await gateway.is_ready()
        gateway.server.should_exit = True
        await eventually(lambda: first.closed or second.closed)
        ready = await gateway.http.get("/ready")
        up = await gateway.http.get("/up")
        await first.wait_closed()
        await second.wait_closed()

    assert (ready.status_code, up.status_code) == (503, 200)


# -- binding --------------------------------------------------------------------------


def test_a_listener_reports_slow_readers_early() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
        assert not listener.getblocking()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_said_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port}: .*--port"):
            bind("127.0.0.1", port)


async def test_of_two_that_bound_at_once_only_one_serves(start_gateway: StartGateway) -> None:
    """Both may bind before either listens, and an event loop may say nothing when it fails."""
    node = (await start_gateway()).node
    with bind("127.0.0.1", 0) as first:
        host, port = first.getsockname()
        with bind(host, port) as second:
            first.listen()
            server = GatewayServer(node, Starlette(), second, drain_seconds=0)

            with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
                await server.run_until_stopped()


def test_processes_of_ours_share_a_port() -> None:
    with bind("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port, shared=True) as second:
            assert second.getsockname()[1] == port


def test_a_host_that_does_not_exist_is_said() -> None:
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        bind("203.0.113.1", 0)
