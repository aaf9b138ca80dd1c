"""The sweep over connections, under a clock of the test's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from broadcaster.gateway.connection import CLOSE_SECONDS
from broadcaster.gateway.keepalive import (
    FIRST_BYTES_SECONDS,
    PATIENCE_SECONDS,
    RENEWALS_A_LOOK,
    Keepalive,
)
from broadcaster.gateway.sniff import Sniffer
from broadcaster.protocol import close_codes
from broadcaster.protocol.messages import PING
from broadcaster.protocol.subscription_auth import Verified
from broadcaster.protocol.websocket import encode_text
from tests.gateway.fakes import FakeNode, FakeTransport, client_frame, close_code
from tests.gateway.world import APP

PONG = client_frame(b'{"event":"pusher:pong","data":{}}')
QUIET = replace(APP, limits=replace(APP.limits, activity_timeout=20, pong_timeout=7))


class World:
    def __init__(self) -> None:
        self.node = FakeNode()
        self.keepalive = Keepalive(cast("Any", self.node))
        self.transport = FakeTransport()
        self.socket = self.node.connection(self.transport, QUIET)

    def look(self, later: float = 0.0) -> bytes:
        """Let time pass, look once, and return what was written."""
        before = len(self.transport.written)
        self.node.time += later
        self.keepalive.look(self.node.time, 0.0)
        return self.transport.written[before:]


@pytest.fixture
def world() -> World:
    return World()


def test_a_silent_client_is_asked_once_a_little_after_its_timeout(world: World) -> None:
    assert world.look(20 + PATIENCE_SECONDS) == b""
    assert world.look(0.1) == encode_text(PING)
    assert world.look(1) == b""


def test_a_client_that_answers_stays(world: World) -> None:
    world.look(20 + PATIENCE_SECONDS + 0.1)
    world.socket.data_received(PONG)

    assert world.look(20) == b""
    assert world.look(PATIENCE_SECONDS + 0.1) == encode_text(PING)


def test_a_client_that_does_not_answer_is_closed(world: World) -> None:
    world.look(20 + PATIENCE_SECONDS + 0.1)

    assert world.look(6.8) == b""
    assert close_code(close_codes.PONG_MISSING, world.look(0.2))


def test_a_process_that_slept_asks_before_it_closes(world: World) -> None:
    """After a pause of the whole machine everybody has been silent."""
    assert world.look(10_000) == encode_text(PING)


def test_a_closed_connection_is_aborted_when_its_peer_does_not_answer(world: World) -> None:
    world.socket.close(close_codes.RECONNECT)
    world.keepalive.closing.add(world.socket)

    world.look(CLOSE_SECONDS)
    assert not world.transport.aborted
    world.look(0.1)

    assert world.transport.aborted


def test_a_connection_that_is_closing_is_not_asked_any_more(world: World) -> None:
    world.socket.close(close_codes.RECONNECT)

    assert world.look(1_000) == b""


def test_a_paused_connection_that_does_not_shrink_is_a_slow_consumer(world: World) -> None:
    world.transport.unsent = 100_000
    world.socket.pause_writing()
    world.keepalive.paused.add(world.socket)

    world.look(APP.limits.stuck_seconds)
    assert ("slow",) not in world.node.said
    world.look(0.1)

    assert ("slow",) in world.node.said


def test_a_connection_that_is_gone_is_forgotten(world: World) -> None:
    world.keepalive.paused.add(world.socket)
    world.keepalive.closing.add(world.socket)

    world.keepalive.forget(world.socket)

    assert world.keepalive.paused == world.keepalive.closing == set()


def test_who_never_says_what_it_wants_is_cut_off(world: World) -> None:
    transport = FakeTransport()
    sniffer = Sniffer(cast("Any", world.node), *cast("Any", ("config", "state", {})))
    sniffer.connection_made(transport)

    world.look(FIRST_BYTES_SECONDS)
    assert not transport.aborted
    world.look(0.1)

    assert transport.aborted


# -- authorizations that end ----------------------------------------------------------


def renewable(world: World, count: int, lifetime: float) -> list[FakeTransport]:
    """Connections whose authorization ends after `lifetime` seconds of Unix time."""
    world.node.connections.clear()
    world.node.verify = lambda *_: Verified(expires_at=lifetime)  # type: ignore[method-assign] # a fake
    transports = [FakeTransport() for _ in range(count)]
    for transport in transports:
        world.node.connection(transport).data_received(
            client_frame(b'{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"x"}}')
        )
    return transports


def closed(transports: list[FakeTransport]) -> int:
    return sum(close_code(close_codes.RENEW, transport.written) for transport in transports)


def test_a_connection_is_renewed_before_its_authorization_ends(world: World) -> None:
    keepalive = Keepalive(cast("Any", world.node), chance=lambda: 0.5)
    [transport] = renewable(world, 1, lifetime=600)

    keepalive.look(world.node.time, 0.0)
    keepalive.look(world.node.time, 569.4)
    assert closed([transport]) == 0
    keepalive.look(world.node.time, 569.5)

    assert closed([transport]) == 1
    assert b"subscription_error" not in transport.written


def test_renewals_are_paced(world: World) -> None:
    keepalive = Keepalive(cast("Any", world.node), chance=lambda: 0.0)
    transports = renewable(world, RENEWALS_A_LOOK * 2 + 1, lifetime=600)

    counts = []
    for unix_now in (0.0, 541.0, 541.5, 542.0):
        keepalive.look(world.node.time, unix_now)
        counts.append(closed(transports))

    assert counts == [0, RENEWALS_A_LOOK, RENEWALS_A_LOOK * 2, RENEWALS_A_LOOK * 2 + 1]


def test_an_authorization_that_ends_unrenewed_ends_delivery_first(world: World) -> None:
    """Short grants end on time; their client is sent around no faster than every 5 s."""
    keepalive = Keepalive(cast("Any", world.node), chance=lambda: 0.0)
    [transport] = renewable(world, 1, lifetime=1)

    keepalive.look(world.node.time, 0.0)
    keepalive.look(world.node.time, 1.0)
    assert b'"code":"auth_expired"' in transport.written
    assert ("leave", "private-a") in world.node.said
    keepalive.look(world.node.time, 4.9)
    assert closed([transport]) == 0
    keepalive.look(world.node.time, 5.0)

    assert closed([transport]) == 1


# -- connections that nobody vouched for ----------------------------------------------


def unauthorized_world(seconds: float) -> World:
    world = World()
    world.socket.app = replace(APP, limits=replace(APP.limits, authorization_timeout=seconds))
    return world


def test_a_connection_that_nobody_vouched_for_is_told_and_closed_in_time() -> None:
    world = unauthorized_world(10)

    early = world.look(10)
    late = world.look(0.1)

    assert early == b""
    assert b"Connection not authorized within timeout" in late
    assert close_code(close_codes.UNAUTHORIZED, late)
    assert world.look(1) == b""


def test_a_connection_that_somebody_vouched_for_stays() -> None:
    world = unauthorized_world(10)
    world.socket.data_received(
        client_frame(b'{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"x"}}')
    )

    assert world.look(10.1) == b""


def test_nobody_is_asked_for_authorization_unless_the_app_wants_it() -> None:
    world = unauthorized_world(0)

    assert world.look(19) == b""
