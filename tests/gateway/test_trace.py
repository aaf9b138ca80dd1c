"""What a node logs about a delivery."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from broadcaster.gateway.trace import Trace
from broadcaster.hub.channel import LocalChannel
from broadcaster.protocol.envelope import NO_ID, Envelope
from tests.hub.subscribers import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator


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
