"""The ``X-Socket-ID`` header, from either kind of server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broadcaster.errors import InvalidSocketId
from broadcaster.protocol.channels import check_socket_id, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("broadcaster.integrations")

# What a client sends that has no connection yet: Echo's Turbo interceptor adds the header
# even when there is nothing to put in it.
_NOTHING = frozenset({"", "undefined", "null"})


def read_socket_id(values: Sequence[str]) -> str | None:
    """
    Return the socket id of a request, or None.

    Args:
        values: of each ``X-Socket-ID`` header of the request.
    """
    if not values:
        return None
    text = values[0] if len(values) == 1 else ", ".join(values)
    if text in _NOTHING:
        return None
    try:
        return check_socket_id(text)
    except InvalidSocketId:
        _log.warning(
            "ignored X-Socket-ID %s: not two runs of digits around a dot",
            shown(text),
            extra={"event": "bad_socket_id"},
        )
        return None
