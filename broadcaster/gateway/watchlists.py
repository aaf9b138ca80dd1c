"""
Telling connections who of their watchlist is online, and who comes and goes.

Each watched user is one subscriber of the hub, whatever the number of connections here that
watch them: it takes what their list publishes (`broadcaster.protocol.watchlist`), knows
whether they are online, and hands on nothing but changes. Like a presence channel, a list is
read once its topic is acknowledged, and what was published meanwhile is applied by version;
after an interruption it is read again. So what a connection was told and what it is told
next always differ.

A new watcher is told once who is online, when that is known of everybody on their list.
Changes of one tick are joined.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from broadcaster.errors import DriverError, DriverRefused
from broadcaster.gateway.online import OnlineUser
from broadcaster.gateway.presence_channel import is_outdated
from broadcaster.hub.channel import Joining
from broadcaster.protocol.watchlist import encode_watchlist_events, last_said, online_list

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.presence import PresenceStore, Snapshot
    from broadcaster.gateway.connection import Connection
    from broadcaster.gateway.lease import LeaseKeeper
    from broadcaster.gateway.tasks import TaskOwner
    from broadcaster.hub.channel import LocalChannel
    from broadcaster.hub.hub import Hub

_log = logging.getLogger("broadcaster.gateway")

RETRY_SECONDS = 0.2
REFUSED_SECONDS = 5.0
RECOVERY_SECONDS = 7.0  # as for member lists: every node had time to come back
BATCH = 1_000


class _Watcher:
    """One connection with a watchlist."""

    __slots__ = ("changed", "connection", "unknown", "watched")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.watched: list[_Watched] = []
        self.unknown = 0  # users on the list of whom nothing is known yet
        self.changed: dict[str, bool] = {}  # to be told at the end of this tick


class _Watched:
    """One user whom somebody here watches; a `Subscriber` of their list."""

    __slots__ = ("_heard", "name", "online", "paused", "socket_id", "topic", "user", "watchers")

    def __init__(
        self, user: OnlineUser, topic: bytes, heard: Callable[[_Watched, bool], None]
    ) -> None:
        self.user = user
        self.name = online_list(user.user_id)
        self.topic = topic
        self.online: bool | None = None  # None until the list was read
        self.watchers: dict[_Watcher, None] = {}
        self.socket_id = ""
        self.paused = False
        self._heard = heard

    @property
    def write(self) -> Callable[[bytes], None]:
        """See `Subscriber.write`."""
        return self.deliver

    def deliver(self, data: bytes) -> None:
        """See `Subscriber.deliver`."""
        online = last_said(data)
        if online is not None:
            self._heard(self, online)


class Watchlists:
    """
    See the module.

    Args:
        topic: the pub/sub topic of a list of an app.
    """

    def __init__(
        self,
        hub: Hub,
        store: PresenceStore,
        lease: LeaseKeeper,
        tasks: TaskOwner,
        *,
        topic: Callable[[str, str], bytes],
    ) -> None:
        self._hub = hub
        self._store = store
        self._lease = lease
        self._tasks = tasks
        self._topic = topic
        self._call_soon = asyncio.get_running_loop().call_soon
        self._watched: dict[bytes, _Watched] = {}
        self._watchers: dict[Connection, _Watcher] = {}
        self._dirty: dict[_Watcher, None] = {}
        self._unread: dict[_Watched, bool] = {}  # True: believe it whatever its version
        self._resting: set[_Watched] = set()  # their lists were refused a moment ago
        self._said = ""
        self._event = asyncio.Event()

    # -- what the node says, synchronously --------------------------------------------

    def watch(self, connection: Connection, user_ids: Sequence[str]) -> None:
        """Tell a connection about these users from now on; once per connection."""
        if not user_ids:
            return
        watcher = self._watchers[connection] = _Watcher(connection)
        for user_id in user_ids:
            watched = self._watch(OnlineUser(connection.app.id, user_id))
            watched.watchers[watcher] = None
            watcher.watched.append(watched)
            watcher.unknown += watched.online is None
        if not watcher.unknown:
            self._greet(watcher)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        watcher = self._watchers.pop(connection, None)
        if watcher is None:
            return
        self._dirty.pop(watcher, None)
        for watched in watcher.watched:
            del watched.watchers[watcher]
            if not watched.watchers:
                del self._watched[watched.topic]
                self._unread.pop(watched, None)
                self._hub.remove(watched.topic, watched)

    def refresh(self, channel: LocalChannel, *, always: bool = False) -> None:
        """Read a list again: what it published may have been missed."""
        watched = self._watched.get(channel.topic)
        if watched is not None and watched.online is not None:
            self._read(watched, always=always)

    def recover(self, *, data_lost: bool) -> None:
        """Read every list again, under a new lease; after data loss when all nodes are back."""
        for watched in self._watched.values():
            channel = self._hub.channels.get(watched.topic)
            if data_lost and channel is not None:
                channel.roster = None

        def read() -> None:
            for watched in self._watched.values():
                if watched.online is not None:
                    self._read(watched, always=True)

        self._tasks.later(RECOVERY_SECONDS if data_lost else 0.0, read)

    # -- reading lists ----------------------------------------------------------------

    async def run(self) -> None:
        """Read what is wanted until cancelled; while Redis is away, keep asking."""
        while True:
            await self._event.wait()
            self._event.clear()
            unread, self._unread = self._unread, {}
            try:
                if any(watched.online is not None for watched in unread):
                    await self._lease.confirm()  # what Redis lost is known then
                await self._read_all(unread)
            except Exception as error:
                for watched, always in unread.items():
                    if self._watched.get(watched.topic) is watched:
                        self._read(watched, always=always)
                if not isinstance(error, DriverError):
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _read_all(self, unread: dict[_Watched, bool]) -> None:
        by_app: dict[str, list[_Watched]] = {}
        for watched in unread:
            by_app.setdefault(watched.user.app_id, []).append(watched)
        for app_id, all_of_app in by_app.items():
            for first in range(0, len(all_of_app), BATCH):
                await self._read_some(app_id, all_of_app[first : first + BATCH], unread)

    async def _read_some(
        self, app_id: str, some: Sequence[_Watched], unread: dict[_Watched, bool]
    ) -> None:
        """Read some lists of one app; one that Redis refuses does not hold the others up."""
        before = [self._roster(watched) for watched in some]
        try:
            snapshots = await self._store.snapshots(app_id, [one.name for one in some])
        except DriverRefused as error:
            if len(some) > 1:
                for one in some:
                    await self._read_some(app_id, [one], unread)
            else:
                self._refused(some[0], error, always=unread[some[0]])
            return
        for watched, snapshot, known in zip(some, snapshots, before, strict=True):
            channel = self._hub.channels.get(watched.topic)
            if self._watched.get(watched.topic) is not watched or channel is None:
                continue
            always = unread[watched]
            if always and is_outdated(snapshot.version, known, channel.roster):
                self._read(watched, always=True)
            else:
                self._believe(channel, watched, snapshot, always=always)

    def _roster(self, watched: _Watched) -> int | None:
        channel = self._hub.channels.get(watched.topic)
        return None if channel is None else channel.roster

    def _refused(self, watched: _Watched, error: DriverRefused, *, always: bool) -> None:
        """Read a list again later."""
        level = logging.DEBUG if self._said == error.message else logging.WARNING
        _log.log(level, "watchlists wait: %s", error, extra={"event": "refused"})
        self._said = error.message

        def again() -> None:
            self._resting.discard(watched)
            if self._watched.get(watched.topic) is watched:
                self._read(watched, always=always)

        if watched not in self._resting:
            self._resting.add(watched)
            self._tasks.later(REFUSED_SECONDS, again)

    def _read(self, watched: _Watched, *, always: bool = False) -> None:
        self._unread[watched] = always or self._unread.get(watched, False)
        self._event.set()

    def _watch(self, user: OnlineUser) -> _Watched:
        topic = self._topic(user.app_id, online_list(user.user_id))
        watched = self._watched.get(topic)
        if watched is None:
            watched = self._watched[topic] = _Watched(user, topic, self._heard)
            self._enter(watched)
        return watched

    def _enter(self, watched: _Watched) -> None:
        channel = self._hub.open(watched.topic, watched.user.app_id, watched.name)

        def proceed() -> None:
            channel.joining[watched] = Joining()
            self._read(watched)

        if channel.stream.live:
            proceed()
        else:
            channel.waiting[watched] = proceed

    def _believe(
        self, channel: LocalChannel, watched: _Watched, snapshot: Snapshot, *, always: bool
    ) -> None:
        online = watched.user.user_id in snapshot.members
        joining = channel.joining.pop(watched, None)
        if joining is not None:
            version = snapshot.version
            for kept in joining.frames:
                said = last_said(kept.frame)
                if kept.version > version and said is not None:
                    version, online = kept.version, said
            self._hub.add_member(channel, watched, version)
            self._know(watched, online=online)
            if not channel.stream.live:  # it may have fallen before the list was read
                self._read(watched)
        elif always or (channel.roster is not None and channel.roster < snapshot.version):
            self._hub.flush()  # what was published before comes before
            channel.roster = snapshot.version
            self._heard(watched, online)

    # -- telling ----------------------------------------------------------------------

    def _know(self, watched: _Watched, *, online: bool) -> None:
        watched.online = online
        for watcher in list(watched.watchers):  # what is written may close one of them
            watcher.unknown -= 1
            if not watcher.unknown:
                self._greet(watcher)

    def _greet(self, watcher: _Watcher) -> None:
        online = [one.user.user_id for one in watcher.watched if one.online]
        if online:
            watcher.connection.send(encode_watchlist_events(online, ()))

    def _heard(self, watched: _Watched, online: bool) -> None:  # noqa: FBT001 - a state of theirs
        if watched.online is None or watched.online == online:
            return
        watched.online = online
        user_id = watched.user.user_id
        for watcher in watched.watchers:
            if watcher.unknown:
                continue  # not greeted yet
            if watcher.changed.pop(user_id, None) is None:
                watcher.changed[user_id] = online
            if not self._dirty:
                self._call_soon(self._tell)
            self._dirty[watcher] = None

    def _tell(self) -> None:
        dirty, self._dirty = self._dirty, {}
        frames: dict[tuple[tuple[str, bool], ...], bytes] = {}
        for watcher in dirty:
            changed, watcher.changed = watcher.changed, {}
            key = tuple(changed.items())
            if not key:
                continue
            if key not in frames:
                online = [user_id for user_id, is_online in key if is_online]
                offline = [user_id for user_id, is_online in key if not is_online]
                frames[key] = encode_watchlist_events(online, offline)
            watcher.connection.send(frames[key])
