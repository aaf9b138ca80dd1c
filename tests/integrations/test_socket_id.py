from __future__ import annotations

import pytest

from broadcaster.integrations.socket_id import read_socket_id


def test_a_socket_id_is_taken() -> None:
    assert read_socket_id(["1234.5678"]) == "1234.5678"


@pytest.mark.parametrize("values", [[], [""], ["undefined"], ["null"]])
def test_what_clients_send_before_they_are_connected_is_nothing(
    values: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_socket_id(values) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "values",
    [["x"], ["1.2:private-x"], ["\u0661.\u0662"], ["1.2", "3.4"], ["1.2\n"], ["9" * 90]],
)
def test_anything_else_is_ignored_with_one_line_in_the_log(
    values: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_socket_id(values) is None

    (record,) = caplog.records
    assert record.getMessage().startswith("ignored X-Socket-ID '")
    assert len(record.getMessage()) < 160
    assert record.getMessage().isascii()
