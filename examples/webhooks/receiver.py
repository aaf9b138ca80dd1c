"""
A receiver of webhooks: verifies, leaves out what it has seen, and remembers the rest.

    broadcaster dev                                                # in one terminal
    uvicorn receiver:app --port 9000                               # in another
    broadcaster webhook test --url http://127.0.0.1:9000/hooks     # in a third

`GET /` shows the latest events. No library is needed to verify a webhook; any Pusher library
does it too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broadcaster import credentials

if TYPE_CHECKING:
    from starlette.requests import Request

REMEMBERED = 10_000
OLDEST_SECONDS = 300

# By id, oldest first. With several processes this belongs into a database, with a unique key.
seen: OrderedDict[str, dict[str, Any]] = OrderedDict()


async def hook(request: Request) -> Response:
    """Take one webhook; whatever is not 2xx comes again."""
    body = await request.body()  # the raw bytes: the signature covers nothing else
    if not is_signed(body, request):
        return Response("this is not signed by our app", status_code=401)
    webhook = json.loads(body)
    if abs(time.time() - webhook["time_ms"] / 1000) > OLDEST_SECONDS:
        return Response("this is too old", status_code=401)
    ids = request.headers["X-Broadcaster-Webhook-Id"].split(",")
    for event_id, event in zip(ids, webhook["events"], strict=True):
        if event_id not in seen:
            seen[event_id] = event
            react(event)
    while len(seen) > REMEMBERED:
        seen.popitem(last=False)
    return Response(status_code=204)


def is_signed(body: bytes, request: Request) -> bool:
    """Whether `body` carries the signature of our app."""
    app = credentials()
    expected = hmac.new(app.secret.encode(), body, hashlib.sha256).hexdigest()
    given = request.headers.get("X-Pusher-Signature", "")
    signed = hmac.compare_digest(given.encode(), expected.encode())
    return signed and request.headers.get("X-Pusher-Key") == app.key


def react(event: dict[str, Any]) -> None:
    """Do what has to be done; soon, or in a job of its own."""
    match event["name"]:
        case "channel_occupied" | "channel_vacated":
            print(event["channel"], event["name"].removeprefix("channel_"))  # noqa: T201
        case "member_added" | "member_removed":
            print(event["user_id"], event["name"], event["channel"])  # noqa: T201
        case name:
            print(name, event["channel"])  # noqa: T201


async def latest(request: Request) -> Response:
    """Show what came, the latest first."""
    del request
    return JSONResponse(list(reversed(seen.values()))[:50])


app = Starlette(routes=[Route("/hooks", hook, methods=["POST"]), Route("/", latest)])
