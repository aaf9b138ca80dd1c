"""
Webhooks that an application sends itself: tried again by what the receiver answers.

5xx and no answer: again, later and later. 429: when the receiver says. Other 4xx: never.
The same webhook is not queued twice. See README.md.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx

from broadcaster import Job, minutes, provide

log = logging.getLogger("deliveries")
log.setLevel(logging.INFO)

LOG: list[tuple[str, int]] = []  # URL and status of what was taken; your database in earnest
LONGEST_WAIT = 3_600


class Http:
    """One client per run; a test replaces its transport."""

    transport: httpx.AsyncBaseTransport | None = None

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=30, transport=self.transport)


provide(Http, Http)


class SendWebhook(
    Job,
    queue="webhooks",
    tries=5,
    backoff=[30, 60, 120, 300, 600],
    jitter=0.1,
    timeout=minutes(1),
    unique=True,
):
    url: str
    payload: dict[str, Any]
    headers: dict[str, str]

    async def handle(self, http: Http) -> None:
        async with http.client() as client:
            response = await client.post(self.url, json=self.payload, headers=self.headers)
        if response.is_success:
            LOG.append((self.url, response.status_code))
            return
        log.warning("%s answered %d", self.url, response.status_code)
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self.release(patience(response), count=False)
        elif response.is_server_error:
            self.release(self.next_backoff())
        else:
            self.fail(f"the receiver answered {response.status_code}")

    async def failed(self, error: BaseException) -> None:
        log.error("%s is given up: %s", self.url, error)


def patience(response: httpx.Response) -> int:
    """Return the seconds that a receiver asks for, within reason."""
    said = response.headers.get("retry-after", "")
    return min(max(1, int(said)), LONGEST_WAIT) if said.isdecimal() else 60
