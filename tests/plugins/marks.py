"""Tests that use a server are marked ``redis`` by what they ask for, not by hand."""

from __future__ import annotations

import pytest

SERVER_FIXTURES = frozenset({"redis_url", "redis_server", "watched", "clients"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark before ``-m`` selects."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.redis)
