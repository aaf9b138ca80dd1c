"""
Guards: who is asking?

A guard takes the request and returns a user or None. Under ASGI it gets a
`starlette.requests.Request` and may be async; under WSGI it gets a `WsgiRequest`. Any
callable will do; here are the usual ones::

    user=bearer(find_user_by_token)
    user=session(find_user, key="user_id")
    user=first_of(session(find_user), bearer(find_user_by_token))

Rules that name guards (``@channel("admin.{x}", guards=["admin"])``) are asked about the
users of those guards, and never about the default one.

Source: Laravel's broadcasting guards for the last rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from starlette.concurrency import run_in_threadpool

from broadcaster.errors import ConfigurationError

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


class AnyRequest(Protocol):
    """What both kinds of request have."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in lower case find them."""
        ...


Guard: TypeAlias = Callable[[Any], object]
"""Takes the request; returns a user, None, or an awaitable of either."""

Find: TypeAlias = Callable[[str], object]
"""Takes an id or a token; returns a user, None, or an awaitable of either."""


@dataclass(frozen=True, slots=True)
class WsgiRequest:
    """
    A request under WSGI, as guards see it.

    Attributes:
        environ: the WSGI environment; frameworks and middleware leave users in it.
    """

    environ: WSGIEnvironment

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name."""
        found = {
            name[5:].replace("_", "-").lower(): str(value)
            for name, value in self.environ.items()
            if name.startswith("HTTP_")
        }
        if self.environ.get("CONTENT_TYPE"):
            found["content-type"] = self.environ["CONTENT_TYPE"]
        return found

    @property
    def cookies(self) -> Mapping[str, str]:
        """Cookies by name; empty when the header is broken."""
        try:
            parsed = SimpleCookie(self.environ.get("HTTP_COOKIE", ""))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in parsed.items()}


def bearer(find: Find) -> Guard:
    """Return a guard that looks up the token of ``Authorization: Bearer <token>``."""

    def guard(request: AnyRequest) -> object:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        return find(token) if scheme.lower() == "bearer" and token else None

    return guard


def session(find: Find, *, key: str = "user_id", environ_key: str = "beaker.session") -> Guard:
    """
    Return a guard that looks up the user id kept in the session.

    Args:
        find: takes the value under `key`, as text.
        key: what the session keeps the id under.
        environ_key: where a WSGI session middleware leaves the session. Under ASGI it is
            ``scope["session"]``, where Starlette's SessionMiddleware puts it.
    """

    def guard(request: AnyRequest) -> object:
        if isinstance(request, WsgiRequest):
            place: Mapping[str, Any] = request.environ
            found = place.get(environ_key)
        else:
            place = cast("Mapping[str, Any]", getattr(request, "scope", {}))
            found = place.get("session")
        if not isinstance(found, MutableMapping):
            return None
        user_id = cast("MutableMapping[str, object]", found).get(key)
        return None if user_id is None else find(str(user_id))

    return guard


def scope_user(request: AnyRequest) -> object:
    """Return the user that an authentication middleware put in the ASGI scope."""
    scope = cast("Mapping[str, Any]", getattr(request, "scope", {}))
    user = scope.get("user")
    # Starlette and Django both put an anonymous user there when nobody is logged in.
    return user if getattr(user, "is_authenticated", user is not None) else None


def first_of(*guards: Guard) -> Guard:
    """Return a guard that gives the first user that any of `guards` has."""

    def guard(request: AnyRequest) -> object:
        for position, each in enumerate(guards):
            found = each(request)
            if inspect.isawaitable(found):
                return _first_awaited(found, guards[position + 1 :], request)
            if found is not None:
                return found
        return None

    return guard


async def resolve(guard: Guard, request: AnyRequest) -> object | None:
    """Ask a guard from a coroutine; a sync one runs in a thread, because it may block."""
    if inspect.iscoroutinefunction(guard):
        found: object = guard(request)
    else:
        found = await run_in_threadpool(guard, request)
    return await found if inspect.isawaitable(found) else found


def resolve_now(guard: Guard, request: AnyRequest) -> object | None:
    """
    Ask a guard from code without an event loop.

    Raises:
        ConfigurationError: the guard is async.
    """
    found = guard(request)
    if not inspect.isawaitable(found):
        return found
    if inspect.iscoroutine(found):
        found.close()
    raise ConfigurationError("this endpoint is synchronous (WSGI); its guards must not be async")


async def _first_awaited(
    pending: Any, rest: tuple[Guard, ...], request: AnyRequest
) -> object | None:
    found: object | None = await pending
    if found is not None:
        return found
    return await resolve(first_of(*rest), request)
