"""
Signals that come before there is who obeys them, or when all is done.

Python's own answer to each is to end the process, as if something had gone wrong.
"""

from __future__ import annotations

import asyncio
import signal

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PAUSES = {signal.SIGUSR2: True, signal.SIGCONT: False}
"""Which signals ask workers to take no jobs, or to take them again."""


class EarlyPause:
    """
    What `PAUSES` ask for while a worker starts.

    Attributes:
        wanted: to take no jobs at first.
    """

    def __init__(self) -> None:
        self.wanted = False

    def heed(self) -> None:
        """Remember what comes, until somebody else obeys these signals."""
        for number in PAUSES:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.wanted = PAUSES[signal.Signals(number)]


def heed_no_more() -> None:
    """
    Let signals change nothing any more: call it when a process has done what it is for.

    One more, of somebody impatient, would decide its exit code otherwise.
    """
    loop = asyncio.get_running_loop()
    for number in (*STOPS, *PAUSES):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
