"""
The JSON form of a job, as it lies in a queue.

::

    {"v": 1,                    version of this format
     "id": "<32 hex digits>",   the job's id everywhere; a UUIDv7, or derived from another id
     "job": "mail.SendMail",    a name in the worker's registry, never a path to import
     "data": {...},             the job's fields

     and, each only if it is needed:

     "tries": 3,                tries allowed; 0 is no limit
     "backoff": [1, 5, 30],     seconds before each retry, the last one repeats
     "jitter": 0.2,             each wait is up to this part shorter, at random
     "timeout": 60,             seconds a try may take; 0 is no limit
     "fail_on_timeout": true,   a try that took too long is the last one
     "max_exceptions": 3,       tries that may end with an exception
     "retry_until": 1.7e9,      Unix seconds: tries are not counted, none begins later
     "retry_for": 7200,         `retry_until` is that long after it is pushed (again)
     "drop_missing": true,      without its models it is forgotten, not failed
     "unlock": "mail.Send:7",   a unique lock to free before it runs
     "chain": {"id", "index", "next": [...], "catch": [...]},
     "batch": {"id", "index"},
     "cause": {"chain" or "batch", "job", "job_id", "error"}}   what a callback is about

A chain carries what follows in itself: each link holds the ones after it, so no record can
be lost, and a failed link that is retried goes on with the rest.

Readers refuse fields they do not know: a newer writer must raise ``v``.
"""

from __future__ import annotations

import contextlib
import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from broadcaster.errors import InvalidJob
from broadcaster.protocol.channels import shown
from broadcaster.protocol.lanes import QUEUE_PATTERN

BROADCAST_JOB = "broadcaster.broadcast"
"""The built-in job that publishes one finished event; `Payload.job` of such a one."""

BATCH_JOB = "broadcaster.batch"
"""The built-in job that starts a batch which is a link of a chain."""

MAX_PAYLOAD_BYTES = 1_048_576
"""Longest encoded payload, checked when a job is dispatched and when it is read."""

MAX_LINKS = 1_000
"""Most jobs of a chain, and most callbacks of one kind."""

_UNREADABLE = (ValueError, RecursionError, OverflowError)

_Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
_Moment = Annotated[float, Meta(ge=0, le=1e11)]
_Count = Annotated[int, Meta(ge=0, le=1_000_000)]
_Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Queue = Annotated[str, Meta(pattern=rf"\A{QUEUE_PATTERN}\Z")]


class NextJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    A job that is queued when another one has ended.

    Attributes:
        payload: of the job, with its place in a batch if it has one. Its place in a chain, and
            its id if it has none in a batch, it gets when it is queued.
        queue: where it goes; the name of a lane for a job with an order.
        delay: seconds before it may run, counted from then.
    """

    payload: Payload
    queue: _Queue
    delay: _Seconds = 0.0


class ChainPlace(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """
    The place of a job in a chain, and what follows it.

    Attributes:
        id: of the chain.
        index: of this link, from 0.
        next: the links after it.
        catch: jobs to queue if a link fails for good.
    """

    id: _Id
    index: _Count
    next: Annotated[tuple[NextJob, ...], Meta(max_length=MAX_LINKS)] = ()
    catch: Annotated[tuple[NextJob, ...], Meta(max_length=MAX_LINKS)] = ()


class BatchPlace(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """
    The place of a job in a batch.

    Attributes:
        id: of the batch.
        index: of this job in it, from 0.
        always: it runs even when the batch is cancelled; so does one that people put back.
    """

    id: _Id
    index: _Count
    always: bool = False


class Cause(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """
    What a callback is about.

    Attributes:
        chain: id of the chain that broke, or "".
        batch: id of the batch that calls back, or "".
        job: registered name of the job that failed, or "".
        job_id: its id, or "".
        error: type and text of its exception, or "".
    """

    chain: str = ""
    batch: str = ""
    job: str = ""
    job_id: str = ""
    error: str = ""


class Payload(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="v",
    tag=1,
):
    """
    One job, ready to be queued.

    Attributes:
        id: 32 lower-case hex digits.
        job: registered name, 1 to 200 characters.
        data: the job's fields, JSON types only.
        tries: tries allowed, 0 for no limit; None leaves it to the worker.
        backoff: seconds before each retry; empty leaves it to the worker.
        jitter: the part of each wait that chance may take away, 0 to 1.
        timeout: seconds one try may take, 0 for no limit; None leaves it to the worker.
        fail_on_timeout: a try that took too long is not repeated.
        max_exceptions: tries that may end with an exception; None is no limit.
        retry_until: Unix seconds after which no try begins; tries do not count then.
        retry_for: seconds from its being pushed to `retry_until`.
        drop_missing: it is forgotten when a model that it refers to is gone.
        unlock: the unique lock that is freed when it begins to run, or "".
        chain: its place in a chain.
        batch: its place in a batch.
        cause: what a callback is about.
    """

    id: _Id
    job: _Name
    data: dict[str, Any] = {}
    tries: _Count | None = None
    backoff: Annotated[tuple[_Seconds, ...], Meta(max_length=100)] = ()
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    timeout: _Seconds | None = None
    fail_on_timeout: bool = False
    max_exceptions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    retry_until: _Moment | None = None
    retry_for: _Seconds | None = None
    drop_missing: bool = False
    unlock: Annotated[str, Meta(max_length=500)] = ""
    chain: ChainPlace | None = None
    batch: BatchPlace | None = None
    cause: Cause | None = None


_encoder = msgspec.json.Encoder()


class _SomePlace(msgspec.Struct):
    """What `outline` reads of a `BatchPlace`."""

    id: _Id
    index: _Count


class _SomeJob(msgspec.Struct):
    """What `outline` reads of a `Payload`."""

    id: _Id
    job: str = ""
    batch: _SomePlace | None = None
    chain: msgspec.Raw = msgspec.Raw(b"null")


class _SomeLink(msgspec.Struct):
    """What `outline` reads of a `NextJob`."""

    payload: _SomeJob


class _SomeChain(msgspec.Struct):
    """What `outline` reads of a `ChainPlace` that cannot be read as a whole."""

    id: _Id
    index: _Count
    next: Annotated[list[_SomeLink], Meta(max_length=MAX_LINKS)] = []


_decoder = msgspec.json.Decoder(Payload)


def encode_payload(payload: Payload, *, max_bytes: int = MAX_PAYLOAD_BYTES) -> bytes:
    """
    Return the JSON form of `payload`, UTF-8.

    Raises:
        InvalidJob: a field breaks its limits, the data has no JSON form (NaN, infinity,
            lone surrogates, unknown types), or the result is longer than `max_bytes`.
    """
    name = shown(payload.job)
    try:
        body = _encoder.encode(payload)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidJob(f"job {name} cannot be written as JSON: {error}") from error
    if len(body) > max_bytes:
        raise InvalidJob(
            f"job {name} takes {len(body)} bytes, {max_bytes} are allowed: pass a reference "
            "(an id, a path) instead of the content"
        )
    # The encoder writes NaN and infinity as null; only then is a closer look needed.
    if b"null" in body and (path := _not_finite(msgspec.to_builtins(payload), "")):
        raise InvalidJob(f"job {name}: {path[1:]} is NaN or infinite, which JSON cannot carry")
    decode_payload(body, max_bytes=max_bytes)  # whatever is written can be read
    return body


def decode_payload(body: bytes, *, max_bytes: int = MAX_PAYLOAD_BYTES) -> Payload:
    """
    Read a payload.

    Raises:
        InvalidJob: too long, not JSON, another version, unknown or missing fields.
    """
    if len(body) > max_bytes:
        raise InvalidJob(f"payload takes {len(body)} bytes, {max_bytes} are allowed")
    try:
        return _decoder.decode(body)
    except _UNREADABLE as error:
        raise InvalidJob(f"payload is not a job: {shown(str(error), 100)}") from error


def outline(body: bytes) -> Payload | None:
    """
    Return the places in chain and batch of a job that `decode_payload` refuses, or None.

    A newer version may have written it. What follows from its failure must be known all the
    same: a batch would wait for it for ever. Nothing else in the result is to be relied on.
    """
    if len(body) > MAX_PAYLOAD_BYTES:
        return None
    try:
        some = msgspec.json.decode(body, type=_SomeJob)
    except _UNREADABLE:
        return None
    return _outlined(some, _chain_of(some.chain))


def _chain_of(raw: msgspec.Raw) -> ChainPlace | None:
    with contextlib.suppress(*_UNREADABLE):
        return msgspec.json.decode(raw, type=ChainPlace | None)
    with contextlib.suppress(*_UNREADABLE):  # without its callbacks
        some = msgspec.json.decode(raw, type=_SomeChain)
        links = (NextJob(_outlined(link.payload, None), "unknown") for link in some.next)
        return ChainPlace(id=some.id, index=some.index, next=tuple(links))
    return None


def _outlined(some: _SomeJob, chain: ChainPlace | None) -> Payload:
    place = None if some.batch is None else BatchPlace(id=some.batch.id, index=some.batch.index)
    return Payload(id=some.id, job=some.job, batch=place, chain=chain)


def refreshed(body: bytes, *, now: float, insist: bool = False) -> bytes:
    """
    Return the body of a failed job that is put back: its time to be tried begins anew.

    Anything that is no payload, needs no change or has no room for it, is returned as it is.

    Args:
        now: Unix seconds.
        insist: it runs, and so does what follows in its chain, in a cancelled batch too.

    Source: Laravel, ``queue:retry``, which evaluates ``retryUntil()`` again.
    """
    try:
        payload = decode_payload(body)
        fresh = _insisting(payload) if insist and payload.batch else payload
        if payload.retry_for is not None:
            fresh = msgspec.structs.replace(fresh, retry_until=now + payload.retry_for)
        return body if fresh is payload else encode_payload(fresh)
    except InvalidJob:
        return body


def _insisting(payload: Payload) -> Payload:
    """Return `payload` as one that runs, with its links, whether its batch is cancelled or not."""
    place, chain = payload.batch, payload.chain
    if place is not None:
        place = msgspec.structs.replace(place, always=True)
    if chain is not None:
        links = tuple(
            msgspec.structs.replace(link, payload=_insisting(link.payload)) for link in chain.next
        )
        chain = msgspec.structs.replace(chain, next=links)
    return msgspec.structs.replace(payload, batch=place, chain=chain)


def blaming(body: bytes, *, job: str, job_id: str, error: str) -> bytes:
    """
    Return the body of a callback with the job that it is about in its `Payload.cause`.

    Anything that is no payload of a callback is returned as it is.
    """
    try:
        payload = decode_payload(body)
        if payload.cause is None:
            return body
        cause = msgspec.structs.replace(payload.cause, job=job, job_id=job_id, error=error)
        return encode_payload(msgspec.structs.replace(payload, cause=cause))
    except InvalidJob:
        return body


def _not_finite(value: Any, path: str) -> str | None:
    """Return the path of the first float that is not finite; no deeper than the encoder went."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if isinstance(value, dict):
        found = (_not_finite(item, f"{path}.{key}") for key, item in value.items())
    elif isinstance(value, list | tuple):
        found = (_not_finite(item, f"{path}[{index}]") for index, item in enumerate(value))
    else:
        return None
    return next((hit for hit in found if hit), None)
