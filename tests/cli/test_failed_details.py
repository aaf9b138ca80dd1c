"""Failed jobs as they are shown, whatever their payloads are."""

from __future__ import annotations

import json

import pytest

from broadcaster.cli.failed_details import (
    DEEPER,
    HIDDEN,
    MAX_DEPTH,
    detail_lines,
    list_lines,
    payload_of,
    presentable,
    summary,
)
from broadcaster.cli.table import Style
from broadcaster.contracts.stores import FailedJob


def failed(body: bytes = b"", *, job_id: str = "7f", failed_at: float = 0.0) -> FailedJob:
    return FailedJob(
        id=job_id,
        queue="mail",
        failed_at=failed_at,
        reason="exception",
        error="boom",
        attempts=1,
        body=body,
    )


def nested(levels: int) -> bytes:
    inner = "[" * levels + "1" + "]" * levels
    return f'{{"v":1,"id":"{"0" * 32}","job":"x","data":{{"a":{inner}}}}}'.encode()


@pytest.mark.parametrize("levels", [1, 59, 60, 500, 900, 990, 5_000])
@pytest.mark.parametrize("secrets", [True, False])
def test_a_payload_of_any_depth_is_shown(levels: int, *, secrets: bool) -> None:
    payload = payload_of(failed(nested(levels)), secrets=secrets)

    assert json.dumps(payload, indent=2)
    assert detail_lines({"payload": payload})


def test_what_is_nested_too_deep_is_replaced() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH + 1):
        value = {"a": value}

    shown = json.dumps(presentable(value, secrets=True))

    assert shown.count('"a"') == MAX_DEPTH
    assert DEEPER in shown


def test_secrets_are_hidden_at_any_depth() -> None:
    value = [{"to": "ada", "data": {"password": "hunter2", "api_key": ["x"]}}]

    assert presentable(value, secrets=True) == value
    assert presentable(value, secrets=False) == [
        {"to": "ada", "data": {"password": HIDDEN, "api_key": HIDDEN}}
    ]


@pytest.mark.parametrize("moment", [0.0, 1e11])
def test_ids_and_moments_of_others_are_shown(moment: float) -> None:
    job = failed(job_id="\x1b[2J\u202e", failed_at=moment)

    lines = list_lines([job], Style())

    assert "?[2J?" in lines[1]
    assert summary(job)["failed_at"]
