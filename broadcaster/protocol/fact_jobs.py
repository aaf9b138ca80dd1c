"""
The jobs that facts become on their way.

::

    broadcaster.fact      a fact, in `FACT_QUEUE`             any gateway finds out who wants it
      ├─ broadcaster.webhook   it and a URL, in `WEBHOOK_QUEUE`   any gateway sends it
      └─ broadcaster.event     it, in the worker's default queue  a worker finds its listeners

Each has an id that follows from what it carries, so that making them again while they wait
makes nothing new. No secret is in them: an app is looked up by its id when a request is sent.
"""

from __future__ import annotations

import msgspec

from broadcaster.errors import InvalidJob
from broadcaster.protocol.facts import Fact, fact_id
from broadcaster.protocol.payload import Payload, decode_payload, encode_payload

WEBHOOK_JOB = "broadcaster.webhook"
"""The built-in job that brings one fact to one endpoint."""

WEBHOOK_QUEUE = "broadcaster.webhooks"
"""The queue that these wait in, apart from facts: a slow receiver holds up no news."""

EVENT_JOB = "broadcaster.event"
"""The built-in job that brings one fact to the listeners in a worker."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One fact on its way to one endpoint.

    Attributes:
        url: of the endpoint, which is looked up again by it when the request is sent.
        fact: what it is told.
    """

    url: str
    fact: Fact


def delivery_id(fact: Fact, url: str) -> str:
    """Return the id of the job that brings `fact` to `url`."""
    return fact_id("webhook", fact.app_id, fact.id, url)


def event_id(fact: Fact) -> str:
    """Return the id of the job that brings `fact` to listeners."""
    return fact_id("event", fact.app_id, fact.id)


def encode_delivery(delivery: Delivery) -> bytes:
    """Return the body of a `WEBHOOK_JOB`."""
    job_id = delivery_id(delivery.fact, delivery.url)
    return encode_payload(Payload(id=job_id, job=WEBHOOK_JOB, data=msgspec.to_builtins(delivery)))


def encode_event(fact: Fact) -> bytes:
    """Return the body of an `EVENT_JOB`."""
    return encode_payload(Payload(id=event_id(fact), job=EVENT_JOB, data=msgspec.to_builtins(fact)))


def read_fact(payload: Payload) -> Fact:
    """
    Return the fact in a ``broadcaster.fact`` or `EVENT_JOB`.

    Raises:
        InvalidJob: something else is in it.
    """
    try:
        return msgspec.convert(payload.data, Fact)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"{payload.job} carries no fact: {error}") from error


def read_delivery(body: bytes) -> Delivery:
    """
    Read what `encode_delivery` wrote.

    Raises:
        InvalidJob: it is something else.
    """
    payload = decode_payload(body)
    if payload.job != WEBHOOK_JOB:
        raise InvalidJob(f"the queue of webhooks holds a job of another kind: {payload.job!a}")
    try:
        return msgspec.convert(payload.data, Delivery)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"{payload.job} carries no webhook: {error}") from error
