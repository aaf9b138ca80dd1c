"""What a node logs about a delivery."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway.flood import LINES_A_SECOND, LINES_AT_ONCE
from broadcaster.gateway.trace import Trace
from broadcaster.hub.channel import LocalChannel
from broadcaster.protocol.close_codes import OVER_CAPACITY, PONG_MISSING
from broadcaster.protocol.effects import Denied
from broadcaster.protocol.envelope import NO_ID, Envelope
from tests.gateway.fakes import FakeNode, FakeTransport, client_frame
from tests.hub.subscribers import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broadcaster.gateway.connection import Connection


@pytest.fixture(autouse=True)
def _debugging(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, "broadcaster.gateway"):
        yield


def delivery(caplog: pytest.LogCaptureFixture, excluded: str) -> tuple[str, object]:
    channel = LocalChannel(b"topic", "1", "orders")
    for socket_id in ("1.1", "2.2"):
        channel.add(Peer(socket_id))
    frame = b'{"event":"Shipped","channel":"orders"}'
    Trace().delivered(channel, Envelope(0, 1, 0, NO_ID, NO_ID, excluded, frame))
    (record,) = caplog.records
    return record.getMessage(), vars(record)["sockets"]


def test_every_socket_of_the_channel_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert delivery(caplog, "") == ("Shipped -> 2 sockets of orders", 2)


def test_the_socket_left_out_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert delivery(caplog, "2.2") == ("Shipped -> 1 sockets of orders, 1 left out", 1)


def test_a_socket_left_out_that_is_not_here_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert delivery(caplog, "9.9") == ("Shipped -> 2 sockets of orders", 2)


@pytest.mark.parametrize("what", ["denied", "refused"])
def test_a_flood_is_counted_instead_of_told(caplog: pytest.LogCaptureFixture, what: str) -> None:
    """Clients of a full server come back every second, all of them."""
    node, trace = FakeNode(), Trace()

    def happens() -> None:
        connection = node.connection(FakeTransport())
        if what == "denied":
            trace.denied(connection, Denied("private-a", "no", "not yours"), node.now())
        else:
            trace.refused(connection, OVER_CAPACITY, OVER_CAPACITY.message)

    for _ in range(LINES_AT_ONCE + 1_000):
        happens()
    told = len(caplog.records)
    node.time += 1
    for _ in range(LINES_A_SECOND + 5):
        happens()
    later = [record.getMessage() for record in caplog.records[told:]]

    assert told == LINES_AT_ONCE
    assert later[0] == f"1000 more were {what}"
    assert len(later) == 1 + LINES_A_SECOND


def disconnection(caplog: pytest.LogCaptureFixture, connection: Connection) -> Mapping[str, object]:
    Trace().disconnected(connection)
    (record,) = caplog.records
    return vars(record) | {"text": record.getMessage()}


def test_a_close_of_ours_is_told_with_its_code_and_name(caplog: pytest.LogCaptureFixture) -> None:
    connection = FakeNode().connection(FakeTransport())
    connection.close(PONG_MISSING)

    said = disconnection(caplog, connection)

    assert said["text"] == "disconnected: closed with 4201 (pong_missing)"
    assert (said["close_code"], said["cause"]) == (4201, "pong_missing")


def test_a_violation_is_told_with_the_code_of_the_rfc(caplog: pytest.LogCaptureFixture) -> None:
    connection = FakeNode().connection(FakeTransport())
    connection.data_received(client_frame(b"\xff"))

    assert disconnection(caplog, connection)["close_code"] == 1007


def test_a_client_that_left_by_itself_has_no_code(caplog: pytest.LogCaptureFixture) -> None:
    said = disconnection(caplog, FakeNode().connection(FakeTransport()))

    assert said["text"] == "disconnected"
    assert "close_code" not in said
