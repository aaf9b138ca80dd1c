"""
The HTTP API, described as an OpenAPI 3.1 document.

It is put together once and served as it is: tests hold it to the routes of `http_query`, to
the codes of docs/errors.md, and to what a live server answers.

Source: OpenAPI Specification 3.1.0.
"""

from __future__ import annotations

from functools import cache

import msgspec

from broadcaster.protocol.openapi_parts import (
    ALWAYS,
    CHANNEL_INFO,
    CHANNELS_INFO,
    HEADERS,
    PARAMETERS,
    SCHEMAS,
    SIGNED,
    Json,
    answer,
    parameter,
    ref,
    refusals,
)

_ABOUT = """\
What a backend says to a broadcaster gateway: publish events, ask who is there, send users \
away. Any server library for Pusher Channels speaks it.

Every request under `/apps` and `/users` is signed: `auth_signature` is the hex HMAC-SHA256, \
under the app's secret, of the method, the path and all other query parameters (names in lower \
case, sorted, values unescaped), with a newline between the three. A parameter is given once. \
A refusal is `{"error": {"code", "message"}}`; codes are stable.
"""
_PUBLISH = (422, 429)
_INFO_ANSWER = "`{}`, or what `info` asked for, counted before the event was published."


@cache
def encoded_document() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document())


def document() -> Json:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "broadcaster HTTP API",
            "version": "1.0",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],
        "tags": [
            {"name": "publish", "description": "Say something to subscribers."},
            {"name": "ask", "description": "See who is there, over all gateways."},
            {"name": "users", "description": "Act on signed-in users."},
            {"name": "health", "description": "For proxies and orchestrators; unsigned."},
        ],
        "security": [{"signature": []}],
        "paths": {
            **_publishing(),
            **_publishing_the_old_way(),
            **_asking(),
            **_users(),
            **_health(),
        },
        "components": {
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "auth_signature",
                    "description": "64 hex digits; see above for what they are made of.",
                }
            },
            "parameters": PARAMETERS,
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "responses": refusals(),
        },
    }


def _publishing() -> Json:
    return {
        "/apps/{app_id}/events": {
            "post": _signed(
                "publishEvent",
                "publish",
                "Publish an event to 1 to 100 channels",
                parameters=[ref("parameters", "app"), ref("parameters", "idempotency_key")],
                body=_json_body("Event"),
                answers={"200": answer(_INFO_ANSWER, ref("schemas", "Published"))},
                refused=_PUBLISH,
            )
        },
        "/apps/{app_id}/batch_events": {
            "post": _signed(
                "publishBatch",
                "publish",
                "Publish up to 10 events, all or none",
                parameters=[ref("parameters", "app"), ref("parameters", "idempotency_key")],
                body=_json_body("Batch"),
                answers={
                    "200": answer(
                        f"{_INFO_ANSWER} Entries stand in the order of the events.",
                        ref("schemas", "BatchPublished"),
                    )
                },
                refused=_PUBLISH,
            )
        },
    }


def _publishing_the_old_way() -> Json:
    old_query = [
        parameter(
            "name",
            "query",
            {"type": "string", "minLength": 1, "maxLength": 200},
            "The event's name.",
            required=True,
        ),
        parameter(
            "socket_id",
            "query",
            {"type": "string", "pattern": "^[0-9]{1,20}\\.[0-9]{1,20}$"},
            "The connection that does not get the event.",
        ),
    ]
    return {
        "/apps/{app_id}/channels/{channel}/events": {
            "post": {
                **_signed(
                    "publishRawEvent",
                    "publish",
                    "Publish an event whose data is the body, as clients did years ago",
                    parameters=[
                        ref("parameters", "app"),
                        ref("parameters", "channel"),
                        ref("parameters", "idempotency_key"),
                        *old_query,
                    ],
                    body={"content": {"text/plain": {"schema": {"type": "string"}}}},
                    answers={"202": answer("Always `{}`.", ref("schemas", "Nothing"))},
                    refused=_PUBLISH,
                ),
                "deprecated": True,
            }
        },
    }


