"""
Revocations as this node knows them: in memory, in step with the store.

A new revocation comes as a control message and takes effect in that tick. What was missed
is read again after every acknowledgement of the control topic, and before any channel of the
app counts as joined or continuous after it (`is_fresh`): no event slips through in between. A poll
every `POLL_SECONDS` is the net below. Whatever the store has lost and this node remembers
is written back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from broadcaster.errors import Denied, DriverError, DriverUnavailable, MalformedMessage
from broadcaster.protocol.revocation import RevocationTable, decode_revoked
from broadcaster.protocol.session import REVOKED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.broker import Subscriptions
    from broadcaster.contracts.revocations import Revocation, RevocationStore
    from broadcaster.contracts.verifier import Verified
    from broadcaster.gateway.connection import Connection

_log = logging.getLogger("broadcaster.gateway")

POLL_SECONDS = 30.0
RETRY_SECONDS = 0.2


class _Known:
    """One app's revocations on this node."""

    __slots__ = ("fresh", "generation", "table", "unread", "version")

    def __init__(self) -> None:
        self.table = RevocationTable()
        self.version: bytes | None = None
        self.fresh = False
        self.generation = 0  # of the subscription to the control topic
        self.unread = False


class Revocations:
    """
    See the module.

    Args:
        store: where they are kept.
        topic: names an app's control topic.
        subscriptions: where it is subscribed to.
        apps: those that are served.
        connections: those of this node.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: RevocationStore,
        *,
        topic: Callable[[str], bytes],
        subscriptions: Subscriptions,
        apps: AppProvider,
        connections: Callable[[], Iterable[Connection]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._topic = topic
        self._subscriptions = subscriptions
        self._served = apps
        self._connections = connections
        self._clock = clock
        self._apps: dict[str, _Known] = {}
        self._app_of: dict[bytes, str] = {}
        self._event = asyncio.Event()
        self._on_fresh: Callable[[str], None] = _nobody

    def on_fresh(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with the id of an app whenever `is_fresh` becomes true of it."""
        self._on_fresh = tell

    def open(self, app_id: str) -> None:
        """Keep the revocations of an app from now on; called for each of its connections."""
        if app_id not in self._apps:
            self._apps[app_id] = _Known()
            topic = self._topic(app_id)
            self._app_of[topic] = app_id
            self._subscriptions.want(topic)

    def check(self, app_id: str, channel: str, verified: Verified) -> None:
        """Refuse what is proved, but revoked; raises `Denied`."""
        known = self._apps.get(app_id)
        if (
            known is not None
            and verified.user_id is not None
            and known.table.refuses(verified.user_id, channel, verified.issued_at)
        ):
            raise Denied(REVOKED, code="auth_revoked")

    async def moments(self, app_id: str, user_ids: Sequence[str]) -> list[float]:
        """See `RevocationStore.moments`."""
        return await self._store.moments(app_id, user_ids)

    def recheck(self, connection: Connection) -> None:
        """Close a connection whose sign-in is older than the end of its user's connections."""
        known, user = self._apps.get(connection.app.id), connection.session.user
        if known is not None and user is not None:
            connection.act(connection.session.terminate(known.table.terminated_at(user.id)))

    def is_fresh(self, app_id: str) -> bool:
        """Whether everything that was revoked before now, or nearly, is known."""
        known = self._apps.get(app_id)
        return known is None or known.fresh

    # -- what pub/sub says ------------------------------------------------------------

    def listens_to(self, topic: bytes) -> bool:
        """Whether this is the control topic of an app."""
        return topic in self._app_of

    def received(self, topic: bytes, body: bytes) -> None:
        """Take one control message."""
        app_id = self._app_of[topic]
        try:
            items = decode_revoked(body)
        except MalformedMessage as error:
            _log.warning("dropped: %s", error, extra={"event": "bad_control", "app": app_id})
            return
        self._learn(app_id, items)

    def acknowledged(self, topic: bytes) -> None:
        """From now on no control message is missed: read what was."""
        known = self._apps[self._app_of[topic]]
        known.generation += 1
        known.unread = True
        self._event.set()

    def interrupted(self) -> None:
        """Control messages may be missed from now on."""
        for known in self._apps.values():
            known.generation += 1
            known.fresh = False

    # -- task -------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what is unread, and poll, until cancelled."""
        delay = POLL_SECONDS
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._event.wait()
                polling = False
            except TimeoutError:
                polling = True
            self._event.clear()
            if polling:
                self._forget_gone()
            again = False
            for app_id, known in list(self._apps.items()):
                try:
                    if known.unread or (polling and await self._is_behind(app_id, known)):
                        await self._read(app_id, known)
                except DriverError as error:
                    level = logging.DEBUG if delay == RETRY_SECONDS else logging.WARNING
                    _log.log(level, "revocations: %s", error, extra={"event": "retry"})
                    again = True
            delay = RETRY_SECONDS if again else POLL_SECONDS

    def _forget_gone(self) -> None:
        """Forget apps that are served no more, once their last connection here is gone."""
        gone = {app_id for app_id in self._apps if self._served.by_id(app_id) is None}
        if gone:
            gone.difference_update(connection.app.id for connection in self._connections())
        for topic, app_id in list(self._app_of.items()):
            if app_id in gone:
                del self._app_of[topic], self._apps[app_id]
                self._subscriptions.forget(topic)

    async def _is_behind(self, app_id: str, known: _Known) -> bool:
        known.table.forget(self._clock())
        return await self._store.version(app_id) != known.version

    async def _read(self, app_id: str, known: _Known) -> None:
        known.unread = False
        generation = known.generation
        try:
            stored = await self._store.read(app_id)
        except DriverError:
            known.unread = True
            raise
        known.version = stored.version
        self._learn(app_id, stored.items)
        if known.generation == generation:  # what was read is what was said until now
            known.fresh = True
            self._on_fresh(app_id)
        try:
            await self._write_back(app_id, known, stored.items)
        except DriverUnavailable:  # it may have come to nothing, and no version tells
            known.unread = True
            raise

    async def _write_back(self, app_id: str, known: _Known, stored: Sequence[Revocation]) -> None:
        kept = {item.key: item.at for item in stored}
        now = self._clock()
        lost = [
            item for item in known.table if item.until > now and kept.get(item.key, 0.0) < item.at
        ]
        if lost:
            _log.warning(
                "Redis had lost %d revocations: written back",
                len(lost),
                extra={"event": "revocations_restored", "app": app_id},
            )
            await self._store.add(app_id, lost)

    def _learn(self, app_id: str, items: Iterable[Revocation]) -> None:
        now = self._clock()
        news = self._apps[app_id].table.add(item for item in items if item.until > now)
        if not news:
            return
        ends = RevocationTable(news).ends
        for connection in list(self._connections()):
            if connection.app.id == app_id and connection.closing_at is None:
                connection.act(connection.session.revoke(ends))
                self.recheck(connection)


def _nobody(app_id: str) -> None:
    del app_id
