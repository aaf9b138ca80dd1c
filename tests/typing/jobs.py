"""The jobs API as users type it: type checkers accept it, and refuse what is wrong."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, assert_type

from broadcaster import (
    Batch,
    Job,
    Ref,
    Skipped,
    afind_batch,
    batch,
    chain,
    current_job,
    find_batch,
    job,
    provide,
    provided,
    require_current_job,
)
from broadcaster.jobs.middleware import (
    Limit,
    Middleware,
    Next,
    RateLimited,
    RateLimiter,
    SkipIf,
    SyncNext,
    Throttle,
    ThrottlesExceptions,
    WithoutOverlapping,
    limit,
    transaction,
)
from broadcaster.jobs.running import CurrentJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Order:
    id: int = 7


class Mailer:
    def send(self, to: str) -> None:
        assert to


async def open_mailer() -> AsyncIterator[Mailer]:
    yield Mailer()


provide(Mailer, Mailer)
provide(Mailer, open_mailer)


@job(queue="mail")
def made_of(text: str, mailer: Mailer = provided) -> None:
    """Given its service by a worker, and not by its caller."""


@provide(Mailer)
def make_mailer() -> Mailer:
    return Mailer()


class Timed:
    async def __call__(self, job: Job, next: Next) -> None:  # noqa: A002 - the contract's word
        await next()


class Timing:
    def __call__(self, job: Job, next: SyncNext) -> None:  # noqa: A002 - the contract's word
        next()


class Ship(
    Job,
    queue="shipping",
    tries=3,
    retry_until=timedelta(hours=1),
    unique="number",
    unique_until="processing",
    middleware=[Timed(), Timing(), RateLimited("mail"), Throttle("api", allow=3)],
):
    number: int
    order: Ref[Order]

    def handle(self, mailer: Mailer, current: CurrentJob) -> None:
        mailer.send(str(self.order.value.id))
        assert_type(self.order, Ref[Order])
        assert_type(current.attempts, int)
        self.release(self.next_backoff(), count=False)
        self.fail("no room")

    def middleware(self) -> Sequence[Middleware]:
        return [
            WithoutOverlapping(f"{self.number}", release_after=timedelta(seconds=5)),
            ThrottlesExceptions("api", when=OSError),
            SkipIf(lambda job: job.number == 0),
            transaction(nullcontext),
        ]

    async def failed(self, error: BaseException) -> None:
        assert error


class AsyncShip(Job):
    async def handle(self, mailer: Mailer | None = None) -> None:
        mine = await self.abatch()
        if mine is not None:
            await mine.aadd([AsyncShip(), Ship(1, Ref(Order())).with_options(delay=5)])


@job(queue="reports", tries=2, backoff=[1, 5])
async def report(month: str) -> None:
    assert month


limit("mail", Limit(allow=3))
limit("each", lambda job: [Limit(allow=3, by=job.user)])


async def use() -> None:
    ship = Ship(number=1, order=Ref(Order()))
    assert_type(ship.dispatch(queue="low", tries=5, after_commit=True), str | Skipped)
    assert_type(await ship.adispatch(), str | Skipped)
    assert_type(chain([ship, AsyncShip(), report("2026-11")]).catch(report("x")).dispatch(), str)
    assert_type(chain([ship, batch([AsyncShip(), chain([ship, report("x")])])]).dispatch(), str)
    assert_type(await made_of("x").adispatch(), str | Skipped)
    made = batch([ship, AsyncShip()]).then(report("x")).finally_(ship).name("n").dispatch()
    assert_type(made, Batch)
    assert_type(made.add([ship, chain([ship])]), int)
    assert_type(find_batch(made.id), Batch | None)
    assert_type(await afind_batch(made.id), Batch | None)
    assert_type(current_job(), CurrentJob | None)
    assert_type(require_current_job().require_cause().error, str)
    assert_type(AsyncShip().require_batch(), Batch)
    assert_type(await AsyncShip().arequire_batch(), Batch)
    assert_type(RateLimiter("x", allow=1, every=60).attempt(), bool)
    ship.dispatch(queue=7)  # type: ignore[arg-type]  # a queue has a name
    ship.dispatch(colour="red")  # type: ignore[call-arg]  # there is no such option
    Ship("one", Ref(Order()))  # type: ignore[arg-type]  # a number was declared
