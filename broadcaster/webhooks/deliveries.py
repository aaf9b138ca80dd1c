"""
The job ``broadcaster.webhook``: bringing one fact to one endpoint.

What becomes of it:

==============================================  ==========================================
the receiver answers 2xx                        `Done`
anything else, within 5 minutes of the fact     `Retry` after a pause that grows
anything else after that                        `Fail`: kept with the failed jobs
its address is not one that may be asked        `Fail` at once
not tried now (see `broadcaster.webhooks.receiver`)  `Release`, which uses up no try
the app has no such endpoint, for 5 minutes     `Done`, and the log says so
==============================================  ==========================================

A job is tried at least once, however old it is: a fact that waited while all gateways
were down is told when one is back.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from broadcaster.contracts.queue import Done, Fail, Release, Retry
from broadcaster.errors import AddressRefused, ConfigurationError, DriverUnavailable, InvalidJob
from broadcaster.protocol.channels import shown
from broadcaster.protocol.fact_jobs import read_delivery
from broadcaster.protocol.webhooks import (
    GIVE_UP_SECONDS,
    find_webhook,
    is_accepted,
    next_try,
    shown_url,
    time_left,
    webhook_body,
    webhook_headers,
)
from broadcaster.webhooks.receiver import Accepted, Postponed, Receiver, Refused, Room
from broadcaster.webhooks.unordered import UnorderedRunner, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.contracts.queue import Reserved, Settlement
    from broadcaster.contracts.webhooks import WebhookSender
    from broadcaster.protocol.app import App, Webhook
    from broadcaster.protocol.facts import Fact

UNKNOWN_SECONDS = 1.0
"""Until an app is asked for again that is not known, while the list of apps is not read."""

_log = logging.getLogger("broadcaster.webhooks")

MAX_RECEIVERS = 10_000
"""Receivers whose failures are remembered; past it, those that are idle are forgotten."""
_REDIRECTS = range(300, 400)


class Chances(NamedTuple):
    """
    What a delivery depends on beside its arguments.

    Attributes:
        clock: Unix seconds.
        monotonic: seconds that only grow.
        random: from 0 up to 1.
    """

    clock: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]


class DeliveryRunner(UnorderedRunner):
    """
    Runs the jobs of `WEBHOOK_QUEUE`; a `broadcaster.worker.contract.Runner`.

    Args:
        apps: whose secret signs, and whether the endpoint is still one.
        sender: makes the requests.
        places: jobs that are run at once, of all receivers together.
        at_once: requests to one receiver at once.
        gather: seconds in which facts for a batch are gathered.
    """

    def __init__(
        self,
        apps: AppProvider,
        sender: WebhookSender,
        chances: Chances,
        *,
        places: int,
        at_once: int,
        gather: float,
    ) -> None:
        self._apps = apps
        self._sender = sender
        self._chances = chances
        self._room = Room(places)
        self._at_once = at_once
        self._gather = gather
        self._receivers: dict[tuple[str, str], Receiver] = {}

    async def run(self, queue: str, reserved: Reserved, hold: object) -> Settlement:
        """Deliver one fact, or say when to try again."""
        del hold
        job_id, token = reserved.id, reserved.token
        try:
            delivery = read_delivery(reserved.body)
        except InvalidJob as error:
            return unreadable("webhook", queue, reserved, error)
        url, fact = delivery.url, delivery.fact
        app = self._apps.by_id(fact.app_id)
        if app is None and not self._apps.settled:  # a moment later it may be known
            return Release(job_id, token, UNKNOWN_SECONDS)
        webhook = None if app is None else find_webhook(app, url, fact)
        if app is None or webhook is None:
            return self._unknown(reserved, fact, url)
        found = webhook

        async def send(facts: Sequence[Fact]) -> Accepted | Refused:
            return await self._send(app, found, facts)

        receiver = self._receiver(app.id, url)
        outcome = await receiver.deliver(fact, send, batch=webhook.batch)
        if receiver.idle and not receiver.failures:
            self._receivers.pop((app.id, url), None)
        match outcome:
            case Accepted():
                return Done(job_id, token)
            case Postponed():
                return self._postpone(reserved, fact, url, outcome)
            case Refused():
                return self._again(reserved, fact, url, outcome)

    def _receiver(self, app_id: str, url: str) -> Receiver:
        key = app_id, url
        receiver = self._receivers.get(key)
        if receiver is None:
            if len(self._receivers) >= MAX_RECEIVERS:
                self._receivers = {k: r for k, r in self._receivers.items() if not r.idle}
            receiver = self._receivers[key] = Receiver(
                self._room, at_once=self._at_once, gather=self._gather, now=self._chances.monotonic
            )
        return receiver

    async def _send(self, app: App, webhook: Webhook, facts: Sequence[Fact]) -> Accepted | Refused:
        body = webhook_body(facts, now=self._chances.clock())
        headers = webhook_headers(app, webhook, facts, body)
        try:
            answer = await self._sender.post(webhook.url, headers, body)
        except (AddressRefused, ConfigurationError) as error:
            outcome = Refused(error.code, error.message, final=True)
        except DriverUnavailable as error:
            outcome = Refused("no_answer", error.message)
        except Exception as error:  # noqa: BLE001 - whatever a sender raises, the others go on
            _log.exception("a webhook could not be sent", extra={"event": "bug", "app": app.id})
            outcome = Refused("internal", type(error).__name__)
        else:
            if is_accepted(answer.status):
                _log.debug(
                    "%d events to %s",
                    len(facts),
                    shown_url(webhook.url),
                    extra={"event": "webhook_sent", "app": app.id, "count": len(facts)},
                )
                return Accepted()
            outcome = Refused(f"status_{answer.status}", _answered(answer.status))
        _log.warning(
            "webhook to %s: %s",
            shown_url(webhook.url),
            outcome.error,
            extra={
                "event": "webhook_failed",
                "app": app.id,
                "cause": outcome.reason,
                "count": len(facts),
            },
        )
        return outcome

    def _unknown(self, reserved: Reserved, fact: Fact, url: str) -> Settlement:
        """Leave it to a gateway that knows the endpoint: settings differ while they are changed."""
        clock, random = self._chances.clock, self._chances.random
        pause = next_try(fact, attempt=reserved.attempts + 1, now=clock(), chance=random())
        if pause is not None:
            return Retry(reserved.id, reserved.token, pause)
        _log.warning(
            "%s is not sent to %s: app %s has no such webhook any more",
            fact.name,
            shown_url(url),
            shown(fact.app_id),
            extra={"event": "webhook_dropped", "app": fact.app_id, "channel": fact.channel},
        )
        return Done(reserved.id, reserved.token)

    def _again(self, reserved: Reserved, fact: Fact, url: str, refused: Refused) -> Settlement:
        attempt = reserved.attempts + 1
        pause = next_try(
            fact, attempt=attempt, now=self._chances.clock(), chance=self._chances.random()
        )
        if refused.final or pause is None:
            return _given_up(reserved, fact, url, refused)
        return Retry(reserved.id, reserved.token, pause)

    def _postpone(self, reserved: Reserved, fact: Fact, url: str, wait: Postponed) -> Settlement:
        down = wait.down_for
        now, tries = self._chances.clock(), reserved.attempts
        over = time_left(fact, tries=tries, now=now, waited=down or 0.0) <= 0
        # What was never tried waits for the receiver as long as a new fact would.
        if down is not None and over and (reserved.attempts > 0 or down > GIVE_UP_SECONDS):
            text = f"not tried now: the receiver has accepted nothing for {down:.0f} s"
            return _given_up(reserved, fact, url, Refused("receiver_down", text))
        delay = wait.delay + self._chances.random() if wait.delay else 0.0
        if reserved.alone:  # a retry ends the quarantine of what a killed process held
            return Retry(reserved.id, reserved.token, delay)
        return Release(reserved.id, reserved.token, delay)


def _given_up(reserved: Reserved, fact: Fact, url: str, refused: Refused) -> Fail:
    line = f"{shown_url(url)}: {refused.error}"
    fields = {"event": "job_failed", "app": fact.app_id, "channel": fact.channel}
    fields |= {"job_id": reserved.id, "cause": refused.reason}
    _log.error("%s is given up: webhook to %s", fact.name, line, extra=fields)
    return Fail(reserved.id, reserved.token, refused.reason, line, reserved.attempts + 1)


def _answered(status: int) -> str:
    if status in _REDIRECTS:
        return f"the answer was {status}: redirects are not followed, set the URL they lead to"
    return f"the answer was {status}, not 2xx"
