"""Ports for the servers of tests, of which no two come from test processes that run at once."""

from __future__ import annotations

import os
import random
import socket

# Below the ports that systems give to whoever asks for any: between choosing a port here and
# listening on it in a child, no connection of another test can come to lie on it.
FIRST = 10_000
SHARES, SHARE = 16, 1_300


def share_of(worker: str) -> range:
    """Return the ports of one process that runs tests: ``gw3`` is the fourth beside others."""
    digits = "".join(filter(str.isdigit, worker))
    start = FIRST + (int(digits) if digits else 0) % SHARES * SHARE
    return range(start, start + SHARE)


def free_port() -> int:
    """Return a port that nobody listens on now, and that is not returned again for long."""
    for _ in range(SHARE):
        port = _ports.pop(0)
        _ports.append(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"all ports from {_mine.start} to {_mine.stop - 1} are taken")


_mine = share_of(os.environ.get("PYTEST_XDIST_WORKER", ""))
_ports = random.sample(_mine, SHARE)