def _asking() -> Json:
    prefix = parameter(
        "filter_by_prefix",
        "query",
        {"type": "string", "pattern": "^[-a-zA-Z0-9_=@,.;]{1,200}$"},
        "Only channels whose names begin so; `presence-` or longer with `info=user_count`.",
    )
    app, channel = ref("parameters", "app"), ref("parameters", "channel")
    members = ref("parameters", "presence_channel")
    return {
        "/apps/{app_id}/channels": {
            "get": _read(
                "listChannels", "List occupied channels", "Channels", app, prefix, CHANNELS_INFO
            )
        },
        "/apps/{app_id}/channels/{channel}": {
            "get": _read(
                "describeChannel", "Describe one channel", "Channel", app, channel, CHANNEL_INFO
            )
        },
        "/apps/{app_id}/channels/{channel}/users": {
            "get": _read("listUsers", "List the users of a presence channel", "Users", app, members)
        },
        "/apps/{app_id}/connections": {
            "get": _read("countConnections", "Count the app's connections", "Connections", app)
        },
    }


def _users() -> Json:
    app, user = ref("parameters", "app"), ref("parameters", "user")
    gone = {"200": answer("Always `{}`.", ref("schemas", "Nothing"))}
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "/apps/{app_id}/users/{user_id}/terminate_connections": {
            "post": _signed(
                "terminateConnections",
                "users",
                "Close the connections that are signed in as a user (4009)",
                parameters=[app, user],
                body=body,
                answers=gone,
            )
        },
        "/users/{user_id}/terminate_connections": {
            "post": _signed(
                "terminateConnectionsOfKey",
                "users",
                "The same, for the app that auth_key belongs to",
                parameters=[user],
                body=body,
                answers=gone,
            )
        },
    }


def _health() -> Json:
    up = {"200": answer("The process runs.", ref("schemas", "Up"))}
    ready = {
        "200": answer("This gateway can serve.", ref("schemas", "Ready")),
        "503": answer("It cannot, for every one of `reasons`.", ref("schemas", "Ready")),
    }
    any_object = {"type": "object"}
    doors: dict[str, tuple[str, str, Json]] = {
        "/up": ("isUp", "Is the process there?", up),
        "/health": ("isHealthy", "The same", up),
        "/live": ("isLive", "The same", up),
        "/ready": ("isReady", "May it get traffic?", ready),
        "/": ("whatIsThis", "What is it?", {"200": answer("Names its doors.", any_object)}),
        "/openapi.json": (
            "describeApi",
            "This document",
            {
                "200": answer("OpenAPI 3.1.", any_object),
                "304": {"description": "It is the one that `If-None-Match` names."},
            },
        ),
    }
    return {
        path: {
            "get": {
                "operationId": name,
                "tags": ["health"],
                "summary": summary,
                "security": [],
                "responses": responses,
            }
        }
        for path, (name, summary, responses) in doors.items()
    }


def _read(name: str, summary: str, schema: str, *parameters: Json) -> Json:
    return _signed(
        name,
        "ask",
        summary,
        parameters=[*parameters],
        answers={"200": answer(f"{summary}.", ref("schemas", schema))},
    )


def _signed(
    name: str,
    tag: str,
    summary: str,
    *,
    parameters: list[Json],
    answers: Json,
    body: Json | None = None,
    refused: tuple[int, ...] = (),
) -> Json:
    statuses = sorted((*ALWAYS, *refused))
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": [*parameters, *(ref("parameters", one) for one in SIGNED)],
        **({"requestBody": body} if body else {}),
        "responses": {
            **answers,
            **{str(status): ref("responses", f"Refused{status}") for status in statuses},
        },
    }


def _json_body(schema: str) -> Json:
    content = {"application/json": {"schema": ref("schemas", schema)}}
    return {"required": True, "content": content}
