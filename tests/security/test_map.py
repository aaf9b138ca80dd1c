"""The page on security promises nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (S\d+) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)


def test_every_attack_has_a_row() -> None:
    assert [number for number, _ in ROWS] == [f"S{number}" for number in range(1, 23)]


@pytest.mark.parametrize(("number", "held_by"), ROWS)
def test_the_tests_of_an_attack_exist_and_bear_its_number(number: str, held_by: str) -> None:
    modules = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", held_by)
    name = re.compile(rf"def test_s0?{number[1:]}_")

    sources = [(ROOT / module).read_text(encoding="utf-8") for module in modules]
    assert sources
    assert any(name.search(source) for source in sources)


def test_the_limits_on_the_page_are_the_ones_in_the_code() -> None:
    from broadcaster.gateway import bodies, connection, http_protocol, keepalive
    from broadcaster.protocol import websocket
    from broadcaster.protocol.app import AppLimits

    limits = AppLimits()
    rows = {
        "head of a request": f"{http_protocol.MAX_HEAD_BYTES:,} bytes, "
        f"{keepalive.FIRST_BYTES_SECONDS:.0f} s",
        "body of a request": f"{bodies.BODY_SECONDS:.0f} s",
        "trailers and chunk headers": f"{http_protocol.MAX_FRAMING_BYTES:,} bytes",
        "WebSocket message": f"{limits.max_frame_bytes:,} bytes, "
        f"{websocket.MAX_FRAGMENTS:,} fragments",
        "messages of a connection": f"{connection.MESSAGES_A_SECOND + 2 * limits.client_event_rate}"
        f" a second, and {connection.MESSAGES_AT_ONCE + 2 * limits.max_channels:,} at once",
        "refused messages": f"| {connection.MAX_REFUSALS} |",
        "a connection is heard slowly": f"| after {connection.FREE_REFUSALS} refused messages |",
        "client events": f"{limits.client_event_rate} a second",
        "channels of a connection": f"{limits.max_channels:,}",
        "what waits for a reader": f"{limits.max_backlog_bytes >> 20} MiB, or "
        f"{limits.stuck_seconds:.0f} s",
        "silence": f"{limits.activity_timeout} s, then {limits.pong_timeout} s",
        "a peer that does not answer": f"{connection.CLOSE_SECONDS:.0f} s",
    }
    section = PAGE.partition("## Limits")[2].partition("\n## ")[0]

    for name, words in rows.items():
        [row] = re.findall(rf"^\| {re.escape(name)}.*$", section, re.MULTILINE)
        assert words in row
