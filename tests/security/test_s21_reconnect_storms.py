"""S21: clients that come back all at once. Who sends them away spreads them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from broadcaster.gateway.keepalive import RENEWALS_A_LOOK, SWEEP_SECONDS
from broadcaster.protocol import close_codes
from broadcaster.protocol.close_codes import Reaction, reaction_to
from tests.gateway.world import APP
from tests.security.raw import raw_websocket

if TYPE_CHECKING:
    from tests.gateway.conftest import StartGateway


async def test_s21_a_stop_sends_clients_away_over_its_whole_time(
    start_gateway: StartGateway,
) -> None:
    """4200 brings a stock client back at once, without jitter."""
    gateway = await start_gateway(drain=1.0)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(gateway.connect()) for _ in range(20)]
        gateway.server.should_exit = True

        async def closed_at(index: int) -> float:
            await clients[index].wait_closed()
            return loop.time()

        times = sorted(await asyncio.gather(*map(closed_at, range(20))))

    assert {client.closed for client in clients} == {
        (4200, "Server is going away: reconnect at once")
    }
    assert times[-1] - times[0] > 0.4


async def test_s21_who_comes_while_it_stops_is_told_to_wait(start_gateway: StartGateway) -> None:
    """4100, after an accepted handshake: back after a second, and not in the dark for 15."""
    gateway = await start_gateway()
    gateway.node.draining = True

    async with raw_websocket(gateway) as client:
        assert client.got.startswith(b"HTTP/1.1 101")
        assert await client.close_code() == 4100
    gateway.node.draining = False


async def test_s21_a_full_server_is_no_4200_loop(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(app=replace(APP, limits=replace(APP.limits, max_connections=1)))
    async with gateway.connect(), raw_websocket(gateway) as refused:
        code = await refused.close_code()

    assert code is not None
    assert reaction_to(code) is Reaction.RETRY_LATER


def test_s21_what_is_closed_with_4200_is_closed_a_few_at_a_time() -> None:
    """Two looks a second, each of so many: a fleet is renewed in minutes, not at once."""
    assert RENEWALS_A_LOOK / SWEEP_SECONDS <= 100
    at_once = {code.name for code in close_codes.CLOSE_CODES if code.reaction is Reaction.RETRY_NOW}
    # Paced by the drain, paced by the sweep, and one that is about one silent client.
    assert at_once == {"reconnect", "renew", "pong_missing"}
