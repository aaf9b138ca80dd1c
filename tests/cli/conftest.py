"""Fixtures of tests that run commands in this process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HEEDED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Whatever heeds signals does so again afterwards."""
    before = [signal.getsignal(number) for number in HEEDED]
    yield
    for number, heed in zip(HEEDED, before, strict=True):
        signal.signal(number, heed)
