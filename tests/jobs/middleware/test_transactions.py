from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from broadcaster.jobs.execution import call
from broadcaster.jobs.job import Job
from broadcaster.jobs.middleware import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.jobs.middleware import Middleware


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE paid (amount)")
        yield connection


@pytest.mark.parametrize(("fails", "rows"), [(False, [(7,)]), (True, [])])
def test_row_33_a_run_is_one_transaction(
    database: sqlite3.Connection, *, fails: bool, rows: list[tuple[int]]
) -> None:
    class Pay(Job, name="transactions.Pay"):
        def middleware(self) -> Sequence[Middleware]:
            return [transaction(lambda: database)]

        def handle(self) -> None:
            database.execute("INSERT INTO paid VALUES (7)")
            if fails:
                raise ValueError("boom")

    with pytest.raises(ValueError, match="boom") if fails else contextlib.nullcontext():
        call(Pay())

    assert database.execute("SELECT amount FROM paid").fetchall() == rows
