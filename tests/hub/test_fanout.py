"""The innermost loop."""

from __future__ import annotations

from broadcaster.hub.fanout import fan_out
from tests.hub.subscribers import Peer


def test_everybody_gets_the_same_bytes_once() -> None:
    peers = [Peer(f"{n}.{n}") for n in range(3)]
    data = b"frame"

    fan_out([peer.write for peer in peers], data)

    assert [peer.writes for peer in peers] == [[data]] * 3
    assert all(peer.writes[0] is data for peer in peers)


def test_nobody_is_no_error() -> None:
    fan_out([], b"frame")
