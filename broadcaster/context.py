"""
What belongs to the request or job being handled right now.

`broadcaster.integrations.asgi` and ``wsgi`` set `socket_id` from the ``X-Socket-ID``
header, so that ``to_others=True`` knows whom to leave out; anything may set `trace_id`.
"""

from __future__ import annotations

from contextvars import ContextVar

socket_id: ContextVar[str | None] = ContextVar("broadcaster_socket_id", default=None)
trace_id: ContextVar[str | None] = ContextVar("broadcaster_trace_id", default=None)
