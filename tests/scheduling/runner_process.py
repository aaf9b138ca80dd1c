"""A process that queues `Tidy` every second, with a short lease; it says when it led."""

from __future__ import annotations

import asyncio
import sys
import time

from broadcaster import current
from broadcaster.scheduling.entries import schedule, the_schedule
from broadcaster.settings import load_settings
from broadcaster.wiring.schedule import open_schedule
from tests.scheduling.scheduled_jobs import Tidy

LEASE = 2.0


async def main() -> None:
    schedule(Tidy()).every(1).named("tidy").catch_up(30)
    runner = open_schedule(current.configure(load_settings()), the_schedule.entries(), lease=LEASE)
    while True:
        begun = time.time()
        wait = await runner.turn()
        sys.stdout.write(f"{'leads' if runner.leads else 'waits'} {begun} {time.time()}\n")
        sys.stdout.flush()
        await asyncio.sleep(wait)


if __name__ == "__main__":
    asyncio.run(main())
