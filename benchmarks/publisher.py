"""A backend that publishes over the signed HTTP API at a fixed pace."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urlencode

import msgspec

from benchmarks.load import BenchmarkError
from benchmarks.servers import KEY, SECRET
from benchmarks.templates import APP_ID, EVENT
from broadcaster.protocol.signing import sign_request


def publish_at_pace(port: int, channel: str, *, size: int, a_second: float, seconds: float) -> int:
    """
    POST events with a mark in them; return how many.

    Raises:
        BenchmarkError: one was refused.
    """
    path = f"/apps/{APP_ID}/events"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    start = time.monotonic()
    count = int(a_second * seconds)
    for number in range(count):
        time.sleep(max(start + number / a_second - time.monotonic(), 0))
        data = f"@T{time.monotonic_ns():020d}@".ljust(size, "x")
        body = msgspec.json.encode({"name": EVENT, "channels": [channel], "data": data})
        query = sign_request(
            KEY, SECRET, method="POST", path=path, body=body, params={}, now=time.time()
        )
        head = {"Content-Type": "application/json"}
        connection.request("POST", f"{path}?{urlencode(query)}", body=body, headers=head)
        response = connection.getresponse()
        text = response.read()
        if response.status != http.HTTPStatus.OK:
            raise BenchmarkError(f"a publish was refused: {response.status} {text[:200]!r}")
    connection.close()
    return count
