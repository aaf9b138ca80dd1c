"""
This node's lease: what lets it write presence, and what tells others that it is dead.

Renewed every third of its length. When Redis does not know the node any more (it was
swept, or the data is gone), when the server process behind the address has changed, or
when this process slept longer than the lease, a **new epoch** begins: everything is
registered again under it before the old one is given up, so that nobody who is present
in both is announced as gone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from broadcaster.errors import DriverRefused, DriverUnavailable, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.presence import Lease, PresenceStore, Renewal

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0
MAX_SWEEP_WAIT = 1.0


class Registrar(Protocol):
    """Who holds what must be registered again under a new epoch."""

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """Write everything of this node under `lease`; raises when Redis is away."""
        ...


class LeaseKeeper:
    """Holds the lease of this process (see the module)."""

    def __init__(
        self, presence: PresenceStore, node: str, *, seconds: float, now: Callable[[], float]
    ) -> None:
        self._presence = presence
        self._node = node
        self._seconds = seconds
        self._now = now
        self._registrar: Registrar | None = None
        self._wake = asyncio.Event()
        self._held = asyncio.Event()
        self._renewed = asyncio.Event()
        self._lease: Lease | None = None
        self._last: Renewal | None = None
        self._renewed_at = 0.0  # when the last renewal that Redis answered began
        self._confirmed_at = 0.0  # the same, once everything was registered under it
        self._unregistered: list[Lease] = []
        self._data_lost = False
        self._asking = asyncio.Lock()
        self._retired = False

    def attach(self, registrar: Registrar) -> None:
        """Name who registers everything again under a new epoch."""
        self._registrar = registrar

    async def current(self) -> Lease:
        """Return the lease, waiting for the first one if need be."""
        await self._held.wait()
        assert self._lease is not None
        return self._lease

    def wake(self) -> None:
        """Renew now: the connection to Redis is back, or a write was refused."""
        self._wake.set()

    async def confirm(self) -> None:
        """Return after a renewal that began after now: what Redis lost is known then."""
        asked = self._now()
        while self._confirmed_at < asked:
            self._renewed.clear()
            self.wake()
            await self._renewed.wait()

    async def run(self) -> None:
        """Renew until cancelled."""
        said = ""
        while True:
            self._wake.clear()
            try:
                await self._renew()
                self._confirmed_at = self._renewed_at
                self._renewed.set()
                delay = self._seconds / 3
            except DriverUnavailable:
                delay = min(RETRY_SECONDS, self._seconds / 10)
            except DriverRefused as error:  # perhaps one list of many; the rest goes on
                level = logging.DEBUG if said == error.message else logging.WARNING
                _log.log(level, "registering: %s", error, extra={"event": "refused"})
                said, delay = error.message, min(REFUSED_SECONDS, self._seconds / 3)
            except LeaseLost:
                delay = RETRY_SECONDS
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """Finish what dead nodes left behind, until cancelled."""
        said = ""
        while True:
            try:
                delay = min(await self._presence.sweep(), MAX_SWEEP_WAIT)
            except DriverUnavailable:
                delay = RETRY_SECONDS
            except DriverRefused as error:  # the others are swept all the same
                level = logging.DEBUG if said == error.message else logging.WARNING
                _log.log(level, "sweeping: %s", error, extra={"event": "refused"})
                said, delay = error.message, MAX_SWEEP_WAIT
            await asyncio.sleep(max(delay, 0.01))

    async def retire(self) -> None:
        """Give the lease up at a graceful stop; no other begins after that."""
        async with self._asking:
            self._retired = True
            held = [*self._unregistered, self._lease]
            for lease in {lease.epoch: lease for lease in held if lease is not None}.values():
                await self._presence.retire(lease)

    async def _ask(self, epoch: int) -> Renewal:
        """Renew or begin a lease, unless it was given up: `retire` has the last word."""
        async with self._asking:
            if self._retired:
                raise LeaseLost("the lease was given up")
            return await self._presence.renew(self._node, epoch)

    async def _renew(self) -> None:
        epoch = self._lease.epoch if self._lease else 1
        started = self._now()
        renewal = await self._ask(epoch)
        last, slept = self._last, started - self._renewed_at > self._seconds
        self._last, self._renewed_at = renewal, started
        if last is None or self._lease is None:
            self._lease = renewal.lease
            self._held.set()
            return
        if (
            renewal.existed
            and renewal.run_id == last.run_id
            and not slept
            and not self._unregistered
        ):
            self._lease = renewal.lease
            return
        self._data_lost |= renewal.incarnation != last.incarnation
        await self._begin_epoch(self._lease)

    async def _begin_epoch(self, old: Lease) -> None:
        self._unregistered.append(old)
        renewal = await self._ask(old.epoch + 1)
        self._lease, self._last = renewal.lease, renewal
        _log.warning(
            "presence registered again as epoch %d%s",
            renewal.lease.epoch,
            ": Redis had lost its data" if self._data_lost else "",
            extra={"event": "epoch", "epoch": renewal.lease.epoch},
        )
        if self._registrar is not None:
            await self._registrar.register_all(renewal.lease, data_lost=self._data_lost)
        for lease in self._unregistered:
            await self._presence.retire(lease)
        self._unregistered.clear()
        self._data_lost = False
