"""
The verbs about signed-in users.

``terminate_connections(42)`` closes every connection that is signed in as the user, on every
gateway within a second. Who signs in afterwards is let in: end the user's session in the
application first. ``online(42)`` says whether the user is signed in anywhere, ``online_many``
who of several is. Each has its coroutine, with ``a`` in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broadcaster import current
from broadcaster.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

UserId = TypeVar("UserId", bound=str | int)


def terminate_connections(user_id: str | int) -> None:
    """
    Close every connection that is signed in as a user (4009: stock clients stay away).

    Args:
        user_id: the ``id`` that their sign-ins name; ``42`` and ``"42"`` are one.

    Raises:
        NotConfigured: no credentials or no Redis server were found.
        DriverUnavailable: Redis did not answer within 2 s; it is unknown whether it holds.
        MalformedMessage: not an id that users can sign in with.
    """
    app = current.application()
    app.revoker.terminate(app.app_id, _text(user_id))


async def aterminate_connections(user_id: str | int) -> None:
    """Close a user's connections, from a coroutine; see `terminate_connections`."""
    app = current.application()
    await app.revoker.aterminate(app.app_id, _text(user_id))


def online(user_id: str | int) -> bool:
    """
    Return whether a user is online: signed in on at least one connection.

    A user who has just gone is online for the rest of the grace (`gateway.presence_grace`).
    Nobody is where watchlists are off (`app.limits.watchlist` is 0): gateways do not say then.

    Args:
        user_id: the ``id`` that their sign-ins name; ``42`` and ``"42"`` are one.

    Raises:
        NotConfigured: no credentials or no Redis server were found.
        DriverUnavailable: Redis did not answer within 2 s.
        MalformedMessage: not an id that users can sign in with.
    """
    return bool(online_many([user_id]))


async def aonline(user_id: str | int) -> bool:
    """Return whether a user is online, from a coroutine; see `online`."""
    return bool(await aonline_many([user_id]))


def online_many(user_ids: Iterable[UserId]) -> set[UserId]:
    """Return those of `user_ids` who are online, in one round trip per 1,000; see `online`."""
    asked = list(user_ids)
    app = current.application()
    found = app.users.online(app.app_id, [_text(user_id) for user_id in asked])
    return {user_id for user_id, is_online in zip(asked, found, strict=True) if is_online}


async def aonline_many(user_ids: Iterable[UserId]) -> set[UserId]:
    """Return those of `user_ids` who are online, from a coroutine; see `online_many`."""
    asked = list(user_ids)
    app = current.application()
    found = await app.users.aonline(app.app_id, [_text(user_id) for user_id in asked])
    return {user_id for user_id, is_online in zip(asked, found, strict=True) if is_online}


def _text(user_id: object) -> str:
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise MalformedMessage(
            f"user_id must be the user's id, a string or an integer, not {type(user_id).__name__}"
        )
    return str(user_id)
