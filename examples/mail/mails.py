"""
Rate-limited mail: no user gets more than ten an hour, and the provider no more than it takes.

What is over a limit waits and uses up no try. See README.md.
"""

from __future__ import annotations

import logging
from typing import Any

from broadcaster import Job, provide
from broadcaster.jobs.middleware import Limit, RateLimited, Throttle, limit

log = logging.getLogger("mails")
log.setLevel(logging.INFO)

SENT: list[tuple[int, str]] = []  # your log of mails in earnest


class Mailer:
    """Stands for a client of a mail provider."""

    async def send(self, user_id: int, template: str, data: dict[str, Any]) -> None:
        log.info("mail to user %d: %s %s", user_id, template, data)
        SENT.append((user_id, template))


provide(Mailer, Mailer)

limit("mails of a user", lambda job: Limit(allow=10, every=3_600, by=str(job.user_id)))


class SendMail(
    Job,
    queue="mail",
    tries=3,
    backoff=[10, 60],
    middleware=[RateLimited("mails of a user"), Throttle("mail provider", allow=30, every=60)],
):
    user_id: int
    template: str
    data: dict[str, Any]

    async def handle(self, mailer: Mailer) -> None:
        await mailer.send(self.user_id, self.template, self.data)
