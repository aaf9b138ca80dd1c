"""TERM and INT: the first one finishes what runs, the second one hands it back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Generator[None, None, None]:
    """Call `stop` in the running event loop for each SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    watched = (signal.SIGTERM, signal.SIGINT)
    for number in watched:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in watched:
            loop.remove_signal_handler(number)
