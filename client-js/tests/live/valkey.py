"""Run an embedded server until standard input closes; its URL is the first line printed."""

import sys

from broadcaster.drivers.redis.embedded import EmbeddedServer

with EmbeddedServer() as server:
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
