"""
The verbs about signed-in users.

``terminate_connections(42)`` closes every connection that is signed in as the user, on every
gateway within a second; ``aterminate_connections`` is its coroutine. Who signs in afterwards
is let in: end the user's session in the application first.
"""

from __future__ import annotations

from broadcaster import current
from broadcaster.errors import MalformedMessage


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


def _text(user_id: object) -> str:
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        raise MalformedMessage(
            f"user_id must be the user's id, a string or an integer, not {type(user_id).__name__}"
        )
    return str(user_id)
