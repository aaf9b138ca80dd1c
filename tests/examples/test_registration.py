"""Rows 50, 51, 57 and 58 as a user has them: the example brings tests of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.example_world import EXAMPLES


@pytest.mark.redis
@pytest.mark.process
def test_rows_50_51_57_and_58_the_tests_of_the_example_pass() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider",
         "-p", "no:schemathesis", "-p", "no:asyncio", "-p", "no:anyio"],
        cwd=EXAMPLES / "registration",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "7 passed" in ran.stdout
