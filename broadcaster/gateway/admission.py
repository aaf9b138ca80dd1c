"""
May this socket stay?

Decided after the handshake, because a refused handshake leaves stock clients without a
reason and waiting for 15 seconds and more.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from broadcaster.protocol import close_codes
from broadcaster.protocol.app import App
from broadcaster.protocol.channels import shown
from broadcaster.protocol.origins import origin_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.protocol.close_codes import CloseCode
    from broadcaster.protocol.websocket import Upgrade

# Whose limits apply to a socket that belongs to no app, until it is closed.
NOBODY = App(id="0", key="", secret="")

_OLDEST, _NEWEST = 4, 7
_PROTOCOL = re.compile(r"[0-9]{1,3}")
_VERSION = re.compile(r"[0-9]+(\.[0-9A-Za-z-]+)*([-+][0-9A-Za-z.-]+)?")
_random = random.SystemRandom()


class Refusal(NamedTuple):
    """Why a socket is closed at once, the app it meant, if any, and what only the log says."""

    code: CloseCode
    message: str
    app: App = NOBODY
    cause: str = ""


class Admission:
    """
    Decides about new sockets.

    Args:
        apps: who may be meant.
        path_prefix: what stands before ``/app/<key>``, without the final slash.
    """

    def __init__(self, apps: AppProvider, path_prefix: str = "") -> None:
        self._apps = apps
        self._start = f"{path_prefix}/app/"

    def decide(
        self, upgrade: Upgrade, *, is_full: Callable[[App], bool], draining: bool
    ) -> App | Refusal:
        """
        Return the app that the socket belongs to, or why it may not stay.

        Args:
            upgrade: the request.
            is_full: whether there is no room for one more connection of an app.
            draining: whether this process is about to stop.
        """
        path, _, query = upgrade.target.partition("?")
        if not path.startswith(self._start) or "/" in path[len(self._start) :]:
            return _refuse(close_codes.PATH_NOT_FOUND, f"no sockets at {shown(path)}")
        app = self._apps.by_key(path[len(self._start) :])
        if app is None and not self._apps.settled:  # a moment later it may be known
            return _wait("the apps in Redis are not known yet")
        if app is None:
            return _refuse(close_codes.UNKNOWN_APP, f"key {shown(path[len(self._start) :])}")
        if not app.enabled:
            return Refusal(close_codes.APP_DISABLED, close_codes.APP_DISABLED.message, app)
        refusal = _check_protocol(query)
        if refusal is not None:
            return refusal
        if not origin_allowed(upgrade.origin, app.limits.allowed_origins):
            return Refusal(
                close_codes.UNAUTHORIZED,
                f"Origin {shown(upgrade.origin)} is not allowed for this app",
                app,
            )
        if draining or is_full(app):
            return _wait("this gateway is stopping" if draining else _which_limit(app), app)
        return app

    @staticmethod
    def new_socket_id() -> str:
        """Return a socket id that nobody can guess or has: two random runs of digits."""
        bits = _random.getrandbits(62)
        return f"{bits >> 31}.{bits & (1 << 31) - 1}"


# All clients of one library ask in the same words.
@lru_cache(maxsize=256)
def _check_protocol(query: str) -> Refusal | None:
    params = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    version, protocol = params.get("version"), params.get("protocol")
    if version and not _VERSION.fullmatch(version):
        return _refuse(close_codes.BAD_VERSION, f"version {shown(version)}")
    if protocol is None:
        return None
    if not protocol:
        return _refuse(close_codes.NO_PROTOCOL)
    if not _PROTOCOL.fullmatch(protocol) or not _OLDEST <= int(protocol) <= _NEWEST:
        return _refuse(close_codes.UNSUPPORTED_PROTOCOL, f"protocol {shown(protocol)}")
    return None


def _wait(cause: str, app: App = NOBODY) -> Refusal:
    over = close_codes.OVER_CAPACITY
    return Refusal(over, over.message, app, cause)


def _which_limit(app: App) -> str:
    most = app.limits.max_connections
    ours = f"app {app.id} has its {most} connections (max_connections), or " if most else ""
    return f"{ours}this process holds all the sockets it may (gateway.max_connections)"


def _refuse(code: CloseCode, detail: str = "") -> Refusal:
    return Refusal(code, f"{code.message} ({detail})" if detail else code.message)
