"""Verbs that come amid others: of handlers of signals, of the garbage collector, after a fork."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.deadlines import TimedQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    import redis

NOISE = 20.0  # what is tested below would wait for ever


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(NOISE)
    assert not thread.is_alive(), "it waits for itself"


def test_a_verb_may_come_while_its_own_thread_takes_a_connection() -> None:
    class Interrupted(TimedQueue):
        """A signal comes amid `get`, and its handler takes a connection, too."""

        def _get(self) -> Any:
            if not taken:
                taken.append("before")
                taken.append(self.get(timeout=1))
                self.put(taken[-1])
            return super()._get()

    taken: list[Any] = []
    queue = Interrupted(1)
    queue.put("connection")

    in_a_thread(lambda: taken.append(queue.get(timeout=1)))

    assert taken == ["before", "connection", "connection"]


def test_a_verb_may_come_while_its_own_thread_makes_the_first_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = RedisClients("redis://127.0.0.1:1/0")
    made: list[redis.Redis] = []

    def interrupted(*given: object) -> Any:
        if not made:
            made.append(None)  # type: ignore[arg-type]  # until there is one
            made[0] = clients.sync
        return pool_of(*given)

    pool_of = clients._new_pool
    monkeypatch.setattr(clients, "_new_pool", interrupted)

    in_a_thread(lambda: made.append(clients.sync))

    assert len(made) == 2
    assert made[0] is made[1] is clients.sync


def test_who_has_a_client_waits_for_no_thread_that_a_fork_left_behind() -> None:
    clients = RedisClients("redis://127.0.0.1:1/0")
    found = [clients.sync]

    with clients._lock:  # its owner is not in the child
        in_a_thread(lambda: found.append(clients.sync))

    assert found[0] is found[1]
