"""What a node does by the clock: asking whether Redis answers, keeping positions alive."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverUnavailable

if TYPE_CHECKING:
    from broadcaster.contracts.broker import Broker
    from broadcaster.contracts.history import History
    from broadcaster.hub.hub import Hub

_log = logging.getLogger("broadcaster.gateway")

PROBE_SECONDS = 1.0
TOUCH_SECONDS = 3_600.0


class Upkeep:
    """
    See the module.

    Attributes:
        redis_answers: whether it did when it was last asked.
    """

    def __init__(self, hub: Hub, broker: Broker, history: History) -> None:
        self._hub = hub
        self._broker = broker
        self._history = history
        self.redis_answers = False

    async def probe(self) -> None:
        """Ask until cancelled whether Redis answers."""
        while True:
            try:
                await self._broker.ping()
                self.redis_answers = True
            except DriverUnavailable:
                self.redis_answers = False
            await asyncio.sleep(PROBE_SECONDS)

    async def touch(self) -> None:
        """Keep the positions of channels with subscribers alive, until cancelled."""
        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            by_app: dict[str, list[str]] = {}
            for channel in self._hub.channels.values():
                by_app.setdefault(channel.app_id, []).append(channel.name)
            for app_id, names in by_app.items():
                try:
                    await self._history.touch(app_id, names)
                except DriverError as error:
                    _log.warning(
                        "positions not kept alive: %s", error, extra={"event": "touch_failed"}
                    )
