"""
The parts of the API's description: codes, parameters, shapes and answers.

See `broadcaster.protocol.openapi` for what they are put together to. `CODES` has every code
that an HTTP answer can carry; docs/errors.md explains each.
"""

from __future__ import annotations

from typing import Any

from broadcaster.protocol.http_api import ATTRIBUTES, CHANNEL_ATTRIBUTES, MAX_BATCH, MAX_CHANNELS

Json = dict[str, Any]

CODES: dict[int, tuple[str, tuple[str, ...]]] = {
    400: (
        "The request is not what this route takes; the message says where and why.",
        (
            "malformed_body",
            "channel_missing",
            "channel_ambiguous",
            "too_many_channels",
            "invalid_channel",
            "encrypted_channel_not_alone",
            "invalid_event_name",
            "reserved_event_name",
            "invalid_socket_id",
            "batch_size",
            "unknown_attribute",
            "inapplicable_attribute",
            "not_presence",
            "invalid_user_id",
            "invalid_idempotency_key",
            "idempotency_key_ambiguous",
            "extraneous_parameter",
            "duplicate_parameter",
            "array_parameter",
            "malformed_query",
            "malformed_path",
            "malformed_message",
        ),
    ),
    401: (
        "The request is not signed as it must be; the message has the string to sign.",
        (
            "auth_missing",
            "auth_malformed",
            "auth_wrong_key",
            "auth_expired",
            "auth_mismatch",
            "body_mismatch",
        ),
    ),
    403: ("The app is disabled.", ("app_disabled",)),
    404: ("Nothing is here.", ("app_not_found", "not_found")),
    405: ("This path takes another method; `Allow` names it.", ("method_not_allowed",)),
    408: ("The body was not complete in time.", ("body_timeout",)),
    413: ("Too much to take.", ("payload_too_large", "request_too_large")),
    414: ("The query string is too long.", ("uri_too_long",)),
    415: ("The body is compressed.", ("unsupported_encoding",)),
    422: ("The idempotency key was used for another request.", ("idempotency_mismatch",)),
    429: ("The app publishes too fast; nothing was published.", ("rate_limited",)),
    500: (
        "The server failed; its log says why under the request id.",
        ("internal_error", "driver_refused", "revocations_full"),
    ),
    503: (
        "The store cannot be reached; repeat the request, it may have taken effect.",
        ("driver_unavailable",),
    ),
}
# What every signed route may answer with.
ALWAYS = (400, 401, 403, 404, 408, 413, 414, 415, 500, 503)

_CHANNEL_PATTERN = "^(#server-to-user-[-a-zA-Z0-9_=@,.;]{1,128}|[-a-zA-Z0-9_=@,.;]{1,200})$"
_SOCKET_PATTERN = "^[0-9]{1,20}\\.[0-9]{1,20}$"
_KEY_PATTERN = "^[\\x20-\\x7e]{1,128}$"
_INFO = "Attributes to answer with, separated by commas."


def ref(kind: str, name: str) -> Json:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def one_of(attributes: tuple[str, ...]) -> Json:
    """Return the shape of ``info``: some of `attributes`, separated by commas."""
    word = f"({'|'.join(attributes)})"
    return {"type": "string", "pattern": f"^{word}(,{word})*$"}


def parameter(name: str, place: str, schema: Json, description: str, **more: Any) -> Json:
    """Return a parameter; those of a path are always required."""
    required = {"required": True} if place == "path" else {}
    return {
        "name": name,
        "in": place,
        "description": description,
        "schema": schema,
        **required,
        **more,
    }


PARAMETERS: Json = {
    "app": parameter("app_id", "path", {"type": "string", "pattern": "^[0-9]+$"}, "The app's id."),
    "channel": parameter(
        "channel", "path", {"type": "string", "pattern": _CHANNEL_PATTERN}, "A channel's full name."
    ),
    "presence_channel": parameter(
        "channel",
        "path",
        {"type": "string", "pattern": "^presence-[-a-zA-Z0-9_=@,.;]{0,191}$"},
        "A presence channel's full name.",
    ),
    "user": parameter(
        "user_id",
        "path",
        {"type": "string", "pattern": "^[-a-zA-Z0-9_=@,.;]{1,128}$"},
        "The id that a user signs in with.",
    ),
    "auth_key": parameter("auth_key", "query", {"type": "string"}, "The app's key.", required=True),
    "auth_timestamp": parameter(
        "auth_timestamp",
        "query",
        {"type": "string", "pattern": "^[0-9]{1,12}$"},
        "Unix seconds, at most 600 s from the server's clock.",
        required=True,
    ),
    "auth_version": parameter(
        "auth_version", "query", {"const": "1.0"}, "Always 1.0.", required=True
    ),
    "body_md5": parameter(
        "body_md5",
        "query",
        {"type": "string", "pattern": "^[0-9a-fA-F]{32}$"},
        "Hex MD5 of the body; may be left out when there is none.",
    ),
    "idempotency_key": parameter(
        "Idempotency-Key",
        "header",
        {"type": "string", "pattern": _KEY_PATTERN},
        "Names the request, so that a repeat within 10 minutes is answered as the first was and "
        "delivered once. Also read from `X-Idempotency-Key`, and from the body's "
        "`idempotency_key`, which is signed; if there is more than one they must be equal.",
    ),
    "request_id": parameter(
        "X-Request-ID",
        "header",
        {"type": "string"},
        "Comes back in the answer and stands in the log, if it is 1 to 64 letters, digits and "
        "`-_.`; else there is a new one.",
    ),
}
SIGNED = ("auth_key", "auth_timestamp", "auth_version", "body_md5", "request_id")

