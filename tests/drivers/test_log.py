"""The log driver tells what would be sent, and keeps data out of ordinary logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.drivers.log import LogPublisher
from tests.drivers.publications import make_publication

if TYPE_CHECKING:
    import pytest


async def test_each_publication_is_a_line_without_its_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "broadcaster.publish"):
        LogPublisher().publish([make_publication("a", "b")])
        await LogPublisher().apublish([make_publication("c")])

    assert [record.getMessage() for record in caplog.records] == [
        "App\\Events\\Shipped to a, b (8 bytes)",
        "App\\Events\\Shipped to c (8 bytes)",
    ]


def test_data_is_shown_to_those_who_ask(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "broadcaster.publish"):
        LogPublisher().publish([make_publication("a")])

    assert '{"id":7}' in caplog.messages
