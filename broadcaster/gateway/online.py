"""
Telling the store which users are signed in here, as soon as it changes.

This node is one entry in the list of each of its users (`broadcaster.protocol.watchlist`):
their first connection here enters it, their last one takes it out. The store decides who is
online and publishes that, as for presence channels; a short absence passes unnoticed within
the grace, and what a dead node leaves behind is swept.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.presence import Joining, Member
from broadcaster.errors import DriverError, DriverRefused, LeaseLost
from broadcaster.protocol.watchlist import CAME, LEFT, online_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from broadcaster.contracts.presence import Lease, PresenceStore
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.gateway.tasks import TaskOwner

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.25
REFUSED_SECONDS = 5.0
AT_ONCE = 16
ENTRY = "node"  # instead of a socket id: the whole node is one connection
_UNLIMITED = 2**31


class OnlineUser(NamedTuple):
    """A user of an app."""

    app_id: str
    user_id: str


class OnlineUsers:
    """
    Writes what changed: users who came, together; then those who left.

    What is written is what is true at the time, so nothing is lost by skipping what was true
    in between. Bound: one entry per user who is or was just signed in here.
    """

    def __init__(
        self, store: PresenceStore, lease: LeaseKeeper, tasks: TaskOwner, *, grace: float
    ) -> None:
        self._store = store
        self._lease = lease
        self._tasks = tasks
        self._grace = grace
        self._counts: dict[OnlineUser, int] = {}
        self._entered: set[OnlineUser] = set()  # perhaps: an answer may have been lost
        self._indexed: set[OnlineUser] = set()
        self._changed: dict[OnlineUser, None] = {}
        self._due: dict[OnlineUser, None] = {}  # left, and their grace is over
        self._resting: set[OnlineUser] = set()  # their list cannot be used; tried again later
        self._said = ""
        self._event = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def came(self, app_id: str, user_id: str) -> None:
        """A connection has signed in."""
        user = OnlineUser(app_id, user_id)
        self._counts[user] = self._counts.get(user, 0) + 1
        if self._counts[user] == 1:
            self._change(user)

    def left(self, app_id: str, user_id: str) -> None:
        """A connection that had signed in is gone."""
        user = OnlineUser(app_id, user_id)
        self._counts[user] -= 1
        if not self._counts[user]:
            del self._counts[user]
            self._change(user)

    async def settled(self, *, within: float) -> None:
        """Wait until every change is written, for `within` seconds at most."""
        try:
            async with asyncio.timeout(within):
                await self._settled.wait()
        except TimeoutError:
            return

    async def register_all(self, lease: Lease, *, data_lost: bool) -> None:
        """Enter every list again under a new lease; see `Registrar`."""
        held = list(self._entered)
        entries = [_entry(user) for user in held]
        answers = await self._store.join_many(lease, entries, announce=not data_lost)
        for user, answer in zip(held, answers, strict=True):
            if isinstance(answer, DriverRefused):  # alone and later: the node needs its lease
                self._refused(user, answer)
            if user not in self._entered:  # left while we were entering it
                self._entered.add(user)
                self._change(user)
        self._indexed.update(held)

    async def run(self) -> None:
        """Write until cancelled; while Redis is away, keep what changed."""
        while True:
            await self._event.wait()
            self._event.clear()
            changed, self._changed = self._changed, {}
            due, self._due = self._due, {}
            try:
                await self._write(list(changed))
                await _each(self._finish(user) for user in due)
            except Exception as error:
                self._changed = {**changed, **self._changed}
                self._due = {**due, **self._due}
                self._event.set()
                if not isinstance(error, DriverError):
                    raise
                await self._failed(error)
            else:
                if not self._changed and not self._resting:
                    self._settled.set()

    def _change(self, user: OnlineUser) -> None:
        self._changed[user] = None
        self._settled.clear()
        self._event.set()

    async def _failed(self, error: DriverError) -> None:
        if isinstance(error, LeaseLost):
            self._lease.wake()
        refused = isinstance(error, DriverRefused)
        if refused:
            _log.warning("who is online is not written: %s", error, extra={"event": "refused"})
        await asyncio.sleep(REFUSED_SECONDS if refused else RETRY_SECONDS)

    async def _write(self, changed: Sequence[OnlineUser]) -> None:
        lease = await self._lease.current()
        here = [user for user in changed if user in self._counts]
        # Before the first write: an answer may get lost, and a leave must undo it.
        self._entered.update(here)
        self._indexed.update(here)
        answers = await self._store.join_many(lease, [_entry(u) for u in here], announce=True)
        for user, answer in zip(here, answers, strict=True):
            if isinstance(answer, DriverRefused):
                self._refused(user, answer)
        gone = [u for u in changed if u not in self._counts and u in self._entered]
        await _each(self._leave(user) for user in gone)

    async def _leave(self, user: OnlineUser) -> None:
        lease = await self._lease.current()  # the one under which it was entered last
        self._entered.discard(user)  # before the write: no new lease is to enter it again
        name = online_list(user.user_id)
        try:
            delay = await self._store.leave(
                lease, user.app_id, name, socket_id=ENTRY, grace=self._grace
            )
        except DriverRefused as error:
            self._entered.add(user)
            self._refused(user, error)
            return
        except DriverError:
            self._entered.add(user)
            raise
        self._later(delay or 0.0, user)

    async def _finish(self, user: OnlineUser) -> None:
        try:
            delay = await self._store.finish(user.app_id, online_list(user.user_id))
        except DriverRefused as error:
            self._refused(user, error)
            return
        if delay is not None:
            self._later(delay, user)
        elif user in self._indexed and user not in self._entered and user not in self._counts:
            lease = await self._lease.current()
            self._indexed.discard(user)
            try:
                await self._store.index_remove(lease, user.app_id, online_list(user.user_id))
            except DriverError:
                self._indexed.add(user)
                raise

    def _refused(self, user: OnlineUser, error: DriverRefused) -> None:
        """Leave out a user whose list cannot be used, and try again later; say it once."""
        level = logging.DEBUG if self._said == error.message else logging.WARNING
        _log.log(level, "who is online is not written: %s", error, extra={"event": "refused"})
        self._said = error.message

        def again() -> None:
            self._resting.discard(user)
            self._changed[user] = self._due[user] = None
            self._event.set()

        if user not in self._resting:
            self._resting.add(user)
            self._tasks.later(REFUSED_SECONDS, again)

    def _later(self, delay: float, user: OnlineUser) -> None:
        def due() -> None:
            self._due[user] = None
            self._event.set()

        self._tasks.later(delay, due)


def _entry(user: OnlineUser) -> Joining:
    member = Member(user.user_id, f'{{"user_id":"{user.user_id}"}}')
    return Joining(user.app_id, online_list(user.user_id), ENTRY, member, CAME, _UNLIMITED, LEFT)


async def _each(work: Iterable[Awaitable[None]]) -> None:
    """Do everything, some of it at once; raise the first failure when nothing is under way."""
    waiting = list(work)
    failure: BaseException | None = None
    for first in range(0, len(waiting), AT_ONCE):
        outcomes = await asyncio.gather(*waiting[first : first + AT_ONCE], return_exceptions=True)
        failure = failure or next((o for o in outcomes if isinstance(o, BaseException)), None)
    if failure is not None:
        raise failure
