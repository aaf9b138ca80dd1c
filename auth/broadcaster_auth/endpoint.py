"""
``/broadcasting/auth`` and ``/broadcasting/user-auth``, apart from any server.

`Endpoint` turns a request into a `Reply`. `broadcaster_auth.asgi` and
``broadcaster_auth.wsgi`` serve it; a view of Flask or Django may also call
`Endpoint.respond` with the fields and the user it has.

=======  ===================================================================
200      ``{"auth", "channel_data"?, "shared_secret"?}`` or ``{"auth", "user_data"}``; success only
400      no usable ``socket_id`` or ``channel_name``
403      denied, or nobody is logged in (as Laravel does; never 401)
404/405  another path, another method
413      more than 64 kB
500      a rule or guard raised; the traceback is in the log, not in the answer
=======  ===================================================================

Refusals are ``{"error": {"code", "message"}}``. A 403 names its cause in development
only; the log always does. pusher-js takes every status but 200 for a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.contracts.apps import App, AppSource
from broadcaster.errors import (
    BroadcasterError,
    ConfigurationError,
    Denied,
    InvalidChannel,
    InvalidSocketId,
    MalformedMessage,
    MessageTooLarge,
)
from broadcaster.protocol.channels import MAX_CHANNEL_NAME
from broadcaster_auth.authorizer import Allowed, Authorizer, Decision, default_authorizer
from broadcaster_auth.fields import Ask, read_ask
from broadcaster_auth.members import user_id_of
from broadcaster_auth.responses import DEFAULT_TTL, channel_answer, user_answer

if TYPE_CHECKING:
    from broadcaster_auth.guards import Guard

_log = logging.getLogger("broadcaster.auth")

METHODS: Final = ("GET", "POST")
_CORS_HEADERS = "content-type, authorization, x-csrf-token, x-socket-id, x-requested-with"
_CORS_SECONDS = "600"
_NO_HEADERS: dict[str, str] = {}

UserData = Callable[[object], Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An answer, ready for any server.

    Attributes:
        status: HTTP status.
        body: JSON, or empty.
        headers: all headers but the length.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]


def nobody(request: object) -> None:
    """Find no user: the guard of an endpoint that is only used through `Endpoint.respond`."""
    del request


def default_user_data(user: object) -> Mapping[str, object] | None:
    """Return ``{"id": ...}`` of a user that has an id, else None."""
    user_id = user_id_of(user)
    return None if user_id is None else {"id": user_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    Answers auth requests.

    Attributes:
        app: the app to sign for, or a callable that returns it (called per request).
        authorizer: holds the channel rules; default is the one of ``@channel``.
        user: the default guard.
        guards: further guards by the names that rules use.
        user_data: takes a user, returns what ``pusher.signin()`` signs in as, or None to
            refuse; must have an ``id``.
        origins: pages of which other origins may ask: ``("https://shop.example",)``, or
            ``("*",)``. Cookies are never sent across origins by pusher-js; use a token.
        ttl: seconds until a subscription made with an answer ends; None for never.
        claims: see `broadcaster_auth.responses`.
        debug: whether refusals name their cause; None is what `app` says about itself
            (`broadcaster.credentials`: the setting ``debug``), else no.
        clock: Unix seconds.
    """

    app: App | Callable[[], App]
    user: Guard = nobody
    authorizer: Authorizer = default_authorizer
    guards: Mapping[str, Guard] = field(default_factory=dict[str, "Guard"])
    user_data: UserData = default_user_data
    origins: tuple[str, ...] = ()
    ttl: float | None = DEFAULT_TTL
    claims: bool = True
    debug: bool | None = None
    clock: Callable[[], float] = time.time

    def respond(
        self,
        fields: Mapping[str, object],
        *,
        user: object | None,
        guarded: Mapping[str, object | None] | None = None,
        sign_in: bool = False,
    ) -> Reply:
        """
        Answer from code without an event loop.

        Args:
            fields: ``socket_id``, and ``channel_name`` unless for a sign-in.
            user: who asks, or None.
            guarded: users by guard, for rules that name guards.
            sign_in: whether this is ``/user-auth``.
        """
        try:
            ask = read_ask(fields, sign_in=sign_in)
            decision = None
            if ask.channel is not None:
                decision = self.authorizer.authorize(
                    user, ask.channel, socket_id=ask.socket_id, guarded=guarded
                )
            return self.answer(ask, decision, user)
        except Exception as error:  # noqa: BLE001 - a rule is user code; its failure becomes a 500
            return self.refuse(error, fields)

    async def arespond(
        self,
        fields: Mapping[str, object],
        *,
        user: object | None,
        guarded: Mapping[str, object | None] | None = None,
        sign_in: bool = False,
    ) -> Reply:
        """Answer from a coroutine. See `respond`."""
        try:
            ask = read_ask(fields, sign_in=sign_in)
            decision = None
            if ask.channel is not None:
                decision = await self.authorizer.aauthorize(
                    user, ask.channel, socket_id=ask.socket_id, guarded=guarded
                )
            return self.answer(ask, decision, user)
        except Exception as error:  # noqa: BLE001 - a rule is user code; its failure becomes a 500
            return self.refuse(error, fields)

    def answer(self, ask: Ask, decision: Decision | None, user: object | None) -> Reply:
        """Return the reply to a decision; `decision` is None for a sign-in."""
        app = self.app if isinstance(self.app, App) else self.app()
        if decision is None:
            data = None if user is None else self.user_data(user)
            if data is None:
                raise Denied("the request has no user to sign in as", code="unauthenticated")
            return _json_reply(200, user_answer(app, data, socket_id=ask.socket_id))
        if not isinstance(decision, Allowed):
            raise decision
        return _json_reply(
            200,
            channel_answer(
                app,
                decision,
                socket_id=ask.socket_id,
                now=self.clock(),
                ttl=self.ttl,
                claims=self.claims,
            ),
        )

    def refuse(self, error: Exception, fields: Mapping[str, object] | None = None) -> Reply:
        """Return the reply to an error, and log it."""
        status, code, message = self._refusal(error)
        asked = (fields or {}).get("channel_name", "")
        channel = asked[:MAX_CHANNEL_NAME] if isinstance(asked, str) else ""
        said = {"event": "auth_refused", "channel": channel, "code": code, "status": status}
        if status >= 500:  # noqa: PLR2004 - HTTP
            _log.error("could not authorize %a", channel, extra=said, exc_info=error)
        else:
            cause = error.message if isinstance(error, BroadcasterError) else code
            _log.info("refused %a: %s", channel, cause, extra=said)
        return _json_reply(status, {"error": {"code": code, "message": message}})

    def guard(self, name: str) -> Guard:
        """
        Return a guard by name.

        Raises:
            ConfigurationError: a rule names a guard that this endpoint was not given.
        """
        if name not in self.guards:
            known = ", ".join(self.guards) or "none"
            raise ConfigurationError(
                f"a channel rule names the guard {name!r}; this endpoint has: {known}"
            )
        return self.guards[name]

    def precheck(self, method: str, path: str) -> bool | Reply:
        """Return whether a request is a sign-in, or the reply that it gets at once."""
        purpose = path.rstrip("/").rpartition("/")[2]
        if purpose not in ("auth", "user-auth"):
            return _error_reply(404, "not_found", "there is only /auth and /user-auth here")
        if method == "OPTIONS":
            return Reply(204, b"", {"Allow": "GET, POST, OPTIONS"})
        if method not in METHODS:
            reply = _error_reply(405, "method_not_allowed", "use POST or GET")
            return Reply(reply.status, reply.body, {**reply.headers, "Allow": "GET, POST, OPTIONS"})
        return purpose == "user-auth"

    def cors_headers(self, origin: str | None, *, preflight: bool) -> Mapping[str, str]:
        """Return the CORS headers for a request from `origin`."""
        if not self.origins:
            return _NO_HEADERS
        any_origin = "*" in self.origins
        headers = {} if any_origin else {"Vary": "Origin"}
        listed = {each.lower().rstrip("/") for each in self.origins}
        if origin is None or not (any_origin or origin.lower() in listed):
            return headers
        headers["Access-Control-Allow-Origin"] = "*" if any_origin else origin
        if preflight:
            headers["Access-Control-Allow-Methods"] = ", ".join(METHODS)
            headers["Access-Control-Allow-Headers"] = _CORS_HEADERS
            headers["Access-Control-Max-Age"] = _CORS_SECONDS
        return headers

    def _explains(self) -> bool:
        if self.debug is not None:
            return self.debug
        try:
            return isinstance(self.app, AppSource) and self.app.debug
        except ConfigurationError:  # settings that cannot be read: the request's own failure
            return False

    def _refusal(self, error: Exception) -> tuple[int, str, str]:
        match error:
            case InvalidSocketId() | InvalidChannel() | MalformedMessage():
                return 400, error.code, error.message
            case MessageTooLarge():
                return 413, error.code, error.message
            case Denied() if self._explains():
                return 403, error.code, error.message
            case Denied():
                return 403, Denied.code, "Not allowed for this user."
            case _:
                message = (
                    f"{type(error).__name__}: {error}" if self._explains() else "Server error."
                )
                return 500, "server_error", message


def _json_reply(status: int, value: object) -> Reply:
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(status, msgspec.json.encode(value), headers)


def _error_reply(status: int, code: str, message: str) -> Reply:
    return _json_reply(status, {"error": {"code": code, "message": message}})
