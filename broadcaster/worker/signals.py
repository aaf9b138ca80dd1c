"""TERM, INT and QUIT stop a worker, USR2 pauses it, CONT lets it go on."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from broadcaster.worker.worker import Worker


@contextmanager
def obeying_signals(worker: Worker) -> Generator[None, None, None]:
    """
    Have `worker` do what the signals of this process say, in the running event loop.

    Source: Laravel, ``Worker::listenForSignals``; a second signal to stop does not wait.
    """
    loop = asyncio.get_running_loop()
    actions = {
        signal.SIGTERM: worker.stop,
        signal.SIGINT: worker.stop,
        signal.SIGQUIT: worker.stop,
        signal.SIGUSR2: worker.pause,
        signal.SIGCONT: worker.resume,
    }
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
