"""The nodes that live, and what each of them has to leave behind tidily."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.presence import Lease, Renewal
from broadcaster.drivers.redis.client import VERB_SECONDS, translated
from broadcaster.drivers.redis.scripts_loader import arun, load_script
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.drivers.redis.client import RedisClients

# Shared by all stores of a process: the order of calls is the order of these numbers.
_numbers = itertools.count(1)


class Leases:
    """
    Leases of gateway nodes, and the index of channels where each has members.

    Args:
        clients: where the leases are kept.
        seconds: length of a lease.
    """

    def __init__(self, clients: RedisClients, *, seconds: float) -> None:
        self._clients = clients
        self._keys = NodeKeys(clients)
        self._length_ms = round(seconds * 1000)
        self._starts: dict[str, _Start] = {}

    async def renew(self, node: str, epoch: int) -> Renewal:
        """See `PresenceStore.renew`."""
        name = node_name(node, epoch)
        known = self._starts.get(node)
        until_ms, existed, start, incarnation, run_id = await arun(
            self._clients.aio,
            load_script("lease_renew"),
            (
                self._keys.nodes,
                self._keys.starts,
                self._keys.incarnation,
            ),
            (
                name,
                self._length_ms,
                secrets.token_hex(8),
                known.text if known and known.epoch == epoch else "",
                secrets.token_hex(8),
            ),
            repeat_lost=True,
        )
        self._starts[node] = _Start(epoch, _text(start))
        lease = Lease(node, epoch, until_ms)
        return Renewal(lease, bool(existed), _text(incarnation), _text(run_id))

    async def index_add(self, lease: Lease, entries: Iterable[str]) -> None:
        """Note channels, as made by `entry`. See `PresenceStore.index_add`."""
        name = node_name(lease.node, lease.epoch)
        await arun(
            self._clients.aio,
            load_script("lease_index"),
            (self._keys.nodes, self._keys.index(name)),
            (name, lease.until_ms, next(_numbers), *entries),
            repeat_lost=True,
        )

    async def index_remove(self, lease: Lease, entry: str) -> None:
        """Forget a channel. See `PresenceStore.index_remove`."""
        name = node_name(lease.node, lease.epoch)
        await arun(
            self._clients.aio,
            load_script("lease_unindex"),
            (self._keys.index(name),),
            (entry, next(_numbers)),
            repeat_lost=True,
        )

    async def retire(self, lease: Lease) -> None:
        """See `PresenceStore.retire`."""
        client = self._clients.aio
        with translated(client):
            async with asyncio.timeout(VERB_SECONDS):
                # A score of 0 ended long ago: due for sweeping, and no longer renewable.
                await client.zadd(
                    self._keys.nodes, {node_name(lease.node, lease.epoch): 0}, xx=True
                )


class NodeKeys:
    """Keys of what nodes write; all in one slot, so that a script can check the lease."""

    def __init__(self, clients: RedisClients) -> None:
        self._keys = clients.keys
        self.nodes = self._keys.nodes("leases")
        self.starts = self._keys.nodes("starts")
        self.incarnation = self._keys.nodes("incarnation")
        self.lock = self._keys.nodes("sweeper")
        self.facts = self._keys.nodes("facts")
        self.totals = [
            *map(self._keys.nodes, ("totals", "told", "vacating", "shown", "counting")),
            self.facts,
            self._keys.nodes("sequence"),
        ]

    def index(self, name: str) -> str:
        """Return the key of the channels where a node has members."""
        return self._keys.nodes(f"index:{name}")

    def occupancy(self, name: str) -> str:
        """Return the key of a node's connections per channel."""
        return self._keys.nodes(f"occupancy:{name}")


def _text(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")


class _Start(NamedTuple):
    epoch: int
    text: str


def is_node_name(name: bytes) -> bool:
    """Whether `node_name` could have made `name`."""
    node, colon, epoch = name.rpartition(b":")
    return bool(node and colon) and b":" not in node and epoch.isdigit() and _is_utf8(name)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def node_name(node: str, epoch: int) -> str:
    """
    Return ``node:epoch``, what a lease is filed under.

    Raises:
        ConfigurationError: the name of the node has a colon.
    """
    if ":" in node or not node:
        raise ConfigurationError(f"node name {shown(node)} must not be empty or have a colon")
    return f"{node}:{epoch}"


def entry(app_id: str, channel: str) -> str:
    """Return ``app|channel``, unambiguous because neither name can have a bar."""
    return f"{app_id}|{channel}"


def read_entry(text: bytes) -> tuple[str, str]:
    """Return app id and channel of what `entry` made."""
    app_id, _, channel = text.decode("ascii", "replace").partition("|")
    return app_id, channel
