from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.jobs.execution import acall, call
from broadcaster.jobs.function import job
from broadcaster.jobs.injection import provide, services, unprovided
from broadcaster.jobs.job import Job
from broadcaster.jobs.running import CurrentJob, running
from tests.jobs.test_running import the_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

log: list[object] = []


class Mailer:
    def __init__(self, name: str = "plain") -> None:
        self.name = name


class Session:
    """Something that can be entered, as sessions and files can."""

    def __enter__(self) -> Self:
        raise AssertionError("it is a value, and not to be entered")

    def __exit__(self, *_: object) -> None: ...


class Clock: ...


class Absent: ...


class Mail(Job, name="injection.Mail"):
    to: str

    def handle(self, mailer: Mailer) -> None:
        log.append((self.to, mailer.name))


class AsyncMail(Job, name="injection.AsyncMail"):
    async def handle(self, mailer: Mailer) -> None:
        log.append(mailer.name)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    log.clear()
    yield
    for kind in (Mailer, Session, Clock):
        services.remove(kind)


def test_row_2_parameters_of_handle_are_made_by_their_type() -> None:
    provide(Mailer, lambda: Mailer("smtp"))

    call(Mail("ada"))

    assert log == [("ada", "smtp")]


def test_a_factory_can_be_decorated_and_replaced() -> None:
    @provide(Mailer)
    def first() -> Mailer:
        return Mailer("first")

    provide(Mailer, lambda: Mailer("second"))
    call(Mail("ada"))

    assert log == [("ada", "second")]
    assert first().name == "first"


def test_what_follows_the_yield_of_a_factory_runs_after_the_job() -> None:
    @provide(Mailer)
    def mailer() -> Iterator[Mailer]:
        yield Mailer()
        log.append("closed")

    call(Mail("ada"))

    assert log == [("ada", "plain"), "closed"]


def test_a_context_manager_of_another_type_is_entered_and_left() -> None:
    @contextlib.contextmanager
    def connected() -> Iterator[Mailer]:
        try:
            yield Mailer()
        finally:
            log.append("closed")

    provide(Mailer, connected)
    call(Mail("ada"))

    assert log == [("ada", "plain"), "closed"]


def test_a_value_that_could_be_entered_is_given_as_it_is() -> None:
    """A factory that returns a shared session must not have it closed by the first job."""

    class UseSession(Job, name="injection.UseSession"):
        def handle(self, session: Session) -> None:
            log.append(session)

    session = Session()
    provide(Session, lambda: session)

    call(UseSession())

    assert log == [session]


async def test_async_jobs_take_async_and_sync_factories() -> None:
    async def connect() -> Mailer:
        return Mailer("async")

    provide(Mailer, connect)
    await acall(AsyncMail())
    provide(Mailer, lambda: Mailer("sync"))
    await acall(AsyncMail())

    assert log == ["async", "sync"]


async def test_async_generators_and_context_managers_are_closed_after_the_job() -> None:
    @provide(Mailer)
    async def mailer() -> AsyncIterator[Mailer]:
        yield Mailer()
        log.append("closed")

    await acall(AsyncMail())

    assert log == ["plain", "closed"]


def test_a_sync_job_cannot_have_what_must_be_awaited() -> None:
    async def connect() -> Mailer:
        return Mailer()

    provide(Mailer, connect)

    with pytest.raises(InvalidJob, match="is sync and cannot await the factory of mailer"):
        call(Mail("ada"))


def test_a_type_that_nobody_provides_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InvalidJob, match=r"mailer: Mailer, which nobody provides; provide\("):
        call(Mail("ada"))

    assert unprovided(Mail) == [
        (
            "injection.Mail.handle takes mailer: Mailer, which nobody provides; "
            "provide(Mailer, factory) in a module that the worker imports"
        )
    ]


def test_a_parameter_with_a_default_keeps_it() -> None:
    class Optional(Job, name="injection.Optional"):
        def handle(self, clock: Clock | None = None, mailer: Mailer | None = None) -> None:
            log.append((clock, mailer))

    call(Optional())

    assert unprovided(Optional) == []
    assert log == [(None, None)]


def test_the_running_job_is_always_provided() -> None:
    class Ask(Job, name="injection.Ask"):
        def handle(self, current: CurrentJob) -> None:
            log.append(current.id)

    with running(the_job()) as current:
        call(Ask())

    assert log == [current.id]


def test_a_handler_that_could_never_be_served_is_refused_when_it_is_defined() -> None:
    with pytest.raises(TypeError, match="user_id is int, which nobody provides"):

        class Field(Job, name="injection.Field"):
            def handle(self, user_id: int) -> None: ...

    with pytest.raises(TypeError, match="parameter mailer needs a type"):

        class Untyped(Job, name="injection.Untyped"):
            def handle(self, mailer) -> None: ...  # type: ignore[no-untyped-def]  # the point

    with pytest.raises(TypeError, match=r"cannot take \*mailers"):

        class Many(Job, name="injection.Many"):
            def handle(self, *mailers: Mailer) -> None: ...


def test_a_type_that_is_not_imported_is_an_error_that_names_it() -> None:
    class Forward(Job, name="injection.Forward"):
        def handle(self, mailer: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert "'Nowhere' is not defined" in unprovided(Forward)[0]
    with pytest.raises(InvalidJob, match="Nowhere"):
        call(Forward())


def test_functions_take_services_that_were_provided_before() -> None:
    provide(Mailer, lambda: Mailer("smtp"))

    @job(name="injection.report")
    def report(month: str, mailer: Mailer) -> None:
        log.append((month, mailer.name))

    made: Any = report
    call(made("2026-11"))

    assert log == [("2026-11", "smtp")]
    assert made("2026-11").encode_fields() == {"month": "2026-11"}
