"""The null driver."""

from __future__ import annotations

from broadcaster.contracts.limits import LockOwner
from broadcaster.contracts.queue import Hold, NewJob, QueueSizes, StepReply, StepRequest
from broadcaster.drivers.null import NullLimiter, NullLocks, NullPublisher, NullQueue
from tests.drivers.publications import make_publication


async def test_whatever_is_published_is_forgotten() -> None:
    NullPublisher().publish([make_publication()])
    await NullPublisher().apublish([make_publication()])


async def test_row_17_whatever_is_pushed_is_forgotten() -> None:
    queue, job = NullQueue(), NewJob("0" * 32, "q", b"{}")

    assert queue.push([job]).new == (await queue.apush([job])).new == ["0" * 32]

    assert await queue.step(StepRequest(queue="q", reserve=9)) == StepReply()
    assert (queue.sizes("q"), await queue.asizes("q")) == (QueueSizes(), QueueSizes())
    assert (queue.queues(), await queue.wait("q", 9.0)) == ((), None)
    assert queue.extend("q", {"0" * 32: 1}, 30.0) == {"0" * 32: Hold.GONE}
    assert await queue.unlock("q", "key", "0" * 32) is False
    assert (await queue.survey("q", [0], "w")).due == ()
    await queue.apply("q", [])


async def test_without_a_server_locks_are_free() -> None:
    locks, owner = NullLocks(), LockOwner("0" * 32, 1)

    assert [locks.acquire("k", owner, 1.0), await locks.aacquire("k", owner, 1.0)] == [0.0, 0.0]
    assert locks.renew({"k": owner}, 1.0) == frozenset()
    assert [locks.release("k", owner), await locks.arelease("k", owner)] == [True, True]


async def test_without_a_server_nothing_is_limited() -> None:
    limiter = NullLimiter()

    said = [
        limiter.throttle("k", 1, 60.0),
        await limiter.athrottle("k", 1, 60.0),
        limiter.take("k", 1, 1.0),
        await limiter.atake("k", 1, 1.0),
    ]
    limiter.forget("k")
    await limiter.aforget("k")

    assert all(one.allowed for one in said)
    assert [limiter.count("k", 60.0), await limiter.acount("k", 60.0, by=0)] == [1, 0]
    assert [limiter.left("k"), await limiter.aleft("k")] == [0.0, 0.0]
