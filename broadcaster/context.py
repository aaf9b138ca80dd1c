"""
What belongs to the request or job being handled right now.

`using_app` chooses among several apps. `broadcaster.integrations.asgi` and ``wsgi`` set `socket_id` from the ``X-Socket-ID``
header, so that ``to_others=True`` knows whom to leave out; anything may set `trace_id`.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app_table import id_problem
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Generator

app_id: ContextVar[str | None] = ContextVar("broadcaster_app_id", default=None)
socket_id: ContextVar[str | None] = ContextVar("broadcaster_socket_id", default=None)
trace_id: ContextVar[str | None] = ContextVar("broadcaster_trace_id", default=None)


@contextmanager
def using_app(chosen: str) -> Generator[None]:
    """
    Work for one of several apps: what is broadcast, revoked or signed in the block is its.

    ::

        with using_app("blog"):
            broadcast(PostPublished(post))

    It holds for this task or thread and what they start, not for jobs that are dispatched:
    a job says itself for whom it works.

    Args:
        chosen: its id, one of ``[[apps]]`` or of ``broadcaster app list``.

    Raises:
        ConfigurationError: no app can have this id.
    """
    problem = id_problem(chosen)
    if problem:
        raise ConfigurationError(f"the id of an app {problem}, not {shown(chosen)}")
    token = app_id.set(chosen)
    try:
        yield
    finally:
        app_id.reset(token)
