"""
Who may enter which channel: rules, endpoints and grants.

>>> from broadcaster_auth import channel, broadcasting_auth
"""

from __future__ import annotations

from broadcaster_auth.asgi import broadcasting_auth
from broadcaster_auth.authorizer import Allowed, Authorizer, channel, default_authorizer
from broadcaster_auth.endpoint import Endpoint, Reply
from broadcaster_auth.guards import WsgiRequest, bearer, first_of, scope_user, session
from broadcaster_auth.wsgi import broadcasting_auth_wsgi

__all__ = [
    "Allowed",
    "Authorizer",
    "Endpoint",
    "Reply",
    "WsgiRequest",
    "bearer",
    "broadcasting_auth",
    "broadcasting_auth_wsgi",
    "channel",
    "default_authorizer",
    "first_of",
    "scope_user",
    "session",
]