_EVENT: Json = {
    "name": {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "description": "The event's name; `pusher:` and `pusher_internal:` are the protocol's own. "
        "200 characters are the default of a setting.",
    },
    "data": {
        "type": "string",
        "description": "Delivered as it is; 10,240 bytes of UTF-8 unless set otherwise.",
    },
    "socket_id": {
        "type": ["string", "null"],
        "pattern": _SOCKET_PATTERN,
        "description": "The connection that does not get the event.",
    },
    "info": {**one_of(ATTRIBUTES), "type": ["string", "null"], "description": _INFO},
}
_CHANNEL: Json = {"type": "string", "pattern": _CHANNEL_PATTERN}
_KEY: Json = {
    "type": ["string", "null"],
    "pattern": _KEY_PATTERN,
    "description": "See the header `Idempotency-Key`.",
}
_COUNT: Json = {"type": "integer", "minimum": 0}
_COUNTED: Json = {
    "user_count": {**_COUNT, "description": "Different users of a presence channel."},
    "subscription_count": {**_COUNT, "description": "Connections that are subscribed."},
}


def shape(properties: Json, *, required: tuple[str, ...] = (), closed: bool = True) -> Json:
    """Return an object; what the server answers is closed, what it takes is open."""
    return {
        "type": "object",
        "properties": properties,
        **({"required": list(required)} if required else {}),
        **({"additionalProperties": False} if closed else {}),
    }


SCHEMAS: Json = {
    "Event": {
        **shape(
            {
                **_EVENT,
                "channels": {
                    "type": "array",
                    "items": _CHANNEL,
                    "minItems": 1,
                    "maxItems": MAX_CHANNELS,
                    "description": "Where to; an encrypted channel is alone.",
                },
                "channel": {**_CHANNEL, "description": "Instead of `channels`."},
                "idempotency_key": _KEY,
            },
            required=("name", "data"),
            closed=False,
        ),
        "oneOf": [{"required": ["channels"]}, {"required": ["channel"]}],
    },
    "BatchEvent": shape(
        {**_EVENT, "channel": _CHANNEL}, required=("name", "data", "channel"), closed=False
    ),
    "Batch": shape(
        {
            "batch": {
                "type": "array",
                "items": ref("schemas", "BatchEvent"),
                "minItems": 1,
                "maxItems": MAX_BATCH,
            },
            "idempotency_key": _KEY,
        },
        required=("batch",),
        closed=False,
    ),
    "Nothing": {"type": "object", "maxProperties": 0},
    "Counts": shape(_COUNTED),
    "Published": shape(
        {"channels": {"type": "object", "additionalProperties": ref("schemas", "Counts")}}
    ),
    "BatchPublished": shape({"batch": {"type": "array", "items": ref("schemas", "Counts")}}),
    "Channels": shape(
        {"channels": {"type": "object", "additionalProperties": ref("schemas", "Counts")}},
        required=("channels",),
    ),
    "Channel": shape(
        {
            "occupied": {"type": "boolean", "description": "Whether anybody is subscribed."},
            **_COUNTED,
            "cache": {
                "description": "The last event of a cache channel, null when there is none.",
                "oneOf": [{"type": "null"}, ref("schemas", "Cached")],
            },
        },
        required=("occupied",),
    ),
    "Cached": shape(
        {
            "data": {"type": "string", "description": "The event's data."},
            "ttl": {"type": "integer", "minimum": 1, "description": "Seconds it is kept."},
        },
        required=("data", "ttl"),
    ),
    "Users": shape(
        {"users": {"type": "array", "items": shape({"id": {"type": "string"}}, required=("id",))}},
        required=("users",),
    ),
    "Connections": shape({"connections": _COUNT}, required=("connections",)),
    "Up": shape({"status": {"const": "up"}}, required=("status",)),
    "Ready": shape(
        {
            "ready": {"type": "boolean"},
            "reasons": {"type": "array", "items": {"type": "string"}},
        },
        required=("ready", "reasons"),
    ),
}
HEADERS: Json = {
    "RequestId": {"description": "See the request header.", "schema": {"type": "string"}},
    "RetryAfter": {
        "description": "Seconds to wait.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Allow": {"description": "The methods that are.", "schema": {"type": "string"}},
}
CHANNEL_INFO = parameter("info", "query", one_of(CHANNEL_ATTRIBUTES), _INFO)
CHANNELS_INFO = parameter("info", "query", {"const": "user_count"}, _INFO)


def answer(description: str, schema: Json, **headers: str) -> Json:
    """Return a response; each has the request's id."""
    named = {"X-Request-ID": "RequestId", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return {
        "description": description,
        "headers": {name: ref("headers", header) for name, header in named.items()},
        "content": {"application/json": {"schema": schema}},
    }


def refusals() -> Json:
    """Return one response per status of `CODES`."""
    headers = {405: {"Allow": "Allow"}, 429: {"Retry_After": "RetryAfter"}}
    headers[503] = headers[429]
    return {
        f"Refused{status}": answer(words, _error(codes), **headers.get(status, {}))
        for status, (words, codes) in CODES.items()
    }


def _error(codes: tuple[str, ...]) -> Json:
    error = shape(
        {"code": {"enum": list(codes)}, "message": {"type": "string"}},
        required=("code", "message"),
    )
    return shape({"error": error}, required=("error",))
