"""
The one place that spells Redis keys and pub/sub channel names.

================================  =====================================================
``{prefix}:{<app>:<channel>}``    pub/sub topic of a channel
``...:m  :h  :c  :d:<id>``        its position, history, cached event, dedupe marks
``{prefix}:{<app>:}``             pub/sub topic of an app's control messages
``{prefix}:{<app>:}:<suffix>``    what else an app has: revocations, first answers to requests
``{prefix}:{q:<queue>}:<suffix>`` a queue
``...:#<lane>:<suffix>``          one lane of a queue
``{prefix}:{queues}:names``       the list of queues
``{prefix}:{b:<id>}:<suffix>``    a batch
``{prefix}:{batches}:<suffix>``   the list of batches
``{prefix}:{l:<hash>}:<suffix>``  a lock or a limit, by a hash of its name
``{prefix}:{nodes}:<suffix>``     the list of gateways, and what each has written
``{prefix}:{apps}``               pub/sub topic of changes to the list of apps
``{prefix}:{apps}:<suffix>``      that list
================================  =====================================================

The braces are part of the key: Redis Cluster hashes what stands between them, so all
keys of one channel (or queue, or of all nodes) live in one slot and one script may use
them. App ids and queue names have no colon and no brace, channel names neither, so no name
can spell another's key.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import RESERVED_IDS
from broadcaster.protocol.channels import shown
from broadcaster.protocol.lanes import split_lane

_PREFIX = re.compile(r"[-A-Za-z0-9_.:/]{1,64}")
_NAME = re.compile(r"[-A-Za-z0-9_.@]{1,128}")
_CHANNEL = re.compile(r"#?[-a-zA-Z0-9_=@,.;]{1,200}")


class Keys:
    """
    Keys under one prefix.

    Every method raises `ConfigurationError` for a name that could spell another's key:
    names are checked where they enter the program, and this is the second lock.
    """

    __slots__ = ("prefix",)

    def __init__(self, prefix: str = "broadcaster") -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"Redis prefix {shown(prefix)} must be 1 to 64 of letters, digits and - _ . : /"
            )
        self.prefix = prefix

    def channel(self, app_id: str, channel: str, suffix: str) -> str:
        """Return the key of one thing of one channel."""
        return f"{self._topic(app_id, channel)}:{suffix}"

    def topic(self, app_id: str, channel: str) -> bytes:
        """Return the pub/sub topic of a channel."""
        return self._topic(app_id, channel).encode()

    def control(self, app_id: str) -> bytes:
        """Return the pub/sub topic of an app's control messages."""
        return f"{self.prefix}:{{{_app(app_id)}:}}".encode()

    def of_app(self, app_id: str, suffix: str) -> str:
        """Return a key in the slot of the app's control topic."""
        return f"{self.prefix}:{{{_app(app_id)}:}}:{suffix}"

    def queue(self, name: str, suffix: str) -> str:
        """Return the key of one thing of one queue, or of one lane of a queue."""
        return _of_queue(self.prefix, name, suffix)

    def hints(self, name: str) -> str:
        """Return the key of the list that wakes who waits for a queue, or for one of its lanes."""
        return self.queue(split_lane(name)[0], "notify")

    def queues(self, suffix: str) -> str:
        """Return the key of something all queues share."""
        return f"{self.prefix}:{{queues}}:{suffix}"

    def batch(self, batch_id: str, suffix: str) -> str:
        """Return the key of one thing of one batch."""
        return f"{self.prefix}:{{b:{_name(batch_id)}}}:{suffix}"

    def batches(self, suffix: str) -> str:
        """Return the key of something all batches share."""
        return f"{self.prefix}:{{batches}}:{suffix}"

    def job(self, job_id: str, suffix: str) -> str:
        """Return the key of one thing of one job, whatever its queue."""
        return f"{self.prefix}:{{j:{_name(job_id)}}}:{suffix}"

    def limit(self, name: str, suffix: str) -> str:
        """Return the key of one thing of a lock or a limit with this name, any text."""
        hashed = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{self.prefix}:{{l:{hashed}}}:{suffix}"

    def nodes(self, suffix: str) -> str:
        """Return the key of something all gateways share, or of what one has written."""
        return f"{self.prefix}:{{nodes}}:{suffix}"

    def apps(self, suffix: str) -> str:
        """Return the key of one thing of the list of apps."""
        return f"{self.prefix}:{{apps}}:{suffix}"

    def apps_topic(self) -> bytes:
        """Return the pub/sub topic on which changes to the list of apps are told."""
        return f"{self.prefix}:{{apps}}".encode()

    def _topic(self, app_id: str, channel: str) -> str:
        return _topic(self.prefix, app_id, channel)


# A step has seventeen keys, and the same ones each time.
@lru_cache(maxsize=4_096)
def _of_queue(prefix: str, name: str, suffix: str) -> str:
    family, lane = split_lane(name)
    of_lane = "" if lane is None else f"#{lane}:"
    return f"{prefix}:{{q:{_name(family)}}}:{of_lane}{suffix}"


@lru_cache(maxsize=4_096)
def _topic(prefix: str, app_id: str, channel: str) -> str:
    if not _CHANNEL.fullmatch(channel):
        raise ConfigurationError(f"channel name {shown(channel)} cannot be part of a Redis key")
    return f"{prefix}:{{{_app(app_id)}:{channel}}}"


def _app(app_id: str) -> str:
    if app_id in RESERVED_IDS or not _NAME.fullmatch(app_id):
        raise ConfigurationError(f"app id {shown(app_id)} cannot be part of a Redis key")
    return app_id


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"name {shown(name)} must be 1 to 128 of letters, digits and - _ . @"
        )
    return name
