"""What a process calls itself where all the others can see it."""

from __future__ import annotations

import os
import socket

_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def process_name() -> str:
    """Return a name that no other process start has: host, pid and four random bytes."""
    host = "".join(c for c in socket.gethostname() if c in _HOST_CHARACTERS)[:40]
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
