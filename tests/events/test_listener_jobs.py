"""Row 51: what the job of a queued listener gets, and gives on."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from broadcaster.contracts.settlements import Pushed
from broadcaster.drivers.sync import SyncQueue
from broadcaster.errors import InvalidJob, ModelMissing
from broadcaster.events.dispatcher import aemit, emit
from broadcaster.events.listener_jobs import encode_event
from broadcaster.events.listening import listen
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.injection import provide, services
from broadcaster.jobs.lifecycle import JobQueued
from broadcaster.jobs.references import Ref, Reference, models
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.contracts.settlements import NewJob
    from tests.events.recording import RecordingApplication

pytestmark = pytest.mark.usefixtures("app", "own_listeners")


class Mailer:
    def __init__(self) -> None:
        self.sent: list[object] = []


@dataclass(frozen=True)
class OrderPlaced:
    order_id: int
    lines: list[str] = field(default_factory=list)
    at: datetime | None = None


class Row:
    def __init__(self, key: int) -> None:
        self.key = key


@dataclass
class RowChanged:
    row: Ref[Row]


class OneTable:
    """An adapter of one table; see `broadcaster.jobs.references.ModelAdapter`."""

    def __init__(self) -> None:
        self.rows = {7: Row(7)}

    def name_of(self, model: type) -> str | None:
        return "table:row" if model is Row else None

    def reference(self, instance: object) -> Reference | None:
        return Reference("table:row", instance.key) if isinstance(instance, Row) else None

    def load(self, reference: Reference) -> object | None:
        return self.rows.get(int(str(reference.key)))

    async def aload(self, reference: Reference) -> object | None:
        return self.load(reference)


@pytest.fixture
def mailer() -> Iterator[Mailer]:
    made = Mailer()
    provide(Mailer, lambda: made)
    yield made
    services.remove(Mailer)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> OneTable:
    monkeypatch.setattr(models, "_adapters", {})
    made = OneTable()
    models.add("table", made)
    return made


async def run_jobs(app: RecordingApplication) -> None:
    for payload in app.payloads():
        await registry.find(payload.job).decode_fields(payload.data).arun_now()


async def test_functions_and_classes_get_services_behind_the_event(
    app: RecordingApplication, mailer: Mailer
) -> None:
    @listen(OrderPlaced, queue=True, name="services.sync")
    def sync(event: OrderPlaced, mailer: Mailer) -> None:
        mailer.sent.append(("sync", event))

    @listen(OrderPlaced, queue=True, name="services.async")
    async def later(event: OrderPlaced, mailer: Mailer) -> None:
        mailer.sent.append(("async", event))

    @listen(OrderPlaced, queue=True, name="services.class")
    class Receipt:
        async def handle(self, event: OrderPlaced, mailer: Mailer) -> None:
            mailer.sent.append(("class", event))

    event = OrderPlaced(7, ["tea"], datetime(2026, 11, 22, tzinfo=UTC))
    emit(event)
    await run_jobs(app)

    assert mailer.sent == [("sync", event), ("async", event), ("class", event)]


def test_a_listener_whose_parameter_is_no_service_is_refused() -> None:
    with pytest.raises(TypeError, match="count is int, which nobody provides"):

        @listen(OrderPlaced, queue=True)
        def wrong(event: OrderPlaced, count: int) -> None: ...


async def test_rows_of_an_event_are_read_before_its_listener_is_called(
    app: RecordingApplication, table: OneTable
) -> None:
    seen: list[Row] = []

    @listen(RowChanged, queue=True, name="rows.sync")
    def sync(event: RowChanged) -> None:
        seen.append(event.row.value)

    @listen(RowChanged, queue=True, name="rows.async")
    async def later(event: RowChanged) -> None:
        seen.append(event.row.value)

    emit(RowChanged(Ref(table.rows[7])))
    assert decode_payload(app.jobs[0].body).data["data"] == {
        "row": {"model": "table:row", "key": 7}
    }
    await run_jobs(app)

    assert seen == [table.rows[7]] * 2


async def test_a_row_that_is_gone_fails_the_listener(
    app: RecordingApplication, table: OneTable
) -> None:
    @listen(RowChanged, queue=True, name="rows.gone")
    def sync(event: RowChanged) -> None: ...

    emit(RowChanged(Ref(table.rows.pop(7))))

    with pytest.raises(ModelMissing):
        await run_jobs(app)


async def test_a_queued_listener_may_wait_for_the_commit(app: RecordingApplication) -> None:
    """Others are called at once: only what goes to the queue waits."""

    @listen(OrderPlaced, queue="mail", after_commit=True)
    def waits(event: OrderPlaced) -> None: ...

    @listen(OrderPlaced, queue="stats")
    def does_not(event: OrderPlaced) -> None: ...

    async with after_commit():
        await aemit(OrderPlaced(7))
        assert [job.queue for job in app.jobs] == ["stats"]

    assert [job.queue for job in app.jobs] == ["stats", "mail"]


def test_queueing_a_listener_is_told_like_any_job() -> None:
    told: list[JobQueued] = []

    @listen(JobQueued)
    def tell(event: JobQueued) -> None:
        told.append(event)

    @listen(OrderPlaced, queue="mail", name="told.listener")
    def heard(event: OrderPlaced) -> None: ...

    emit(OrderPlaced(7))

    assert [(event.queue, event.payload.job) for event in told] == [("mail", "told.listener")]


def test_all_queued_listeners_of_a_connection_share_a_round_trip(
    app: RecordingApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes: list[int] = []

    def push(self: SyncQueue, jobs: Sequence[NewJob]) -> Pushed:
        pushes.append(len(jobs))
        return Pushed([job.id for job in jobs])

    monkeypatch.setattr(SyncQueue, "push", push)
    for name in ("one", "two", "three"):

        @listen(OrderPlaced, queue=True, name=f"share.{name}")
        def heard(event: OrderPlaced) -> None: ...

    emit(OrderPlaced(7))

    assert pushes == [3]


class Struct(msgspec.Struct):
    id: UUID


def test_structs_travel_as_well() -> None:
    assert encode_event(Struct(UUID(int=7))) == {"id": "00000000-0000-0000-0000-000000000007"}


@pytest.mark.parametrize("event", [object(), 7, [1]])
def test_what_has_no_fields_cannot_travel(event: Any) -> None:
    with pytest.raises(InvalidJob, match="make it a dataclass"):
        encode_event(event)
