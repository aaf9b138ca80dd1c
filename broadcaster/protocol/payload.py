"""
The JSON form of a job, as it lies in a queue.

::

    {"v": 1,                    version of this format
     "id": "<32 hex digits>",   a UUIDv7, the job's id everywhere
     "job": "mail.SendMail",    a name in the worker's registry, never a path to import
     "data": {...},             the job's fields
     "tries": 3,                optional: tries allowed; 0 is no limit
     "backoff": [1, 5, 30],     optional: seconds before each retry, the last one repeats
     "timeout": 60}             optional: seconds a try may take; 0 is no limit

Readers refuse fields they do not know: a newer writer must raise ``v``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from broadcaster.errors import InvalidJob
from broadcaster.protocol.channels import shown

BROADCAST_JOB = "broadcaster.broadcast"
"""The built-in job that publishes one finished event; `Payload.job` of such a one."""

MAX_PAYLOAD_BYTES = 1_048_576
"""Longest encoded payload, checked when a job is dispatched and when it is read."""

_Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One job, ready to be queued.

    Attributes:
        id: 32 lower-case hex digits.
        job: registered name, 1 to 200 characters.
        data: the job's fields, JSON types only.
        tries: tries allowed, 0 for no limit; None leaves it to the worker.
        backoff: seconds before each retry; empty leaves it to the worker.
        timeout: seconds one try may take, 0 for no limit; None leaves it to the worker.
        v: version of the format.
    """

    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    job: Annotated[str, Meta(min_length=1, max_length=200)]
    data: dict[str, Any] = {}
    tries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    backoff: Annotated[tuple[_Seconds, ...], Meta(max_length=100)] = ()
    timeout: _Seconds | None = None
    v: Literal[1] = 1


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Payload)


def encode_payload(payload: Payload, *, max_bytes: int = MAX_PAYLOAD_BYTES) -> bytes:
    """
    Return the JSON form of `payload`, UTF-8.

    Raises:
        InvalidJob: a field breaks its limits, the data has no JSON form (NaN, infinity,
            lone surrogates, unknown types), or the result is longer than `max_bytes`.
    """
    name = shown(payload.job)
    fields: dict[str, object] = {"v": 1, "id": payload.id, "job": payload.job, "data": payload.data}
    if payload.tries is not None:
        fields["tries"] = payload.tries
    if payload.backoff:
        fields["backoff"] = payload.backoff
    if payload.timeout is not None:
        fields["timeout"] = payload.timeout
    try:
        body = _encoder.encode(fields)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidJob(f"job {name} cannot be written as JSON: {error}") from error
    if len(body) > max_bytes:
        raise InvalidJob(
            f"job {name} takes {len(body)} bytes, {max_bytes} are allowed: pass a reference "
            "(an id, a path) instead of the content"
        )
    # The encoder writes NaN and infinity as null; only then is a closer look needed.
    if b"null" in body and (path := _not_finite(msgspec.to_builtins(fields), "")):
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
    except (ValueError, RecursionError, OverflowError) as error:
        raise InvalidJob(f"payload is not a job: {shown(str(error), 100)}") from error


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
